"""The engine over REST, by aiohttp."""

from __future__ import annotations

import io
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
import yarl

from windlass_client.errors import (
    BY_HTTP_STATUS,
    BadRequest,
    EngineFault,
    Overdue,
    Overloaded,
    Unreachable,
    WindlassError,
)
from windlass_client.model import Instance, Job, StepExecution, Uploaded
from windlass_client.tls import Tls
from windlass_client.token import Token, authorization_of
from windlass_client.transport import Variables

#: aiohttp hands a larger body over in pieces only when it is a file.
_WHOLE_BODY_BYTES_MAX = 512 * 1024

T = TypeVar("T")


class _Jobs(msgspec.Struct):
    jobs: list[Job]


class _History(msgspec.Struct, rename="camel"):
    items: list[StepExecution]
    next_page_token: str | None = None


class RestTransport:
    """With `tls`, which an https:// address needs."""

    def __init__(self, base_url: str, timeout_s: float, token: Token = None, tls: Tls | None = None) -> None:
        self._token = token
        self._tls = tls
        #: True: plaintext
        self._context: ssl.SSLContext | bool = True
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession

    async def open(self) -> None:
        if self._tls is not None:
            self._tls.begin()
            self._context = self._tls.context()
        # The caller bounds how much it does at once.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def close(self) -> None:
        await self._session.close()

    async def upload(self, definition: Mapping[str, Any]) -> Uploaded:
        return await self._ask(Uploaded, "POST", "/v1/definitions", definition)

    async def start(
        self, definition_id: str, variables: Variables, version: int | None, business_key: str | None
    ) -> Instance:
        body = {
            "definitionId": definition_id,
            "definitionVersion": version,
            "variables": variables,
            "businessKey": business_key,
        }
        return await self._ask(Instance, "POST", "/v1/instances", body)

    async def get(self, instance_id: str) -> Instance:
        return await self._ask(Instance, "GET", f"/v1/instances/{_quoted(instance_id)}")

    async def history(self, instance_id: str) -> Sequence[StepExecution]:
        path = f"/v1/instances/{_quoted(instance_id)}/history"
        page = await self._ask(_History, "GET", path)
        items = page.items
        while page.next_page_token:
            page = await self._ask(_History, "GET", f"{path}?pageToken={_quoted(page.next_page_token)}")
            items += page.items
        return items

    async def cancel(self, instance_id: str, reason: str) -> Instance:
        path = f"/v1/instances/{_quoted(instance_id)}/cancel"
        return await self._ask(Instance, "POST", path, {"reason": reason})

    async def poll(
        self, worker_id: str, job_types: Sequence[str], max_jobs: int, lease_s: float, wait_s: float
    ) -> Sequence[Job]:
        body = {
            "workerId": worker_id,
            "jobTypes": list(job_types),
            "maxJobs": max_jobs,
            "leaseSeconds": lease_s,
            "waitMs": round(wait_s * 1000),
        }
        return (await self._ask(_Jobs, "POST", "/v1/jobs/poll", body, extra_s=wait_s)).jobs

    async def complete(self, job: Job, variables: Variables) -> None:
        body = {"workerId": job.worker_id, "leaseToken": job.lease_token, "variables": variables}
        await self._call("POST", f"/v1/jobs/{_quoted(job.id)}/complete", body)

    async def fail(self, job: Job, message: str, *, retryable: bool) -> None:
        body = {
            "workerId": job.worker_id,
            "leaseToken": job.lease_token,
            "errorMessage": message,
            "retryable": retryable,
        }
        await self._call("POST", f"/v1/jobs/{_quoted(job.id)}/fail", body)

    async def complete_user_task(
        self, instance_id: str, step_id: str, variables: Variables, completed_by: str
    ) -> None:
        path = f"/v1/instances/{_quoted(instance_id)}/user-tasks/{_quoted(step_id)}/complete"
        await self._call("POST", path, {"variables": variables, "completedBy": completed_by})

    async def signal(self, instance_id: str, step_id: str, variables: Variables) -> None:
        await self._call(
            "POST", f"/v1/instances/{_quoted(instance_id)}/signals/{_quoted(step_id)}", variables
        )

    async def register_worker(
        self, worker_id: str, job_types: Sequence[str], version: str, capacity: int, heartbeat_s: float
    ) -> None:
        body = {
            "id": worker_id,
            "jobTypes": list(job_types),
            "version": version,
            "capacity": capacity,
            "heartbeatSeconds": heartbeat_s,
        }
        await self._call("POST", "/v1/workers", body)

    async def worker_heartbeat(self, worker_id: str) -> None:
        await self._call("POST", f"/v1/workers/{_quoted(worker_id)}/heartbeat")

    async def unregister_worker(self, worker_id: str) -> None:
        await self._call("DELETE", f"/v1/workers/{_quoted(worker_id)}")

    async def _ask(self, kind: type[T], method: str, path: str, body: object = None, extra_s: float = 0) -> T:
        text = await self._call(method, path, body, extra_s)
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.DecodeError as error:
            raise EngineFault(
                f"{method} {path} was answered with something other than a {kind.__name__}: {error}"
            ) from error

    async def _call(self, method: str, path: str, body: object = None, extra_s: float = 0) -> bytes:
        """The body of a success; `extra_s` is how long the engine may hold the call by itself."""
        data: io.BytesIO | bytes | None = None
        if body is not None:
            data = _encoded(body)
            if len(data) > _WHOLE_BODY_BYTES_MAX:
                data = io.BytesIO(data)
        url = yarl.URL(self._base_url + path, encoded=True)
        timeout = aiohttp.ClientTimeout(total=self._timeout_s + extra_s)
        headers = {"Content-Type": "application/json"} if data is not None else {}
        authorization = authorization_of(self._token)
        if authorization is not None:
            headers["Authorization"] = authorization
        if self._tls is not None and self._tls.is_renewed():
            # Connections made with the other one go on, and are used no more.
            self._context = self._tls.context()
        try:
            async with self._session.request(
                method,
                url,
                data=data,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                ssl=self._context,
            ) as answer:
                text = await answer.read()
                if answer.status < 300:
                    return text
                raise _refusal(answer.status, text, answer.headers.get("Retry-After", ""))
        except TimeoutError:
            raise Overdue(f"{method} {path}: no answer within {self._timeout_s + extra_s:g} s") from None
        except aiohttp.ClientError as error:
            raise Unreachable(f"{method} {path}: {error or type(error).__name__}") from error


def _quoted(segment: str) -> str:
    return quote(segment, safe="")


def _encoded(body: object) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the request is not JSON: {error}") from error


def _refusal(status: int, text: bytes, retry_after: str) -> WindlassError:
    kind = BY_HTTP_STATUS.get(status, EngineFault)
    try:
        found = msgspec.json.decode(text)
        reason = str(found["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        reason = text.decode(errors="replace").strip() or f"answered {status} without a message"
    if kind is Overloaded and retry_after.isdecimal():
        return Overloaded(reason, float(retry_after))
    return kind(reason)
