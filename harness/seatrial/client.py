"""A client that writes down every call it makes, and asks a random replica each time.

Choosing anew for each call makes every run non-sticky by construction: a lease taken at one replica is
completed at another. Outcomes follow `history.py`: 4xx and a refused connection are `fail` (nothing
happened), a time-out, a lost connection and 5xx are `info` (nobody knows).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import aiohttp
import msgspec

from seatrial.cluster import Replica
from seatrial.history import OpType, Recorder

CALL_TIMEOUT_S = 10.0
POLL_DEFAULT_LEASE_S = 30.0
_JSON = {"Content-Type": "application/json"}


class Job(msgspec.Struct, frozen=True, rename="camel"):
    """A polled job as the wire gives it (contract 1.4); `lease_token` is None when the engine gives none."""

    job_id: str = msgspec.field(name="id")
    instance_id: str
    step_execution_id: str
    job_type: str
    retries_remaining: int
    variables: dict[str, Any] = {}
    step_id: str | None = None
    lease_token: str | None = None
    locked_at: str | None = None
    lock_expires_at: str | None = None

    def recorded(self) -> dict[str, Any]:
        """The Job of history.py: everything but the variables, which would swell the file."""
        fields = msgspec.structs.asdict(self)
        del fields["variables"]
        return fields


class _Polled(msgspec.Struct):
    jobs: list[Job] | None = None


class Answer(msgspec.Struct, frozen=True):
    """How a call ended. `status` is 0 when no answer came; `code` and `message` are set unless it is ok."""

    outcome: OpType
    node: str
    status: int = 0
    body: Any = None
    code: str = ""
    message: str = ""
    jobs: tuple[Job, ...] = ()
    """What a poll got."""

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"

    @property
    def refused(self) -> bool:
        """Nothing listened there: safe to ask another replica."""
        return self.outcome == "fail" and self.status == 0

    @property
    def id(self) -> str:
        """The instance or definition in the body; raises CallFailed when the call did not succeed."""
        if not self.ok:
            raise CallFailed(self)
        return str(self.body["id"])


class CallFailed(Exception):
    """A scenario needed this call to succeed."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(
            f"{answer.node} answered {answer.outcome} (HTTP {answer.status}, {answer.code}): {answer.message}"
        )
        self.answer = answer


class RecordingClient:
    """Speaks contract 1 as one logical process of the history; usable by many coroutines at once.

    Every method takes `replica` (a name, to ask that one on purpose) and `timeout_s`.
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
    ) -> None:
        if not replicas:
            raise ValueError(f"client {process}: no replica to talk to; give at least one")
        self.process = process
        self.send_token = send_token
        self._replicas = tuple(replicas)
        self._by_name = {replica.name: replica for replica in replicas}
        self._recorder = recorder
        self._rng = rng
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def upload(self, document: Mapping[str, Any], *, replica: str | None = None) -> Answer:
        return await self._call(
            "upload", {"definition": dict(document)}, "POST", "/v1/definitions", document,
            replica=replica, keep=lambda body: {"id": body["id"], "version": body["version"]},
        )  # fmt: skip

    async def start(
        self,
        definition_id: str,
        variables: Mapping[str, Any],
        *,
        business_key: str | None = None,
        replica: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        body = {"definitionId": definition_id, "variables": variables}
        if business_key is not None:
            body["businessKey"] = business_key
        return await self._call(
            "start",
            {"definition_id": definition_id, "business_key": business_key, "variables": dict(variables)},
            "POST",
            "/v1/instances",
            body,
            replica=replica,
            timeout_s=timeout_s,
            keep=lambda answer: {"instance_id": answer["id"], "status": answer["status"]},
        )

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
        body = {
            "workerId": worker_id,
            "jobTypes": list(job_types),
            "maxJobs": max_jobs,
            "leaseSeconds": _number(lease_s),
        }
        if wait_s:
            body["waitMs"] = round(wait_s * 1000)
        value = {"worker_id": worker_id, "job_types": list(job_types), "max_jobs": max_jobs}
        return await self._call(
            "poll",
            {**value, "lease_s": lease_s, "wait_s": wait_s},
            "POST",
            "/v1/jobs/poll",
            body,
            replica=replica,
            timeout_s=wait_s + (self._timeout_s if timeout_s is None else timeout_s),
        )

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
        return await self._call(
            "complete",
            {**self._holder(job, worker_id), "variables": sent},
            "POST",
            f"/v1/jobs/{quote(job.job_id, safe='')}/complete",
            {"workerId": worker_id, "variables": sent, **self._token(job)},
            replica=replica,
            timeout_s=timeout_s,
        )

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
        return await self._call(
            "fail_job",
            {**self._holder(job, worker_id), "retryable": retryable, "error_message": error_message},
            "POST",
            f"/v1/jobs/{quote(job.job_id, safe='')}/fail",
            {
                "workerId": worker_id,
                "errorMessage": error_message,
                "retryable": retryable,
                **self._token(job),
            },
            replica=replica,
            timeout_s=timeout_s,
        )

    async def signal(
        self,
        instance_id: str,
        step_id: str,
        variables: Mapping[str, Any] | None = None,
        *,
        replica: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        return await self._call(
            "signal",
            {"instance_id": instance_id, "step_id": step_id, "variables": dict(variables or {})},
            "POST",
            f"/v1/instances/{quote(instance_id, safe='')}/signals/{quote(step_id, safe='')}",
            variables or {},
            replica=replica,
            timeout_s=timeout_s,
        )

    async def user_task(
        self,
        instance_id: str,
        step_id: str,
        variables: Mapping[str, Any] | None = None,
        *,
        replica: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        return await self._call(
            "user_task",
            {"instance_id": instance_id, "step_id": step_id, "variables": dict(variables or {})},
            "POST",
            f"/v1/instances/{quote(instance_id, safe='')}/user-tasks/{quote(step_id, safe='')}/complete",
            {"workerId": self.process, "variables": variables or {}},
            replica=replica,
            timeout_s=timeout_s,
        )

    async def cancel(
        self, instance_id: str, reason: str, *, replica: str | None = None, timeout_s: float | None = None
    ) -> Answer:
        return await self._call(
            "cancel",
            {"instance_id": instance_id, "reason": reason},
            "POST",
            f"/v1/instances/{quote(instance_id, safe='')}/cancel",
            {"reason": reason},
            replica=replica,
            timeout_s=timeout_s,
            keep=lambda body: {"status": body["status"]},
        )

    async def get_instance(
        self, instance_id: str, *, replica: str | None = None, timeout_s: float | None = None
    ) -> Answer:
        return await self._get(
            f"/v1/instances/{quote(instance_id, safe='')}",
            replica,
            timeout_s,
            lambda body: {"id": body["id"], "status": body["status"]},
        )

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
        asked = {"definitionId": definition_id, "status": status, "businessKey": business_key}
        query = {name: value for name, value in asked.items() if value is not None}
        return await self._get(
            f"/v1/instances?{urlencode({**query, 'page': page, 'pageSize': page_size})}",
            replica,
            timeout_s,
            lambda body: {"total": body["total"]},
        )

    async def history(
        self, instance_id: str, *, replica: str | None = None, timeout_s: float | None = None
    ) -> Answer:
        """The answer's body holds the step executions under `items`."""
        return await self._get(
            f"/v1/instances/{quote(instance_id, safe='')}/history",
            replica,
            timeout_s,
            lambda body: {"items": len(body["items"])},
        )

    async def probe(self, replica: str, path: str, *, timeout_s: float | None = None) -> Answer:
        """Any answer is ok, whatever its status: a probe asks what the node says, not whether it agrees."""
        return await self._call(
            "probe", {"node": replica, "path": path}, "GET", path, replica=replica, timeout_s=timeout_s
        )

    async def _get(
        self,
        path: str,
        replica: str | None,
        timeout_s: float | None,
        keep: Callable[[Any], dict[str, Any]],
    ) -> Answer:
        return await self._call(
            "get", {"path": path}, "GET", path, replica=replica, timeout_s=timeout_s, keep=keep
        )

    def _holder(self, job: Job, worker_id: str) -> dict[str, Any]:
        return {
            "job_id": job.job_id,
            "instance_id": job.instance_id,
            "worker_id": worker_id,
            "lease_token": job.lease_token if self.send_token else None,
        }

    def _token(self, job: Job) -> dict[str, str]:
        return {"leaseToken": job.lease_token} if self.send_token and job.lease_token else {}

    def _pick(self, name: str | None) -> Replica:
        if name is None:
            return self._rng.choice(self._replicas)
        if name not in self._by_name:
            raise ValueError(f"no replica {name!r}; this cluster has {', '.join(self._by_name)}")
        return self._by_name[name]

    async def _call(
        self,
        f: str,
        value: Mapping[str, Any],
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        replica: str | None = None,
        timeout_s: float | None = None,
        keep: Callable[[Any], dict[str, Any]] | None = None,
    ) -> Answer:
        """One exchange between its invoke and its end; a cancelled call has no end, which is judged as info."""
        node = self._pick(replica)
        call = self._recorder.invoke(self.process, f, value, node.name)
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            answer = await self._exchange(node, f, method, path, body, limit_s)
            kept = _kept(f, answer, keep)
        except (KeyError, TypeError, msgspec.ValidationError) as err:
            answer = Answer(
                "info", node.name, 200, code="unreadable-answer", message=f"{type(err).__name__}: {err}"
            )
            kept = {}
        failure = {"code": answer.code, "status": answer.status, "message": answer.message}
        self._recorder.end(
            self.process, answer.outcome, f, call, kept, node.name, None if answer.ok else failure
        )
        return answer

    async def _exchange(
        self, node: Replica, f: str, method: str, path: str, body: Mapping[str, Any] | None, limit_s: float
    ) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        try:
            async with self._session.request(
                method,
                node.rest_url.rstrip("/") + path,
                data=None if body is None else msgspec.json.encode(body),
                headers=_JSON if body is not None else None,
                timeout=aiohttp.ClientTimeout(total=limit_s),
            ) as response:
                return _judge(node.name, f, response.status, await response.read())
        except aiohttp.ClientConnectorError as err:
            return Answer("fail", node.name, code="connection-refused", message=str(err))
        except TimeoutError:
            return Answer("info", node.name, code="timeout", message=f"no answer within {limit_s:g} s")
        except (aiohttp.ClientError, OSError) as err:
            return Answer("info", node.name, code="connection-lost", message=f"{type(err).__name__}: {err}")


def _number(seconds: float) -> int | float:
    """The wire wants an integer where one is meant (contract 1.3)."""
    return int(seconds) if float(seconds).is_integer() else seconds


def _judge(node: str, f: str, status: int, raw: bytes) -> Answer:
    """Raises msgspec.ValidationError for a successful answer of the wrong form."""
    try:
        body = msgspec.json.decode(raw) if raw.strip() else None
    except msgspec.DecodeError:
        body = raw.decode(errors="replace")[:1000]
    if f == "probe":
        return Answer("ok", node, status, body)
    if status < 400:
        jobs = tuple(msgspec.convert(body, _Polled).jobs or ()) if f == "poll" else ()
        return Answer("ok", node, status, body, jobs=jobs)
    fields = body if isinstance(body, dict) else {}
    message = str(fields.get("message") or fields.get("reason") or body or "")[:1000]
    outcome: OpType = "fail" if status < 500 else "info"
    return Answer(outcome, node, status, body, str(fields.get("error") or f"http-{status}"), message)


def _kept(f: str, answer: Answer, keep: Callable[[Any], dict[str, Any]] | None) -> dict[str, Any]:
    if not answer.ok:
        return {}
    if f == "poll":
        return {"jobs": [job.recorded() for job in answer.jobs]}
    if f == "probe":
        return {"status": answer.status, "body": answer.body}
    return keep(answer.body) if keep else {}
