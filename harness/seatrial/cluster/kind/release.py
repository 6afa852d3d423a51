"""The chart as Helm installs, upgrades and rolls it back, in one namespace."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import helm_python

from seatrial.cluster import ClusterError
from seatrial.cluster.kind.kube import Access
from seatrial.render import RenderError, render_chart

RELEASE = "windlass"
#: Helm 4's own way to wait: until every object is as its status says it should be
WAIT = "watcher"

Result = TypeVar("Result")


def serving(release: str) -> str:
    return f"app.kubernetes.io/instance={release},windlass/serves=api"


class ReleaseFailed(ClusterError):
    """Helm gave up; the cluster is as its message says."""


@dataclass(frozen=True, slots=True)
class Revision:
    number: int
    status: str
    description: str


class Release:
    """Calls block in threads of their own; two for one release must not overlap, so each waits for the last."""

    def __init__(self, access: Access, namespace: str, chart: Path, *, name: str = RELEASE) -> None:
        self.name = name
        self.namespace = namespace
        self._access = access
        self._chart = chart
        self._turn = asyncio.Lock()

    @property
    def labels(self) -> str:
        """Selects the pods that serve, as the chart's Service does: those of every pool, and no Job's."""
        return serving(self.name)

    async def install(self, values: Mapping[str, Any], *, within_s: int, waits: bool = True) -> None:
        """Returns when its pods are ready, or at once if told not to wait."""
        await self._act(
            "install",
            lambda helm: helm.install(
                self._chart, self.name, dict(values), namespace=self.namespace, timeout=within_s,
                wait=WAIT if waits else None,
            ),
        )  # fmt: skip

    async def upgrade(self, values: Mapping[str, Any], *, within_s: int) -> None:
        """Replaces all values, as `--reset-values`."""
        await self._act(
            "upgrade",
            lambda helm: helm.upgrade(
                self._chart, self.name, dict(values), namespace=self.namespace, timeout=within_s, wait=WAIT,
                reset_values=True,
            ),
        )  # fmt: skip

    async def rollback(self, *, within_s: int) -> None:
        """To the revision before this one."""
        await self._act("rollback", lambda helm: helm.rollback(self.name, timeout=within_s, wait=WAIT))

    async def test(self, *, within_s: int) -> str:
        """`helm test`; what its pods printed."""
        return json.dumps(
            await self._act("test", lambda helm: helm.test(self.name, timeout=within_s, logs=True))
        )

    async def uninstall(self, *, within_s: int) -> None:
        await self._act("uninstall", lambda helm: helm.uninstall(self.name, timeout=within_s, wait=WAIT))

    async def revision(self) -> Revision:
        """The newest revision, whether it succeeded or not."""
        found = (await self._act("history", lambda helm: helm.history(self.name)))[-1]
        info = found.get("info") or found
        return Revision(
            int(found.get("version") or found.get("revision") or 0),
            str(info.get("status", "")),
            str(info.get("description", "")),
        )

    async def manifest(self) -> str:
        return str((await self._act("manifest", lambda helm: helm.status(self.name))).get("manifest", ""))

    async def told(self) -> str:
        """All that `helm get all` shows: values, manifest, hooks, notes."""
        return json.dumps(await self._act("get all", lambda helm: helm.get_all(RELEASE)))

    async def _act(self, verb: str, action: Callable[[helm_python.Config], Result]) -> Result:
        async with self._turn:
            return await asyncio.to_thread(self._blocking, verb, action)

    def _blocking(self, verb: str, action: Callable[[helm_python.Config], Result]) -> Result:
        with (
            _plainly(f"helm {verb} of {self.name} in {self.namespace}"),
            helm_python.Config(
                kubeconfig_content=self._access.kubeconfig,
                kube_context=self._access.context,
                namespace=self.namespace,
            ) as helm,
        ):
            return action(helm)


@contextmanager
def _plainly(what: str) -> Iterator[None]:
    try:
        yield
    except (helm_python.HelmValuesError, helm_python.HelmRenderError) as err:
        raise ClusterError(f"{what}: the chart refuses the values: {err}") from None
    except helm_python.HelmError as err:
        raise ReleaseFailed(f"{what} failed: {err}") from None


#: enough for the chart to render; no release is made with it
_ANY_DATABASE: Mapping[str, Any] = {"postgresql": {"dsn": "", "existingSecret": "any"}}


def engine_image(chart: Path, values: Mapping[str, Any]) -> str:
    """What the Deployment would run. Raises ClusterError when the chart refuses the values."""
    try:
        rendered = render_chart(chart, {**values, **_ANY_DATABASE}, RELEASE)
    except RenderError as err:
        raise ClusterError(f"the chart cannot be rendered: {err}") from None
    return str(rendered.of_kind("Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["image"])
