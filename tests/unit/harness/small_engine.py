"""A few lines that speak the wire's job calls, so that clients and workers meet a real socket without an engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from seatrial.cluster import Replica

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
        self._leases = 0
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
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
        url = f"http://127.0.0.1:{self.port}"
        return Replica(self.name, url, f"{url}/metrics")

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
        if request.method == "POST" and parts == ["v1", "instances"]:
            number = sum(path == "/v1/instances" for _, path, _ in self.requests)
            return web.json_response({"id": f"{self.name}-i{number}", "status": "ACTIVE"}, status=201)
        return web.json_response({"error": "not-found", "message": f"no {request.path}"}, status=404)

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
