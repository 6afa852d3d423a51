"""Calls over REST (contract 1). 4xx and a refused connection certainly did nothing; after a time-out, a lost
connection or a 5xx nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from seatrial.client.answer import (
    MESSAGE_CHARS_MAX,
    Answer,
    jobs_of,
    lost,
    overdue,
    refused,
    unreadable,
)
from seatrial.client.request import (
    Cancel,
    Complete,
    FailJob,
    Poll,
    Probe,
    Read,
    RegisterWorker,
    Request,
    Signal,
    Start,
    Upload,
    UserTask,
    segment,
)
from seatrial.cluster import Replica
from seatrial.cluster.trust import trust_of

_JSON = {"Content-Type": "application/json"}


class RestTransport:
    """One session, made with the first call. Unless it keeps connections, each call has one of its own."""

    def __init__(self, *, keeps_connections: bool = True) -> None:
        self._keeps_connections = keeps_connections
        self._session: aiohttp.ClientSession | None = None

    async def exchange(self, replica: Replica, request: Request, limit_s: float) -> Answer:
        method, path, body = _http(request)
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, force_close=not self._keeps_connections)
            self._session = aiohttp.ClientSession(connector=connector)
        try:
            async with self._session.request(
                method,
                replica.rest_url.rstrip("/") + path,
                data=None if body is None else msgspec.json.encode(body),
                headers=headers_of(replica, has_body=body is not None),
                ssl=trust_of(replica),
                timeout=aiohttp.ClientTimeout(total=limit_s),
            ) as response:
                return _judge(replica.name, request, response.status, await response.read())
        except aiohttp.ClientConnectorError as err:
            return refused(replica.name, str(err))
        except TimeoutError:
            return overdue(replica.name, limit_s)
        except (aiohttp.ClientError, OSError) as err:
            return lost(replica.name, err)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def headers_of(replica: Replica, *, has_body: bool) -> Mapping[str, str]:
    """What every call carries."""
    headers = _JSON if has_body else {}
    return headers if replica.token is None else {**headers, "Authorization": f"Bearer {replica.token}"}


def _http(request: Request) -> tuple[str, str, Mapping[str, Any] | None]:
    """Method, path and body of contract 1.1."""
    body: dict[str, Any]
    match request:
        case Read(path=path) | Probe(path=path):
            return "GET", path, None
        case Upload(definition=document):
            return "POST", "/v1/definitions", document
        case Start():
            key = {} if request.business_key is None else {"businessKey": request.business_key}
            body = {"definitionId": request.definition_id, "variables": request.variables, **key}
            return "POST", "/v1/instances", body
        case Poll():
            return "POST", "/v1/jobs/poll", _poll(request)
        case Complete():
            body = {"workerId": request.worker_id, "variables": request.variables, **_token(request)}
            return "POST", f"/v1/jobs/{segment(request.job_id)}/complete", body
        case FailJob():
            body = {
                "workerId": request.worker_id,
                "errorMessage": request.error_message,
                "retryable": request.retryable,
                **_token(request),
            }
            return "POST", f"/v1/jobs/{segment(request.job_id)}/fail", body
        case Signal():
            path = f"/v1/instances/{segment(request.instance_id)}/signals/{segment(request.step_id)}"
            return "POST", path, request.variables
        case UserTask():
            path = (
                f"/v1/instances/{segment(request.instance_id)}/user-tasks/{segment(request.step_id)}/complete"
            )
            return "POST", path, {"workerId": request.person, "variables": request.variables}
        case RegisterWorker():
            body = {
                "id": request.worker_id,
                "jobTypes": request.job_types,
                "version": request.version,
                "capacity": request.capacity,
            }
            return "POST", "/v1/workers", body
        case Cancel():
            path = f"/v1/instances/{segment(request.instance_id)}/cancel"
            return "POST", path, {"reason": request.reason}
        case _:
            raise TypeError(f"REST has no call for {type(request).__name__}")


def _poll(request: Poll) -> dict[str, Any]:
    body = {
        "workerId": request.worker_id,
        "jobTypes": request.job_types,
        "maxJobs": request.max_jobs,
        "leaseSeconds": _number(request.lease_s),
    }
    if request.wait_s:
        body["waitMs"] = round(request.wait_s * 1000)
    return body


def _token(request: Complete | FailJob) -> dict[str, str]:
    return {"leaseToken": request.lease_token} if request.lease_token else {}


def _number(seconds: float) -> int | float:
    """The wire wants an integer where one is meant (contract 1.3)."""
    return int(seconds) if float(seconds).is_integer() else seconds


def _judge(node: str, request: Request, status: int, raw: bytes) -> Answer:
    """Any answer to a probe is ok: a probe asks what the node says, not whether it agrees."""
    try:
        body = msgspec.json.decode(raw) if raw.strip() else None
    except msgspec.DecodeError:
        body = raw.decode(errors="replace")[:MESSAGE_CHARS_MAX]
    if isinstance(request, Probe):
        return Answer("ok", node, status, body)
    if status < 400:
        try:
            jobs = jobs_of(body) if isinstance(request, Poll) else ()
        except msgspec.ValidationError as err:
            return unreadable(node, status, err)
        return Answer("ok", node, status, body, jobs=jobs)
    fields = body if isinstance(body, dict) else {}
    message = str(fields.get("message") or fields.get("reason") or body or "")[:MESSAGE_CHARS_MAX]
    return Answer(
        "fail" if status < 500 else "info",
        node,
        status,
        body,
        str(fields.get("error") or f"http-{status}"),
        message,
    )
