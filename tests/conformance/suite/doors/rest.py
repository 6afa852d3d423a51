"""REST: the calls of contract 1.1, exactly as a client writes them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

from engine_client import Answer, EngineClient
from workflow import Json

from suite.case import Transport
from suite.doors import Door, Reply

CODES = {400: "bad-request", 404: "not-found", 409: "conflict", 415: "unsupported-format"}


class RestDoor(Door):
    transport = Transport.REST

    def __init__(self, client: EngineClient) -> None:
        self.client = client

    async def send(self, method: str, path: str, body: object = None) -> Reply:
        """`body` as JSON, bytes as they are, None for none."""
        return reply(await self.raw(method, path, body))

    async def raw(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = ({} if data is None else {"Content-Type": "application/json"}) | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return await self.client.call(method, path, data, sent)

    async def chunked(self, path: str, *parts: bytes) -> Answer:
        """A POST whose length is told nowhere."""

        async def body() -> AsyncIterator[bytes]:
            for part in parts:
                yield part

        return await self.client.call("POST", path, body(), {"Content-Type": "application/json"})

    async def upload(self, document: Json) -> Reply:
        return await self.send("POST", "/v1/definitions", document)

    async def definition(self, id: str, version: int | None = None) -> Reply:
        path = f"/v1/definitions/{quote(id, safe='')}"
        return await self.send("GET", path if version is None else f"{path}/versions/{version}")

    async def definitions(self, **query: Any) -> Reply:
        return await self.send("GET", f"/v1/definitions?{urlencode(query)}")

    async def start(self, body: Json) -> Reply:
        return await self.send("POST", "/v1/instances", body)

    async def instance(self, id: str) -> Reply:
        return await self.send("GET", f"/v1/instances/{id}")

    async def instances(self, **query: Any) -> Reply:
        return await self.send("GET", f"/v1/instances?{urlencode(query)}")

    async def history(self, id: str) -> Reply:
        return _part(await self.send("GET", f"/v1/instances/{id}/history"), "items")

    async def cancel(self, id: str, reason: str | None = None) -> Reply:
        return await self.send(
            "POST", f"/v1/instances/{id}/cancel", None if reason is None else {"reason": reason}
        )

    async def poll(self, body: Json) -> Reply:
        return _part(await self.send("POST", "/v1/jobs/poll", body), "jobs")

    async def complete(self, job_id: str, body: Json) -> Reply:
        return await self.send("POST", f"/v1/jobs/{job_id}/complete", body)

    async def fail(self, job_id: str, body: Json) -> Reply:
        return await self.send("POST", f"/v1/jobs/{job_id}/fail", body)

    async def user_task(self, instance_id: str, step_id: str, variables: Json | None = None) -> Reply:
        body = None if variables is None else {"variables": variables}
        return await self.send("POST", task_path(instance_id, step_id), body)

    async def signal(self, instance_id: str, step_id: str, variables: Json | None = None) -> Reply:
        return await self.send("POST", signal_path(instance_id, step_id), variables)


def task_path(instance_id: str, step_id: str) -> str:
    return f"/v1/instances/{instance_id}/user-tasks/{quote(step_id, safe='')}/complete"


def signal_path(instance_id: str, step_id: str) -> str:
    return f"/v1/instances/{instance_id}/signals/{quote(step_id, safe='')}"


def reply(answer: Answer) -> Reply:
    try:
        value = json.loads(answer.body) if answer.body else None
    except ValueError:
        value = None
    said = str(answer.status)
    if 200 <= answer.status < 300:
        return Reply("ok", said, value, "")
    text = str(value.get("reason", "")) if isinstance(value, dict) else answer.body.decode(errors="replace")
    return Reply(CODES.get(answer.status, said), said, value, text)


def _part(found: Reply, key: str) -> Reply:
    """The list inside; one that is missing or null stays as it is."""
    if found.outcome != "ok" or not isinstance(found.value, dict):
        return found
    return Reply("ok", found.said, found.value.get(key), "")
