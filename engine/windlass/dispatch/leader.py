"""Who runs the relay: a row with an epoch and an expiry on the database's clock (contract 6.4).

A node that leads renews the row; one that does not looks, ten times a second, whether the advisory lock is free or the
row has expired. The lock is only a fast path: it falls with the session that holds it, so a standby need not wait for
the expiry of a leader that has gone. One that is merely silent is waited for, and by then has stopped by itself: its
own clock ends its term a margin before the database's does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from windlass.errors import EngineError
from windlass.store.database import Connection, Database, describe
from windlass.store.queries import sql

LOOK_INTERVAL_S = 0.1
RECONNECT_DELAY_S = 0.25
CONNECT_TIMEOUT_S = 2.0
"""Short, for a leader that cannot speak to the database soon is none; a boot has more patience."""
BOOT_CONNECT_TIMEOUT_S = 10.0

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
    """Counted from before the question was sent: the database's own count began later."""
    return Term(epoch, asked_at_s + term_s * (1 - MARGIN_PER_TERM))


class Leadership:
    """`start` competes until `stop`; `leads` may be asked at any moment and is never true for too long."""

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
        self._connection: Connection | None = None
        self._is_locked = False
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
            await self._open(BOOT_CONNECT_TIMEOUT_S)
            await self._compete()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as err:
            await self._leave_session()
            raise EngineError(describe(err)) from err

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="leadership")

    async def stop(self) -> None:
        """Resigns, so that a standby leads at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None and self._term is not None:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                await self._connection.execute(sql("leader_resign"), self._term.epoch, timeout=1.0)
        self._step_down()
        await self._leave_session()

    async def _run(self) -> None:
        while True:
            try:
                await self._open(CONNECT_TIMEOUT_S)
                if self._term is None:
                    await self._compete()
                else:
                    await self._renew(self._term.epoch)
            except (
                EngineError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                OSError,
                TimeoutError,
            ) as err:
                # A leader without its session may be followed at any moment.
                had_session = self._connection is not None
                self._step_down()
                await self._leave_session()
                if had_session:
                    self._session_lost(describe(err))
                await asyncio.sleep(RECONNECT_DELAY_S)
                continue
            pause_s = LOOK_INTERVAL_S if self._term is None else self._term_s / RENEWALS_PER_TERM
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._disturbed.wait(), pause_s)

    async def _open(self, within_s: float) -> None:
        if self._connection is None:
            self._disturbed.clear()
            async with asyncio.timeout(within_s):
                self._connection = await self._database.dedicated("relay-leader")
            self._connection.add_termination_listener(lambda _: self._disturbed.set())
            self._is_locked = False

    async def _ask(self, name: str, *arguments: object) -> asyncpg.Record | None:
        assert self._connection is not None
        # Renewals that take longer than this are as good as none.
        timeout_s = self._term_s * (1 - MARGIN_PER_TERM) - self._term_s / RENEWALS_PER_TERM
        return await self._connection.fetchrow(name, *arguments, timeout=timeout_s)

    async def _compete(self) -> None:
        found = await self._ask(sql("leader_try_lock"))
        assert found is not None
        self._is_locked = found["is_locked"]
        if not (self._is_locked or found["is_vacant"]):
            return
        asked_at_s = time.monotonic()
        row = await self._ask(sql("leader_take"), self._holder, self._term_s, self._is_locked)
        if row is not None:
            self._term = term(row["epoch"], asked_at_s, self._term_s)
            self.taken.set()
            self._changed(True)
        elif self._is_locked:
            # Somebody leads without the lock and shall have it.
            await self._ask(sql("leader_unlock"))
            self._is_locked = False

    async def _renew(self, epoch: int) -> None:
        if not self._is_locked:
            found = await self._ask(sql("leader_try_lock"))
            self._is_locked = found is not None and found["is_locked"]
        asked_at_s = time.monotonic()
        row = await self._ask(sql("leader_renew"), epoch, self._term_s, self._is_locked)
        if row is not None:
            self._term = term(epoch, asked_at_s, self._term_s)
            return
        self._step_down()
        if self._is_locked:
            await self._ask(sql("leader_unlock"))
            self._is_locked = False

    def _step_down(self) -> None:
        if self._term is not None:
            self._term = None
            self.taken.clear()
            self._changed(False)

    async def _leave_session(self) -> None:
        connection, self._connection, self._is_locked = self._connection, None, False
        if connection is not None:
            connection.terminate()
