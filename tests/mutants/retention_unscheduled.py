"""A node that only schedules leaves retention to those that also answer calls, and here are none."""

from __future__ import annotations

from mutation import serve

from windlass.app import Node
from windlass.sweep.loop import Sweep

genuine = Node._repairers


def repairers(self: Node) -> list[Sweep]:
    return [sweep for sweep in genuine(self) if sweep.name != "retention" or self.role == "serve"]


Node._repairers = repairers  # type: ignore[method-assign]

if __name__ == "__main__":
    serve()
