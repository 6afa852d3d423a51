"""LISTEN and NOTIFY between nodes, on one session of its own; and what tells their hints from those of other nodes.

What is sent, and how often, is decided in `dispatch/wake.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from windlass.store.database import Database
from windlass.store.queries import sql
from windlass.store.session import Session


class Listener:
    """Receives what any node sends, this one too. Its methods raise SessionFailed when the session is unusable."""

    def __init__(self, session: Session, channel: str) -> None:
        self._session = session
        self._channel = channel

    @classmethod
    async def open(cls, database: Database, heard: Callable[[str], None]) -> Listener:
        """`heard` gets each payload. Raises Unavailable or SessionFailed."""
        session = await database.session("wake")
        try:
            found = await session.fetch_row(sql("notify_channel"), database.schema)
            assert found is not None
            await session.listen(found["channel"], heard)
        except BaseException:
            session.terminate()
            raise
        return cls(session, found["channel"])

    async def notify(self, payload: str, within_s: float) -> None:
        """Sends less than 8000 bytes to every listener."""
        await self._session.execute(sql("notify"), self._channel, payload, timeout_s=within_s)

    async def ping(self, within_s: float) -> None:
        """Returns when the server has answered, so that a half-open connection is noticed."""
        await self._session.fetch_row(sql("ping"), timeout_s=within_s)

    def terminate(self) -> None:
        self._session.terminate()


async def bus_channel(database: Database) -> str:
    """The name under which the nodes of this database and schema meet on a bus outside it. Raises EngineError."""
    (found,) = await database.fetch(sql("bus_channel"), database.schema)
    channel: str = found["channel"]
    return channel
