"""Of several hosts in the DSN only the first is ever tried."""

from __future__ import annotations

from typing import Any

from mutation import serve

from windlass.store.connect import Connector

genuine = Connector.__init__


def init(self: Connector, *arguments: Any) -> None:
    genuine(self, *arguments)
    self._hosts = self._hosts[:1]


Connector.__init__ = init  # type: ignore[assignment,method-assign]

if __name__ == "__main__":
    serve()
