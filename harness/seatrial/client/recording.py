"""A client that records every call, and sends each to a random replica. So no run is sticky: a lease taken at one
replica is completed at another and, if both transports are used, one taken over REST is completed over gRPC. Outcomes
follow `history.py`; each transport says how its own statuses map to them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from seatrial.client.answer import Answer, Job, unreadable
from seatrial.client.request import (
    Cancel,
    Complete,
    FailJob,
    GetHistory,
    GetInstance,
    ListInstances,
    Poll,
    Probe,
    RegisterWorker,
    Request,
    Signal,
    Start,
    Upload,
    UserTask,
)
from seatrial.client.rest import RestTransport
from seatrial.client.transport import Transport
from seatrial.cluster import Replica
from seatrial.history import Recorder, TransportName

CALL_TIMEOUT_S = 10.0
POLL_DEFAULT_LEASE_S = 30.0


class RecordingClient:
    """Speaks contracts 1 and 2 as one logical process of the history; usable by many coroutines at once.

    Every method takes `replica` (a name, to ask that one on purpose) and `timeout_s`. What gRPC cannot carry goes
    over REST whatever `transports` says: a probe, and the few calls that name it in `request.py`. One that does not
    keep connections opens one for each call, as short-lived programs do.
    """

    def __init__(
        self,
        process: str,
        replicas: Sequence[Replica],
        recorder: Recorder,
        rng: random.Random,
        *,
        send_token: bool = True,
        timeout_s: float = CALL_TIMEOUT_S,
        transports: Sequence[TransportName] = ("rest",),
        keeps_connections: bool = True,
    ) -> None:
        if not replicas:
            raise ValueError(f"client {process}: no replica to talk to; give at least one")
        if "grpc" in transports and not keeps_connections:
            raise ValueError(f"client {process}: gRPC keeps its connections; speak REST alone, or keep them")
        for replica in replicas:
            if "grpc" in transports and replica.grpc_address is None:
                raise ValueError(
                    f"client {process}: {replica.name} has no gRPC address; give one, or speak REST alone"
                )
        self.process = process
        self.send_token = send_token
        self._replicas = tuple(replicas)
        self._by_name = {replica.name: replica for replica in replicas}
        self._recorder = recorder
        self._rng = rng
        self._timeout_s = timeout_s
        self._names = tuple(transports)
        self._keeps_connections = keeps_connections
        self._transports: dict[TransportName, Transport] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for transport in self._transports.values():
            await transport.close()
        self._transports = {}

    async def upload(self, document: Mapping[str, Any], *, replica: str | None = None) -> Answer:
        return await self._call(Upload(dict(document)), replica)

    async def start(
        self,
        definition_id: str,
        variables: Mapping[str, Any],
        *,
        business_key: str | None = None,
        replica: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        return await self._call(Start(definition_id, business_key, dict(variables)), replica, timeout_s)

    async def poll(
        self,
        worker_id: str,
        job_types: Sequence[str],
        *,
        max_jobs: int = 10,
        lease_s: float = POLL_DEFAULT_LEASE_S,
        wait_s: float = 0.0,
        replica: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """`timeout_s` counts on top of `wait_s`, the time the engine may hold the call."""
        limit_s = wait_s + (self._timeout_s if timeout_s is None else timeout_s)
        return await self._call(
            Poll(worker_id, tuple(job_types), max_jobs, lease_s, wait_s), replica, limit_s
        )

    async def register_worker(
        self,
        worker_id: str,
        job_types: Sequence[str],
        *,
        version: str,
        capacity: int,
        replica: str | None = None,
    ) -> Answer:
        return await self._call(RegisterWorker(worker_id, tuple(job_types), version, capacity), replica)

    async def complete(
        self,
        job: Job,
        worker_id: str,
        variables: Mapping[str, Any] | None = None,
        *,
        replica: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Adds `done:<job_id>:<nonce>`, so an accepted completion stays visible in the instance for ever."""
        nonce = f"{self._rng.getrandbits(32):08x}"
        sent = {**(variables or {}), f"done:{job.job_id}:{nonce}": True}
        request = Complete(job.job_id, job.instance_id, worker_id, self._token(job), sent)
        return await self._call(request, replica, timeout_s)

    async def fail_job(
        self,
        job: Job,
        worker_id: str,
        error_message: str,
        *,
        retryable: bool,
        replica: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        request = FailJob(job.job_id, job.instance_id, worker_id, self._token(job), retryable, error_message)
        return await self._call(request, replica, timeout_s)

    async def signal(
        self,
        instance_id: str,
        step_id: str,
        variables: Mapping[str, Any] | None = None,
        *,
        replica: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        return await self._call(Signal(instance_id, step_id, dict(variables or {})), replica, timeout_s)

    async def user_task(
        self,
        instance_id: str,
        step_id: str,
        variables: Mapping[str, Any] | None = None,
        *,
        replica: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        request = UserTask(instance_id, step_id, dict(variables or {}), self.process)
        return await self._call(request, replica, timeout_s)

    async def cancel(
        self, instance_id: str, reason: str, *, replica: str | None = None, timeout_s: float | None = None
    ) -> Answer:
        return await self._call(Cancel(instance_id, reason), replica, timeout_s)

    async def get_instance(
        self, instance_id: str, *, replica: str | None = None, timeout_s: float | None = None
    ) -> Answer:
        return await self._call(GetInstance(instance_id), replica, timeout_s)

    async def list_instances(
        self,
        *,
        definition_id: str | None = None,
        status: str | None = None,
        business_key: str | None = None,
        page: int = 0,
        page_size: int = 200,
        replica: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """The answer's body is the page: `items` and `total`."""
        request = ListInstances(definition_id, status, business_key, page, page_size)
        return await self._call(request, replica, timeout_s)

    async def history(
        self, instance_id: str, *, replica: str | None = None, timeout_s: float | None = None
    ) -> Answer:
        """The answer's body holds the step executions under `items`."""
        return await self._call(GetHistory(instance_id), replica, timeout_s)

    async def probe(self, replica: str, path: str, *, timeout_s: float | None = None) -> Answer:
        """Any answer is ok, whatever its status: a probe asks what the node says, not whether it agrees."""
        return await self._call(Probe(replica, path), replica, timeout_s)

    def _token(self, job: Job) -> str | None:
        return job.lease_token if self.send_token else None

    async def _call(self, request: Request, replica: str | None, timeout_s: float | None = None) -> Answer:
        """One exchange between its invoke and its end; a cancelled call has no end, which is judged as info."""
        node = self._pick(replica)
        name = self._pick_transport(request)
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        call = self._recorder.invoke(self.process, request.f, request.recorded(), node.name, name)
        answer = await self._transport(name).exchange(node, request, limit_s)
        kept: dict[str, Any] = {}
        if answer.ok:
            try:
                kept = request.kept(answer)
            except (KeyError, TypeError) as err:
                answer = unreadable(node.name, answer.status, err)
        failure = {"code": answer.code, "status": answer.status, "message": answer.message}
        self._recorder.end(
            self.process, answer.outcome, request.f, call, kept, node.name, None if answer.ok else failure
        )
        return answer

    def _pick(self, name: str | None) -> Replica:
        if name is None:
            return self._rng.choice(self._replicas)
        if name not in self._by_name:
            raise ValueError(f"no replica {name!r}; this cluster has {', '.join(self._by_name)}")
        return self._by_name[name]

    def _pick_transport(self, request: Request) -> TransportName:
        if len(self._names) > 1:
            # Drawn for every call, so that a call without a choice does not change the random numbers of later ones.
            drawn = self._rng.choice(self._names)
        else:
            (drawn,) = self._names
        return drawn if request.only_over_rest() is None else "rest"

    def _transport(self, name: TransportName) -> Transport:
        if name not in self._transports:
            self._transports[name] = _connected(name, keeps_connections=self._keeps_connections)
        return self._transports[name]


def _connected(name: TransportName, *, keeps_connections: bool) -> Transport:
    if name == "rest":
        return RestTransport(keeps_connections=keeps_connections)
    # Imported here, since its library starts threads that REST alone does not need.
    from seatrial.client.grpc import GrpcTransport

    return GrpcTransport()
