"""A server that only follows another one is asked as if it were the primary, and what it does not know is not found."""

from __future__ import annotations

from mutation import serve

from windlass.store import database
from windlass.store.driver import Connection


async def accept(connection: Connection) -> None:
    """Whatever the server is."""
    del connection


database._refuse_on_standby = accept

if __name__ == "__main__":
    serve()
