"""The database itself as the wake bus: LISTEN and NOTIFY on one session of its own.

NOTIFY is never part of a lane's transaction, since it takes a global lock at commit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from windlass.dispatch.bus import BusLost
from windlass.errors import Unavailable
from windlass.store.database import Database
from windlass.store.notifications import Listener
from windlass.store.session import SessionFailed


class PostgresBus:
    """Implements `bus.WakeBus`. That its session has ended shows when it is used next."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, heard: Callable[[str], None], lost: Callable[[], None]) -> PostgresConnection:  # noqa: ARG002
        with _translated():
            return PostgresConnection(await Listener.open(self._database, heard))


class PostgresConnection:
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    async def publish(self, payload: str, within_s: float) -> None:
        with _translated():
            await self._listener.notify(payload, within_s)

    async def ping(self, within_s: float) -> None:
        with _translated():
            await self._listener.ping(within_s)

    async def close(self) -> None:
        self._listener.terminate()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SessionFailed as err:
        raise BusLost(err.reason) from err
    except Unavailable as err:
        raise BusLost(f"{type(err).__name__}: {err}") from err
