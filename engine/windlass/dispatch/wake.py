"""Wake-ups between nodes: LISTEN and NOTIFY on one connection of their own, as hints only (contract 6.1).

NOTIFY is never part of a lane's transaction (it takes a global lock at commit) and is debounced; a node that is alone
sends none. The listener queries its session at intervals, so a half-open connection is noticed, and a metric shows
when a node has only its fallback poll.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable

import msgspec

from windlass.errors import Unavailable
from windlass.store.database import Database
from windlass.store.notifications import PAYLOAD_BYTES_MAX, Listener
from windlass.store.session import SessionFailed

NOTIFY_INTERVAL_S = 0.01
"""At most one NOTIFY in this time, naming all types that were collected."""
HEARTBEAT_INTERVAL_S = 3.0
HEARTBEAT_TIMEOUT_S = 2.0
RECONNECT_DELAY_S = 0.5


class Hint(msgspec.Struct, array_like=True):
    sender: str
    """Of one process, new at each boot: two processes may have one name."""
    job_types: list[str]
    """Job types; empty means any."""


class WakeUps:
    """`job_types_waiting` may be called from any place, at any rate; `woken` gets what other nodes said."""

    def __init__(
        self,
        database: Database,
        *,
        woken: Callable[[Iterable[str]], None],
        woken_all: Callable[[], None],
        degraded: Callable[[bool, str], None],
        listens: bool,
    ) -> None:
        self._database = database
        self._sender = secrets.token_hex(8)
        self._woken = woken
        self._woken_all = woken_all
        self._degraded = degraded
        self._listens = listens
        self._pending: dict[str, None] = {}
        self._something = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.is_alone = False
        """Set by the node heartbeat: with no other node there is nobody to notify."""
        self.is_listening = False
        self._was_degraded = False

    def start(self) -> None:
        if self._listens:
            self._task = asyncio.create_task(self._run(), name="wake-ups")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def job_types_waiting(self, job_types: Iterable[str]) -> None:
        if self._listens and not self.is_alone:
            self._pending.update(dict.fromkeys(job_types))
            if self._pending:
                self._something.set()

    async def _run(self) -> None:
        while True:
            listener = None
            try:
                listener = await Listener.open(self._database, self._heard)
                self._set_listening(listening=True, cause="")
                self._woken_all()
                if not self.is_alone:
                    await self._greet(listener)
                await self._converse(listener)
            except (Unavailable, SessionFailed) as err:
                cause = err.reason if isinstance(err, SessionFailed) else f"{type(err).__name__}: {err}"
                self._set_listening(listening=False, cause=cause)
                await asyncio.sleep(RECONNECT_DELAY_S)
            finally:
                if listener is not None:
                    listener.terminate()

    async def _greet(self, listener: Listener) -> None:
        """A node that was alone until now sends hints from here on, and not only after its next heartbeat."""
        await listener.notify(msgspec.json.encode(Hint(self._sender, [])).decode(), HEARTBEAT_TIMEOUT_S)

    async def _converse(self, listener: Listener) -> None:
        """Sends the collected hints, and checks the session when there are none."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._something.wait(), HEARTBEAT_INTERVAL_S)
            if self._pending:
                names = list(self._pending)
                self._pending.clear()
                self._something.clear()
                payload = msgspec.json.encode(Hint(self._sender, names))
                if len(payload) > PAYLOAD_BYTES_MAX:
                    # A list that does not fit is sent as "any".
                    payload = msgspec.json.encode(Hint(self._sender, []))
                await listener.notify(payload.decode(), HEARTBEAT_TIMEOUT_S)
                await asyncio.sleep(NOTIFY_INTERVAL_S)
            else:
                self._something.clear()
                await listener.ping(HEARTBEAT_TIMEOUT_S)

    def _heard(self, payload: str) -> None:
        try:
            hint = msgspec.json.decode(payload, type=Hint)
        except msgspec.DecodeError:
            self._woken_all()
            return
        if hint.sender != self._sender:
            # Whoever speaks is there, also before the next heartbeat counts it.
            self.is_alone = False
            if hint.job_types:
                self._woken(hint.job_types)
            else:
                self._woken_all()

    def _set_listening(self, *, listening: bool, cause: str) -> None:
        self.is_listening = listening
        if listening == self._was_degraded:
            self._was_degraded = not listening
            self._degraded(not listening, cause)
