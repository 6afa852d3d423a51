"""What stands between the engines and something else, or beside them, and can be stopped and cut off by its wire."""

from __future__ import annotations

from seatrial.cluster import ClusterError
from seatrial.cluster.packaged_server import PackagedServer
from seatrial.cluster.proxy import Proxy


class Wired:
    """`what` is for errors. `attach` of its kinds makes the server and the wire, once in a cluster's life."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._server: PackagedServer | None = None
        self._wire: Proxy | None = None

    async def stop(self) -> None:
        """All its connections are closed; returns when it has ended."""
        await self._server_there().stop()

    async def start(self) -> None:
        await self._server_there().start()

    async def cut(self) -> int:
        """Connections of the wire are reset, and new ones refused; returns how many there were."""
        wire = self._wire_there()
        await wire.cut("refuse")
        return wire.cut_connections

    async def mend(self) -> None:
        await self._wire_there().mend()

    def _refuse_a_second(self) -> None:
        if self._server is not None:
            raise ClusterError(f"there is a {self._what} already; a drill attaches one once")

    def _server_there(self) -> PackagedServer:
        if self._server is None:
            raise self._nothing_there()
        return self._server

    def _wire_there(self) -> Proxy:
        if self._wire is None:
            raise self._nothing_there()
        return self._wire

    def _nothing_there(self) -> ClusterError:
        return ClusterError(f"there is no {self._what}; attach one first")
