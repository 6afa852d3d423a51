"""Where a run's clusters come from: one backend, and what its clusters share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from seatrial.cluster import Cluster, ClusterSpec, Entrance, backends
from seatrial.cluster.backend import Services
from seatrial.cluster.broker import BrokerKind
from seatrial.cluster.options import Options
from seatrial.cluster.values import merge, read_values


class Environment:
    """`async with Environment(options) as environment`: it creates clusters, and ends the shared servers. `say` is
    called with lines of progress.
    """

    def __init__(self, options: Options, *, say: Callable[[str], None] = lambda _line: None) -> None:
        self.options = options
        self._say = say
        self._values = read_values(options.values)
        self._services: Services | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        services, self._services = self._services, None
        if services is not None:
            await services.close()

    def refusal(self, needs: Sequence[type]) -> str | None:
        """Why no cluster of this run has these abilities, and what to do about it; None when each has them."""
        return backends.refusal(needs, self.options)

    async def check(self) -> None:
        """Raises ClusterError when it is clear before the first drill that none would get a cluster."""
        await self._opened().check()

    def images(self) -> Mapping[str, str]:
        """What its clusters run, by part; empty before `check`, and where no images are run."""
        return self._opened().images()

    async def cluster(
        self,
        folder: Path,
        *,
        replicas: int,
        values: Mapping[str, Any],
        restart: bool = False,
        broker: BrokerKind | None = None,
        entrance: Entrance = "replicas",
        tls: bool = False,
    ) -> Cluster:
        """Creates one that is not yet up; `values` override the run's values files. Raises ClusterError.

        With `broker` it has the run's of that kind, emptied of what was there.
        """
        spec = ClusterSpec(
            replicas=self.options.replicas or replicas,
            values=merge(self._values, values),
            engine_command=self.options.engine_command,
            folder=folder,
            entrance=entrance,
            token=self.options.token,
            tls=tls or self.options.tls,
        )
        return await self._opened().cluster(spec, restart=restart, broker=broker)

    def _opened(self) -> Services:
        if self._services is None:
            entry = backends.BACKENDS[self.options.backend]
            self._services = entry.open(self.options, self._values, self._say)
        return self._services
