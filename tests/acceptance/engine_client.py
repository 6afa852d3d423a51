"""The wire as a test speaks it: raw calls, and words that assert success for what is not on trial just now."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import aiohttp
import yarl
from workflow import Json, Workflow, document

CALL_TIMEOUT_S = 45.0
LARGE_BYTES = 512 * 1024


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"] == "application/json", self
        assert self.body.endswith(b"\n"), self
        return json.loads(self.body)

    def refused(self, status: int, code: str) -> str:
        """Asserts the error body of contract 1.2 and returns its text."""
        assert self.status == status, self
        body = self.json
        assert body["error"] == code, self
        assert body["reason"], self
        assert body["message"] == body["reason"], self
        return str(body["reason"])


class EngineClient:
    """`async with`; usable by many coroutines at once."""

    def __init__(self, rest_url: str, metrics_url: str) -> None:
        self.rest_url = rest_url
        self.metrics_url = metrics_url
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    # -- raw calls

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        base_url: str | None = None,
    ) -> Answer:
        """The path goes out as it is written here; a body without a length goes out in chunks."""
        # A large body as a file: aiohttp warns of one in memory.
        data = io.BytesIO(body) if isinstance(body, bytes) and len(body) > LARGE_BYTES else body
        url = yarl.URL((base_url or self.rest_url) + path, encoded=True)
        async with self._session.request(method, url, data=data, headers=headers) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def get(self, path: str) -> Answer:
        return await self.call("GET", path)

    async def post(self, path: str, body: object = None, **headers: str) -> Answer:
        """`body` as JSON; None sends none."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | {n.replace("_", "-"): v for n, v in headers.items()}
        return await self.call("POST", path, data, sent)

    async def metrics(self) -> str:
        answer = await self.call("GET", "/metrics", base_url=self.metrics_url)
        assert answer.status == 200, answer
        return answer.body.decode()

    # -- words

    async def define(self, *steps: Json, id: str | None = None, **top: Any) -> Workflow:
        """Stores these steps under an id of their own."""
        id = id or f"d-{secrets.token_hex(6)}"
        answer = await self.post("/v1/definitions", document(id, *steps, **top))
        assert answer.status == 201, answer
        return Workflow(self, id, answer.json["version"])

    async def poll(
        self, job_types: Sequence[str], *, worker: str = "w", jobs_max: int = 10, **more: Any
    ) -> list[Json]:
        body = {"workerId": worker, "jobTypes": list(job_types), "maxJobs": jobs_max, **more}
        answer = await self.post("/v1/jobs/poll", body)
        assert answer.status == 200, answer
        jobs: list[Json] = answer.json["jobs"]
        return jobs

    async def complete(self, job: Json, worker: str = "w", **variables: Any) -> None:
        answer = await self.post(
            f"/v1/jobs/{job['id']}/complete", {"workerId": worker, "variables": variables}
        )
        assert (answer.status, answer.body) == (204, b""), answer

    async def fail(self, job: Json, worker: str = "w", **more: Any) -> None:
        answer = await self.post(f"/v1/jobs/{job['id']}/fail", {"workerId": worker, **more})
        assert (answer.status, answer.body) == (204, b""), answer

    async def instance(self, instance: Json) -> Json:
        answer = await self.get(f"/v1/instances/{instance['id']}")
        assert answer.status == 200, answer
        found: Json = answer.json
        return found

    async def status(self, instance: Json) -> str:
        return str((await self.instance(instance))["status"])

    async def variables(self, instance: Json) -> Json:
        found: Json = (await self.instance(instance))["variables"]
        return found

    async def history(self, instance: Json) -> list[Json]:
        answer = await self.get(f"/v1/instances/{instance['id']}/history")
        assert answer.status == 200, answer
        items: list[Json] = answer.json["items"]
        return items

    async def trail(self, instance: Json) -> list[tuple[str, str]]:
        """The history as (step, status)."""
        return [(each["stepId"], each["status"]) for each in await self.history(instance)]

    async def cancel(self, instance: Json, reason: str = "enough") -> Json:
        answer = await self.post(f"/v1/instances/{instance['id']}/cancel", {"reason": reason})
        assert answer.status == 200, answer
        cancelled: Json = answer.json
        return cancelled

    async def user_task(self, instance: Json, step_id: str, body: object = None) -> Answer:
        return await self.post(f"/v1/instances/{instance['id']}/user-tasks/{step_id}/complete", body)

    async def signal(self, instance: Json, step_id: str, body: object = None) -> Answer:
        return await self.post(f"/v1/instances/{instance['id']}/signals/{step_id}", body)
