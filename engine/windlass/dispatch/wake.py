"""Wake-ups between nodes over a bus, as hints only (contract 6.1).

What is published is debounced; a node that is alone publishes nothing. The bus is asked at intervals, so a half-open
connection is noticed, and a metric shows when a node has only its fallback poll.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterable

import msgspec

from windlass.dispatch.backoff import Backoff
from windlass.dispatch.bus import PAYLOAD_BYTES_MAX, BusConnection, BusLost, WakeBus

PUBLISH_INTERVAL_S = 0.01
"""At most one hint in this time, naming all types that were collected."""
HEARTBEAT_INTERVAL_S = 3.0
HEARTBEAT_TIMEOUT_S = 2.0
RECONNECT_DELAY_S = 0.5
RECONNECT_DELAY_S_MAX = 1.0
"""A bus that is back is used again within this time and that of one attempt."""


class Hint(msgspec.Struct, array_like=True):
    sender: str
    """Of one process, new at each boot: two processes may have one name."""
    job_types: list[str]
    """Job types; empty means any."""


class WakeUps:
    """`job_types_waiting` may be called from any place, at any rate; `woken` gets what other nodes said.

    `bus` None: nodes do not wake each other, and that is as it should be.
    """

    def __init__(
        self,
        bus: WakeBus | None,
        *,
        woken: Callable[[Iterable[str]], None],
        woken_all: Callable[[], None],
        degraded: Callable[[bool, str], None],
    ) -> None:
        self._bus = bus
        self._sender = secrets.token_hex(8)
        self._woken = woken
        self._woken_all = woken_all
        self._degraded = degraded
        self._pending: dict[str, None] = {}
        self._something = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.is_alone = False
        """Set by the node heartbeat: with no other node there is nobody to notify."""
        self.is_listening = False
        self.trouble = ""
        """Why the bus cannot be used; empty when it can, and when there is none."""
        self._was_degraded = False

    @property
    def is_degraded(self) -> bool:
        return self._bus is not None and not self.is_listening

    def start(self) -> None:
        if self._bus is not None:
            self._task = asyncio.create_task(self._run(self._bus), name="wake-ups")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def job_types_waiting(self, job_types: Iterable[str]) -> None:
        if self._bus is not None and not self.is_alone:
            self._pending.update(dict.fromkeys(job_types))
            if self._pending:
                self._something.set()

    async def _run(self, bus: WakeBus) -> None:
        backoff: Backoff[None] = Backoff(RECONNECT_DELAY_S, RECONNECT_DELAY_S_MAX)
        while True:
            connection = None
            try:
                connection = await bus.open(self._heard, self._something.set)
                backoff.succeeded(None)
                self._set_listening(listening=True, cause="")
                self._woken_all()
                if not self.is_alone:
                    await self._greet(connection)
                await self._converse(connection)
            except BusLost as err:
                self._set_listening(listening=False, cause=str(err))
                await asyncio.sleep(backoff.failed(None, time.monotonic()))
            finally:
                if connection is not None:
                    await connection.close()

    async def _greet(self, connection: BusConnection) -> None:
        """A node that was alone until now sends hints from here on, and not only after its next heartbeat."""
        await connection.publish(msgspec.json.encode(Hint(self._sender, [])).decode(), HEARTBEAT_TIMEOUT_S)

    async def _converse(self, connection: BusConnection) -> None:
        """Publishes the collected hints, and checks the connection at intervals and when it may be lost."""
        checked_s = time.monotonic()
        while True:
            wait_s = max(0.0, checked_s + HEARTBEAT_INTERVAL_S - time.monotonic())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._something.wait(), wait_s)
            names = list(self._pending)
            self._pending.clear()
            self._something.clear()
            if names:
                payload = msgspec.json.encode(Hint(self._sender, names))
                if len(payload) > PAYLOAD_BYTES_MAX:
                    # A list that does not fit is sent as "any".
                    payload = msgspec.json.encode(Hint(self._sender, []))
                await connection.publish(payload.decode(), HEARTBEAT_TIMEOUT_S)
                await asyncio.sleep(PUBLISH_INTERVAL_S)
            if not names or time.monotonic() >= checked_s + HEARTBEAT_INTERVAL_S:
                await connection.ping(HEARTBEAT_TIMEOUT_S)
                checked_s = time.monotonic()

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
        self.is_listening, self.trouble = listening, cause
        if listening == self._was_degraded:
            self._was_degraded = not listening
            self._degraded(not listening, cause)
