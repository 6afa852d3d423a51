"""Calls an engine, over REST or gRPC as its address says; repeats what can be repeated without harm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from windlass_client.backoff import Backoff
from windlass_client.errors import Overloaded, Unanswered, WindlassError
from windlass_client.model import Instance, Job, StepExecution, Uploaded
from windlass_client.rest import RestTransport
from windlass_client.tls import File, Tls
from windlass_client.token import Token
from windlass_client.transport import Transport, Variables

LEASE_S = 30.0
HEARTBEAT_S = 15.0
TIMEOUT_S = 30.0
RETRY_FOR_S = 20.0
#: Between two attempts at a call, and between two looks at an instance.
PAUSE_S_MAX = 2.0

T = TypeVar("T")


class Client:
    """`async with Client(address) as windlass`; usable by many coroutines at once.

    `address`: http:// or https:// for REST, grpc:// or grpcs:// with host:port for gRPC. `timeout_s`: for one answer,
    a poll's waiting not counted. `retry_for_s`: how long a call that can be repeated without harm is repeated while it
    ends in `Unanswered`; 0 = each is sent once. `token`: for an engine that asks for one; a callable is asked before
    each call, so that a token which is renewed in a file needs no restart, and it must not block. For https:// and
    grpcs://, `ca_file`: PEM file of the CAs that the engine's certificate is verified by, instead of the system's;
    `cert_file`, `key_file`: the client's own certificate and its key, for an engine that knows callers by them. They
    are read again when they change. ValueError names what does not fit.

    Repeated are `upload`, `get`, `history`, `wait_for_end`, `register_worker`, and `complete` and `fail`, which carry
    the lease: the engine answers their repeats and does nothing twice. The others are sent once, except that `start`,
    `signal` and `complete_user_task` are repeated while they end in `Overloaded`, after the time that it tells: the
    engine did nothing then.
    """

    def __init__(
        self,
        address: str,
        *,
        token: Token = None,
        ca_file: File | None = None,
        cert_file: File | None = None,
        key_file: File | None = None,
        timeout_s: float = TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
    ) -> None:
        self._transport = _transport(address, timeout_s, token, Tls(ca_file, cert_file, key_file))
        self._retry_for_s = retry_for_s

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def open(self) -> None:
        """For where `async with` does not fit; then `close` it."""
        await self._transport.open()

    async def close(self) -> None:
        await self._transport.close()

    # -- definitions and instances

    async def upload(self, definition: Mapping[str, Any]) -> Uploaded:
        """Stores the JSON document; BadRequest names all its faults at once."""
        return await self._repeated(lambda: self._transport.upload(definition))

    async def start(
        self,
        definition_id: str,
        variables: Variables | None = None,
        *,
        version: int | None = None,
        business_key: str | None = None,
    ) -> Instance:
        """The new instance, which has run as far as it can without waiting. `version` None is the newest."""
        return await self._repeated(
            lambda: self._transport.start(definition_id, variables or {}, version, business_key), Overloaded
        )

    async def get(self, instance_id: str) -> Instance:
        return await self._repeated(lambda: self._transport.get(instance_id))

    async def history(self, instance_id: str) -> Sequence[StepExecution]:
        """The steps it has been through, oldest first."""
        return await self._repeated(lambda: self._transport.history(instance_id))

    async def cancel(self, instance_id: str, reason: str = "") -> Instance:
        """The cancelled instance; Conflict when it had ended."""
        return await self._transport.cancel(instance_id, reason)

    async def wait_for_end(self, instance_id: str, *, timeout_s: float | None = None) -> Instance:
        """The instance once it is COMPLETED, FAILED or CANCELLED. TimeoutError when that is not within `timeout_s`."""
        backoff = Backoff(PAUSE_S_MAX)
        async with asyncio.timeout(timeout_s):
            while True:
                instance = await self.get(instance_id)
                if instance.is_final:
                    return instance
                await asyncio.sleep(backoff.pause_s())

    # -- parked steps

    async def complete_user_task(
        self, instance_id: str, step_id: str, variables: Variables | None = None, *, completed_by: str = ""
    ) -> None:
        """Merges `variables` into the instance's and goes on. NotFound when it does not wait at that USER_TASK."""
        await self._repeated(
            lambda: self._transport.complete_user_task(instance_id, step_id, variables or {}, completed_by),
            Overloaded,
        )

    async def signal(self, instance_id: str, step_id: str, variables: Variables | None = None) -> None:
        """Merges `variables` into the instance's and goes on. Conflict when it does not wait at that WAIT."""
        await self._repeated(
            lambda: self._transport.signal(instance_id, step_id, variables or {}), Overloaded
        )

    # -- jobs; `Worker` does this for you

    async def poll(
        self,
        worker_id: str,
        job_types: Sequence[str],
        *,
        max_jobs: int = 10,
        lease_s: float = LEASE_S,
        wait_s: float = 0.0,
    ) -> Sequence[Job]:
        """Leases up to `max_jobs` for `lease_s`; held up to `wait_s` while there is none."""
        return await self._transport.poll(worker_id, job_types, max_jobs, lease_s, wait_s)

    async def complete(self, job: Job, variables: Variables | None = None) -> None:
        """Merges `variables` into the instance's and goes on. Conflict when the lease went to another."""
        await self._repeated(lambda: self._transport.complete(job, variables or {}))

    async def fail(self, job: Job, message: str, *, retryable: bool = False) -> None:
        """Puts the job back while it is `retryable` and has retries; else the instance fails with `message`."""
        await self._repeated(lambda: self._transport.fail(job, message, retryable=retryable))

    # -- the list of workers; `Worker` does this for you

    async def register_worker(
        self,
        worker_id: str,
        job_types: Sequence[str],
        *,
        version: str = "",
        capacity: int = 1,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        """Puts the worker on the engine's list, or renews what is known of it. `capacity`: jobs at a time.

        NotFound where there is no such list: over gRPC, and at other engines with this API.
        """
        await self._repeated(
            lambda: self._transport.register_worker(worker_id, job_types, version, capacity, heartbeat_s)
        )

    async def worker_heartbeat(self, worker_id: str) -> None:
        """Says that it is alive; NotFound when it has to register (again)."""
        await self._transport.worker_heartbeat(worker_id)

    async def unregister_worker(self, worker_id: str) -> None:
        """Takes it off the list; NotFound when it was not there."""
        await self._transport.unregister_worker(worker_id)

    async def _repeated(self, call: Callable[[], Awaitable[T]], again: type[WindlassError] = Unanswered) -> T:
        give_up_at_s = time.monotonic() + self._retry_for_s
        backoff = Backoff(PAUSE_S_MAX)
        while True:
            try:
                return await call()
            except again as error:
                pause_s = backoff.pause_s()
                if isinstance(error, Overloaded):
                    # Not all at the same moment.
                    pause_s += error.retry_after_s
                if time.monotonic() + pause_s > give_up_at_s:
                    raise
                await asyncio.sleep(pause_s)


def _transport(address: str, timeout_s: float, token: Token, tls: Tls) -> Transport:
    """Raises ValueError for an address that is none."""
    url = urlsplit(address)
    if not url.hostname or url.query or url.fragment:
        raise ValueError(
            f"{address!r} is not the address of an engine; write http://host:8080 or grpc://host:9090"
        )
    if tls.is_given and url.scheme in {"http", "grpc"}:
        raise ValueError(
            f"{address!r} is without TLS, so ca_file and cert_file do not serve; write {url.scheme}s://, or leave "
            "them out"
        )
    if url.scheme in {"http", "https"}:
        return RestTransport(address, timeout_s, token, tls if url.scheme == "https" else None)
    if url.scheme in {"grpc", "grpcs"}:
        if not url.port or url.path.strip("/"):
            raise ValueError(f"{address!r} is not host and port; write {url.scheme}://host:9090")
        try:
            from windlass_client.grpc import GrpcTransport
        except ImportError as error:
            raise ImportError(
                f"gRPC needs grpcio and protobuf ({error}): pip install 'windlass-client[grpc]'"
            ) from error
        return GrpcTransport(url.netloc, timeout_s, token, tls if url.scheme == "grpcs" else None)
    raise ValueError(f"{address!r}: {url.scheme or 'no scheme'} is unknown; use http, https, grpc or grpcs")
