"""Who leads the relay, as stored in the database: a row with epoch and expiry, and an advisory lock (contract 9.2).

When to compete, to renew and to step down is decided in `dispatch/leader.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from windlass.errors import Unavailable
from windlass.store.database import Database
from windlass.store.driver import Row
from windlass.store.queries import sql
from windlass.store.session import Session, SessionFailed


class LeaderSeat(Protocol):
    """What competing for the lead needs. Methods raise an EngineError when the database cannot carry them out."""

    is_locked: bool
    """Whether the lock is held here."""

    async def try_lock(self) -> bool: ...
    async def take(self, holder: str, term_s: float) -> int | None: ...
    async def renew(self, epoch: int, term_s: float) -> bool: ...
    async def unlock(self) -> None: ...
    async def resign(self, epoch: int, within_s: float) -> None: ...
    def terminate(self) -> None: ...


class LeaderSession(LeaderSeat):
    """The session that holds the lock. Every method but `open` raises SessionFailed when the session is of no use."""

    def __init__(self, session: Session, answer_within_s: float) -> None:
        self._session = session
        self._answer_within_s = answer_within_s
        self.is_locked = False
        """Whether this session holds the lock."""

    @classmethod
    async def open(
        cls, database: Database, *, within_s: float, answer_within_s: float, ended: Callable[[], None]
    ) -> LeaderSession:
        """`answer_within_s` bounds each statement; `ended` is called when the session ends.

        Raises Unavailable, or SessionFailed when it took longer than `within_s`.
        """
        try:
            async with asyncio.timeout(within_s):
                session = await database.session("relay-leader")
        except TimeoutError as err:
            raise SessionFailed(err) from err
        session.on_termination(ended)
        return cls(session, answer_within_s)

    async def try_lock(self) -> bool:
        """Tries to get the lock, without waiting; `is_locked` tells whether it did. Returns whether the row says that
        nobody leads.
        """
        found = await self._ask(sql("leader_try_lock"))
        assert found is not None
        self.is_locked = found["is_locked"]
        return bool(found["is_vacant"])

    async def take(self, holder: str, term_s: float) -> int | None:
        """The new epoch, with `term_s` to its expiry; None when somebody leads."""
        row = await self._ask(sql("leader_take"), holder, term_s, self.is_locked)
        return None if row is None else int(row["epoch"])

    async def renew(self, epoch: int, term_s: float) -> bool:
        """Another `term_s` for the leader of `epoch`; False when it has been deposed."""
        return await self._ask(sql("leader_renew"), epoch, term_s, self.is_locked) is not None

    async def unlock(self) -> None:
        await self._ask(sql("leader_unlock"))
        self.is_locked = False

    async def resign(self, epoch: int, within_s: float) -> None:
        """Leaves the lead vacant, if it is still that of `epoch`."""
        await self._session.execute(sql("leader_resign"), epoch, timeout_s=within_s)

    def terminate(self) -> None:
        self._session.terminate()

    async def _ask(self, text: str, *arguments: object) -> Row | None:
        return await self._session.fetch_row(text, *arguments, timeout_s=self._answer_within_s)


class LeaderRow(LeaderSeat):
    """The same by the row alone, for a database that gives no sessions: who leads is known when a term has ended.

    Every method raises SessionFailed when the database does not answer in time.
    """

    is_locked = False

    def __init__(self, database: Database, answer_within_s: float) -> None:
        self._database = database
        self._answer_within_s = answer_within_s

    async def try_lock(self) -> bool:
        """Returns whether the row says that nobody leads."""
        (found,) = await self._ask(self._answer_within_s, sql("leader_is_vacant"))
        return bool(found["is_vacant"])

    async def take(self, holder: str, term_s: float) -> int | None:
        rows = await self._ask(self._answer_within_s, sql("leader_take"), holder, term_s, False)
        return int(rows[0]["epoch"]) if rows else None

    async def renew(self, epoch: int, term_s: float) -> bool:
        return bool(await self._ask(self._answer_within_s, sql("leader_renew"), epoch, term_s, False))

    async def unlock(self) -> None:
        """Nothing is locked."""

    async def resign(self, epoch: int, within_s: float) -> None:
        await self._ask(within_s, sql("leader_resign"), epoch)

    def terminate(self) -> None:
        """Nothing is held."""

    async def _ask(self, within_s: float, text: str, *arguments: object) -> list[Row]:
        try:
            async with asyncio.timeout(within_s):
                return await self._database.fetch(text, *arguments)
        except (TimeoutError, Unavailable) as err:
            raise SessionFailed(err) from err
