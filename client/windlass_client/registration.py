"""Tells the engine who a worker is while it works, so that operators see it; its jobs do not depend on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from windlass_client.backoff import Backoff
from windlass_client.client import HEARTBEAT_S, Client
from windlass_client.errors import NotFound, Refused, WindlassError

PAUSE_S_MAX = 5.0
LEAVE_WITHIN_S = 2.0

log = logging.getLogger("windlass_client")


class Registration:
    """`start` it, and `stop` it when the worker has no job in hand any more. It raises nothing."""

    def __init__(
        self,
        client: Client,
        worker_id: str,
        job_types: Sequence[str],
        *,
        version: str,
        capacity: int,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._client = client
        self._worker_id = worker_id
        self._job_types = job_types
        self._version = version
        self._capacity = capacity
        self._heartbeat_s = heartbeat_s
        self._task: asyncio.Task[None] | None = None
        self._is_known = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"registration of {self._worker_id}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._is_known:
            with contextlib.suppress(WindlassError, TimeoutError):
                async with asyncio.timeout(LEAVE_WITHIN_S):
                    await self._client.unregister_worker(self._worker_id)

    async def _run(self) -> None:
        backoff = Backoff(PAUSE_S_MAX)
        while True:
            try:
                await self._tell()
            except NotFound:
                # Another engine with this API, or gRPC: neither knows workers.
                log.debug(
                    "worker %s is not registered: this engine keeps no list of workers", self._worker_id
                )
                return
            except Refused as error:
                log.warning("worker %s is not registered: %s", self._worker_id, error)
                return
            except WindlassError as error:
                log.debug("worker %s could not tell that it is alive: %s", self._worker_id, error)
                await asyncio.sleep(min(backoff.pause_s(), self._heartbeat_s))
                continue
            backoff.reset()
            await asyncio.sleep(self._heartbeat_s)

    async def _tell(self) -> None:
        if self._is_known:
            try:
                await self._client.worker_heartbeat(self._worker_id)
            except NotFound:
                # It was silent for long, or somebody took it off the list.
                self._is_known = False
            else:
                return
        await self._client.register_worker(
            self._worker_id,
            self._job_types,
            version=self._version,
            capacity=self._capacity,
            heartbeat_s=self._heartbeat_s,
        )
        self._is_known = True
