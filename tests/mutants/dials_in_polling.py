"""Opens a connection that is none to the database although the mode is polling."""

from __future__ import annotations

import asyncio

import mutation

from windlass.app import Node

honest = Node._start
streams: list[object] = []


async def start_and_dial(self: Node) -> None:
    await honest(self)
    # Its own metrics port: what else listens on this machine is nobody's business here.
    streams.extend(await asyncio.open_connection("127.0.0.1", self.settings.metrics_port))


Node._start = start_and_dial  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()
