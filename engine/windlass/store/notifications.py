"""LISTEN and NOTIFY between nodes, on one session of its own.

What is sent, and how often, is decided in `dispatch/wake.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from windlass.store.database import Database
from windlass.store.queries import sql
from windlass.store.session import Session

PAYLOAD_BYTES_MAX = 7_900
"""PostgreSQL refuses 8000."""


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
        """Sends at most `PAYLOAD_BYTES_MAX` bytes to every listener."""
        await self._session.execute(sql("notify"), self._channel, payload, timeout_s=within_s)

    async def ping(self, within_s: float) -> None:
        """Returns when the server has answered, so that a half-open connection is noticed."""
        await self._session.fetch_row(sql("ping"), timeout_s=within_s)

    def terminate(self) -> None:
        self._session.terminate()
