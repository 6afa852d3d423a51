"""The memory budget of the process: whatever grows with what callers send or ask for is drawn before it grows.

Of the limit, what an idle process needs and a tenth for what nobody counts are set aside. Of the rest each kind of use
has an eighth for itself and half is for all, so a kind that takes what it can get cannot starve another, and work that
has begun finds room to end. Small draws have a part of their own, and do not wait behind large ones.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum

MIB = 1024 * 1024
IDLE_BYTES = 96 * MIB
"""A process that serves many small calls has less than this resident, connections and kept definitions included."""
LIMIT_BYTES_MIN = 160 * MIB
SMALL_BYTES = 64 * 1024
"""A draw up to this size is small."""
WAIT_S = 5.0
"""How long a caller waits for room, unless it has a reason of its own."""

_SHARE = 1 / 8
"""Of the capacity, for each kind."""
_MOST = 1 / 2
_BODIES_MOST = 1 / 4
"""Bodies wait for the room to be parsed while they hold their own: they may not take it all."""
_SMALL_SHARE = 1 / 32
_UNCOUNTED = 10
"""One part in so many of the limit is for what nobody counts."""


class Use(Enum):
    """What memory is drawn for."""

    BODY = "body"
    """A request being read, or waiting for its turn."""
    PARSED = "parsed"
    """A request on its way through the engine: its values and the copies made of them until it is answered."""
    BATCH = "batch"
    """Commands of one transaction, as the database gets them."""
    ANSWER = "answer"
    """Rows that were read and the answer made of them, until it is written."""

    # Each member is one object; Enum's own hash, of the name, is a call of Python for each draw.
    __hash__ = object.__hash__


class _Account:
    __slots__ = ("most", "most_large", "share", "used")

    def __init__(self, capacity_bytes: int, most: float) -> None:
        self.used = 0
        self.share = int(capacity_bytes * _SHARE)
        self.most = int(capacity_bytes * most)
        self.most_large = self.most - int(capacity_bytes * _SMALL_SHARE)


class Budget:
    """All sizes are bytes. One object for the process; not for other threads than the loop's."""

    def __init__(self, limit_bytes: int, *, idle_bytes: int = IDLE_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.capacity_bytes = max(0, limit_bytes - limit_bytes // _UNCOUNTED - idle_bytes)
        self._accounts = {
            use: _Account(self.capacity_bytes, _BODIES_MOST if use is Use.BODY else _MOST) for use in Use
        }
        #: of the half that is for all
        self._common_left = self.capacity_bytes - sum(each.share for each in self._accounts.values())
        self._waiting: deque[tuple[Use, int, asyncio.Future[None]]] = deque()
        #: what somebody waits for; and whether for the common half, which others leave alone then
        self._waiting_uses: frozenset[Use] = frozenset()
        self._common_is_wanted = False
        #: the process itself is nearly as large as it may be, whatever was drawn
        self.is_pressed = False
        #: what the process has beyond what was drawn and what it has at rest: freed and not given back, or not counted
        self.uncounted_bytes = 0
        #: called for each draw that was refused for good
        self.refused: Callable[[Use], None] = lambda _use: None

    def used(self, use: Use) -> int:
        return self._accounts[use].used

    def most(self, use: Use) -> int:
        """The largest draw that can ever be had."""
        return self._accounts[use].most_large

    def room(self, use: Use) -> int:
        """What could be drawn now."""
        account = self._accounts[use]
        free = max(0, account.share - account.used) + self._common_left
        return max(0, min(free, account.most_large - account.used))

    def draw(self, use: Use, count: int) -> bool:
        """True: it is the caller's until `give_back` of the same. A large draw does not overtake one that waits."""
        account = self._accounts[use]
        if count <= SMALL_BYTES and account.used + count <= account.share:
            # What most calls are. Its share is its own, whoever waits.
            account.used += count
            return True
        if count > SMALL_BYTES and (use in self._waiting_uses or not self._takes_large()):
            return False
        return self._take(use, count, common=count <= SMALL_BYTES or not self._common_is_wanted)

    def give_back(self, use: Use, count: int) -> None:
        account = self._accounts[use]
        if account.used > account.share:
            self._common_left += min(count, account.used - account.share)
        account.used -= count
        assert account.used >= 0
        if self._waiting:
            self.serve()

    def ask(self, use: Use, count: int) -> asyncio.Future[None]:
        """Done when it is drawn, in the order of asking; `leave` to ask no longer."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((use, count, future))
        self.serve()
        return future

    def leave(self, use: Use, count: int, asked: asyncio.Future[None]) -> None:
        """Ask no longer, and give back what was drawn meanwhile."""
        if asked.cancel():
            self.serve()
        elif not asked.cancelled():
            self.give_back(use, count)

    async def wait(self, use: Use, count: int, *, within_s: float = WAIT_S) -> bool:
        """Drawn, in the order of asking; False at once for what never fits, and when the time is over."""
        if self.draw(use, count):
            return True
        if count <= self.most(use) and within_s > 0:
            asked = self.ask(use, count)
            try:
                await asyncio.wait((asked,), timeout=within_s)
            except asyncio.CancelledError:
                self.leave(use, count, asked)
                raise
            if asked.done():
                return True
            self.leave(use, count, asked)
        self.refused(use)
        return False

    def serve(self) -> None:
        """Give to those who wait, the first first. One that waits for its own use's share holds up only that use; one
        that waits for the common half leaves the others what is theirs.
        """
        blocked: set[Use] = set()
        common_is_wanted = False
        kept: deque[tuple[Use, int, asyncio.Future[None]]] = deque()
        waiting, self._waiting = self._waiting, kept
        takes_large = self._takes_large()
        for use, count, asked in waiting:
            if asked.done():
                continue
            small = count <= SMALL_BYTES
            if (
                use not in blocked
                and (small or takes_large)
                and self._take(use, count, common=not common_is_wanted)
            ):
                asked.set_result(None)
                takes_large = self._takes_large()
                continue
            if use not in blocked and self._accounts[use].used + count <= self._accounts[use].most_large:
                common_is_wanted = True
            blocked.add(use)
            kept.append((use, count, asked))
        self._waiting_uses, self._common_is_wanted = frozenset(blocked), common_is_wanted

    @property
    def waiting(self) -> int:
        """How many wait for room."""
        return len(self._waiting)

    def waits(self, use: Use) -> bool:
        """Somebody waits for room of this use."""
        return use in self._waiting_uses

    def _takes_large(self) -> bool:
        # With nothing drawn there is nothing to wait for.
        return not self.is_pressed or not self.drawn_bytes

    @property
    def drawn_bytes(self) -> int:
        return sum(account.used for account in self._accounts.values())

    def _has_place(self, count: int) -> bool:
        """Beside what is not counted; with nothing drawn there is nothing to wait for."""
        drawn = self.drawn_bytes
        return not drawn or drawn + count + self.uncounted_bytes <= self.capacity_bytes

    def _take(self, use: Use, count: int, *, common: bool) -> bool:
        account = self._accounts[use]
        used = account.used + count
        if count > SMALL_BYTES and not self._has_place(count):
            return False
        if used > (account.most if count <= SMALL_BYTES else account.most_large):
            return False
        over = max(0, used - account.share) - max(0, account.used - account.share)
        if over > (self._common_left if common else 0):
            return False
        account.used = used
        self._common_left -= over
        return True
