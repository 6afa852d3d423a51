"""Who runs the relay: a row with an epoch and an expiry on the database's clock (contract 6.4).

The leader renews the row; every other node checks ten times a second whether the advisory lock is free or the row has
expired. The lock is only a fast path: it is released with the session that holds it, so after a crash of the leader a
standby need not wait for the expiry. If the leader only stops responding, a standby waits until the row expires; by
then the leader has stopped by itself, because its own clock ends its term a margin before the database's does. A
database that gives no sessions (a pooler in transaction mode) has the row alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from windlass.errors import EngineError
from windlass.store.database import Database
from windlass.store.leadership import LeaderRow, LeaderSeat, LeaderSession
from windlass.store.session import SessionFailed

LOOK_INTERVAL_S = 0.1
RECONNECT_DELAY_S = 0.25
CONNECT_TIMEOUT_S = 2.0
"""Short: a leader that cannot reach the database soon loses the lead anyway. A boot waits longer."""
BOOT_CONNECT_TIMEOUT_S = 10.0
RESIGN_TIMEOUT_S = 1.0

#: Parts of a term: how often it is renewed, and what is kept free at its end for clocks and messages under way.
RENEWALS_PER_TERM = 6
MARGIN_PER_TERM = 1 / 3


@dataclass(frozen=True, slots=True)
class Term:
    """One epoch of this node's lead; seconds on the monotonic clock, which runs on while a process is stopped."""

    epoch: int
    until_s: float

    def covers(self, now_s: float) -> bool:
        return now_s < self.until_s


def term(epoch: int, asked_at_s: float, term_s: float) -> Term:
    """Counted from before the statement was sent, so it ends before the database's own term does."""
    return Term(epoch, asked_at_s + term_s * (1 - MARGIN_PER_TERM))


class Leadership:
    """`start` competes until `stop`; `leads` may be read at any time and is never true past the end of the term."""

    def __init__(
        self,
        database: Database,
        *,
        holder: str,
        term_s: float,
        changed: Callable[[bool], None],
        session_lost: Callable[[str], None],
    ) -> None:
        self._database = database
        self._holder = holder
        self._term_s = term_s
        self._changed = changed
        self._session_lost = session_lost
        self._session: LeaderSeat | None = None
        self._term: Term | None = None
        self._task: asyncio.Task[None] | None = None
        self._disturbed = asyncio.Event()
        self.taken = asyncio.Event()
        """Set while this node believes that it leads."""

    @property
    def epoch(self) -> int:
        """Of the current term, 0 when there is none."""
        return self._term.epoch if self._term else 0

    def leads(self) -> bool:
        return self._term is not None and self._term.covers(time.monotonic())

    async def enter(self) -> None:
        """The first attempt, at boot; raises EngineError when the lock or the row cannot be used at all."""
        try:
            await self._compete(await self._open(BOOT_CONNECT_TIMEOUT_S))
        except SessionFailed:
            self._leave_session()
            raise

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="leadership")

    async def stop(self) -> None:
        """Resigns, so that a standby leads at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._session is not None and self._term is not None:
            with contextlib.suppress(SessionFailed):
                await self._session.resign(self._term.epoch, RESIGN_TIMEOUT_S)
        self._step_down()
        self._leave_session()

    async def _run(self) -> None:
        while True:
            try:
                session = await self._open(CONNECT_TIMEOUT_S)
                if self._term is None:
                    await self._compete(session)
                else:
                    await self._renew(session, self._term.epoch)
            except EngineError as err:
                # A leader that has lost its session may be replaced at any moment.
                had_session = self._session is not None
                self._step_down()
                self._leave_session()
                if had_session:
                    self._session_lost(err.reason)
                await asyncio.sleep(RECONNECT_DELAY_S)
                continue
            pause_s = LOOK_INTERVAL_S if self._term is None else self._term_s / RENEWALS_PER_TERM
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._disturbed.wait(), pause_s)

    async def _open(self, within_s: float) -> LeaderSeat:
        if self._session is None:
            self._disturbed.clear()
            # A renewal that takes longer than this comes too late.
            answer_within_s = self._term_s * (1 - MARGIN_PER_TERM) - self._term_s / RENEWALS_PER_TERM
            if self._database.has_sessions:
                self._session = await LeaderSession.open(
                    self._database,
                    within_s=within_s,
                    answer_within_s=answer_within_s,
                    ended=self._disturbed.set,
                )
            else:
                self._session = LeaderRow(self._database, answer_within_s)
        return self._session

    async def _compete(self, session: LeaderSeat) -> None:
        is_vacant = await session.try_lock()
        if not (session.is_locked or is_vacant):
            return
        asked_at_s = time.monotonic()
        epoch = await session.take(self._holder, self._term_s)
        if epoch is not None:
            self._term = term(epoch, asked_at_s, self._term_s)
            self.taken.set()
            self._changed(True)
        elif session.is_locked:
            # Another node leads without the lock; it should get it.
            await session.unlock()

    async def _renew(self, session: LeaderSeat, epoch: int) -> None:
        if not session.is_locked:
            await session.try_lock()
        asked_at_s = time.monotonic()
        if await session.renew(epoch, self._term_s):
            self._term = term(epoch, asked_at_s, self._term_s)
            return
        self._step_down()
        if session.is_locked:
            await session.unlock()

    def _step_down(self) -> None:
        if self._term is not None:
            self._term = None
            self.taken.clear()
            self._changed(False)

    def _leave_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.terminate()
