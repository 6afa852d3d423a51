"""A session outside the pool: for LISTEN and advisory locks, which end with it, and for long migrations."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

from windlass.errors import EngineError
from windlass.store.driver import (
    DRIVER_ERRORS,
    Connection,
    Row,
    begun,
    describe,
    failure_of,
    is_lock_timeout,
    remedy_of,
)


class SessionFailed(EngineError):
    """The session, or a statement in it, failed; `reason` is the driver's error, its kind first.

    What to do then is decided by the owner of the session, so the error does not say whether to try again. `remedy`:
    what an operator can do about it; empty when it depends on what was done.
    """

    def __init__(self, err: BaseException) -> None:
        super().__init__(describe(err))
        self.failure = failure_of(err)
        self.remedy = remedy_of(err)
        self.is_lock_timeout = is_lock_timeout(err)


class Session:
    """Every method raises SessionFailed in place of the driver's errors; `timeout_s` None: the database's timeout."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, text: str, *arguments: object, timeout_s: float | None = None) -> None:
        async with self._with_settings():
            await self._connection.execute(text, *arguments, timeout=timeout_s)

    async def fetch_row(self, text: str, *arguments: object, timeout_s: float | None = None) -> Row | None:
        """The first row of the result, None when it has none."""
        async with self._with_settings():
            return await self._connection.fetchrow(text, *arguments, timeout=timeout_s)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Behind a pooler in transaction mode locks and settings last no longer than it."""
        with _translated():
            async with begun(self._connection):
                yield

    @contextlib.asynccontextmanager
    async def _with_settings(self) -> AsyncIterator[None]:
        """A statement of its own is a transaction where only a transaction has the engine's settings."""
        with _translated():
            if self._connection.is_shared and not self._connection.is_in_transaction():
                async with begun(self._connection):
                    yield
            else:
                yield

    async def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """`heard` gets the payload of every notification on the channel."""

        def deliver(_connection: object, _pid: int, _channel: str, payload: str) -> None:
            heard(payload)

        with _translated():
            await self._connection.add_listener(channel, deliver)

    def on_termination(self, ended: Callable[[], None]) -> None:
        """`ended` is called once, when the session ends for whatever reason."""
        self._connection.add_termination_listener(lambda _: ended())

    def terminate(self) -> None:
        """Ends it at once, without waiting for the server."""
        self._connection.terminate()

    async def close(self, within_s: float) -> None:
        await self._connection.close(timeout=within_s)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DRIVER_ERRORS as err:
        raise SessionFailed(err) from err
