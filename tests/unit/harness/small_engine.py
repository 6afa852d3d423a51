"""A few lines that speak the wire, so that clients, workers and drills meet a real socket without an engine.

Its definitions consist of one END step, so every instance is complete when it starts; jobs are put in by hand.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from seatrial.cluster import Replica
from seatrial.cluster.mounted_certificate import MountedCertificate

Script = Callable[[web.Request, Any], Awaitable[web.StreamResponse | None]]


class SmallEngine:
    """One replica on a free port. `script` may answer any request instead; None lets the usual answer happen."""

    def __init__(self, name: str = "replica-0") -> None:
        self.name = name
        self.script: Script | None = None
        self.requests: list[tuple[str, str, Any]] = []
        self.waiting: list[dict[str, Any]] = []
        self.completed: list[tuple[str, dict[str, Any]]] = []
        self.failed: list[tuple[str, dict[str, Any]]] = []
        self.instances: list[dict[str, Any]] = []
        self._leases = 0
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.certificate: MountedCertificate | None = None
        """It speaks TLS if one is given before it listens."""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._context())
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def replica(self) -> Replica:
        url = self.url
        return Replica(self.name, url, f"{url}/metrics", ca_file=self.ca_file)

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> str | None:
        return str(self.certificate.ca_file) if self.certificate else None

    def _context(self) -> ssl.SSLContext | None:
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate.certificate_file, self.certificate.key_file)
        return context

    def add_job(
        self, job_id: str, job_type: str, *, retries: int = 0, variables: dict[str, Any] | None = None
    ) -> None:
        self.waiting.append(
            {"id": job_id, "jobType": job_type, "retriesRemaining": retries, "variables": variables or {}}
        )

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, request.path_qs, body))
        if self.script is not None:
            answer = await self.script(request, body)
            if answer is not None:
                return answer
        return self._answer(request, body)

    def _answer(self, request: web.Request, body: Any) -> web.Response:
        parts = request.path.strip("/").split("/")
        if parts[-1] == "poll":
            return web.json_response(
                {"jobs": [self._lease(job, body["workerId"]) for job in self._take(body)]}
            )
        if parts[:2] == ["v1", "jobs"] and parts[-1] == "complete":
            self.completed.append((parts[2], body))
            return web.Response(status=204)
        if parts[:2] == ["v1", "jobs"] and parts[-1] == "fail":
            self.failed.append((parts[2], body))
            return web.Response(status=204)
        if parts == ["v1", "definitions"]:
            return web.json_response({"id": body["id"], "version": 1}, status=201)
        if parts == ["v1", "instances"]:
            return self._start(body) if request.method == "POST" else self._list(request)
        if parts[-1] == "history":
            return web.json_response({"items": [_end_step(parts[2])]})
        if parts == ["healthz"]:
            return web.Response()
        if parts == ["metrics"]:
            return web.Response(
                text=f'# HELP starts\nstarts_total{{node="{self.name}"}} {len(self.instances)}\n'
            )
        return web.json_response({"error": "not-found", "message": f"no {request.path}"}, status=404)

    def _start(self, body: Any) -> web.Response:
        instance = {
            "id": f"{self.name}-i{len(self.instances) + 1}",
            "definitionId": body["definitionId"],
            "definitionVersion": 1,
            "status": "COMPLETED",
            "currentStepIds": [],
            "variables": body["variables"],
            "startedAt": "2026-01-01T00:00:00Z",
            "completedAt": "2026-01-01T00:00:00Z",
            "businessKey": body.get("businessKey"),
        }
        self.instances.append(instance)
        return web.json_response(instance, status=201)

    def _list(self, request: web.Request) -> web.Response:
        wanted = {"definitionId": request.query.get("definitionId"), "status": request.query.get("status")}
        fits = [
            instance
            for instance in self.instances
            if all(value is None or instance[name] == value for name, value in wanted.items())
        ]
        size = int(request.query["pageSize"])
        first = int(request.query["page"]) * size
        return web.json_response({"items": fits[first : first + size], "total": len(fits)})

    def _take(self, body: Any) -> list[dict[str, Any]]:
        fits = [job for job in self.waiting if job["jobType"] in body["jobTypes"]][: body["maxJobs"]]
        for job in fits:
            self.waiting.remove(job)
        return fits

    def _lease(self, job: dict[str, Any], worker_id: str) -> dict[str, Any]:
        self._leases += 1
        return {
            "instanceId": f"of-{job['id']}",
            "stepExecutionId": f"step-{job['id']}",
            "stepId": "step",
            "status": "LOCKED",
            "workerId": worker_id,
            "leaseToken": f"token-{self._leases}",
            "lockedAt": "2026-01-01T00:00:00Z",
            "lockExpiresAt": "2026-01-01T00:00:30Z",
            "createdAt": "2026-01-01T00:00:00Z",
            **job,
        }


def _end_step(instance_id: str) -> dict[str, Any]:
    """In capitalised keys alone, as another engine may spell them (contract 1.4)."""
    return {
        "ID": f"step-of-{instance_id}",
        "InstanceID": instance_id,
        "StepID": "end",
        "StepType": "END",
        "AttemptNumber": 1,
        "Status": "COMPLETED",
        "StartedAt": "2026-01-01T00:00:00Z",
        "EndedAt": "2026-01-01T00:00:00Z",
        "FailureReason": None,
    }
