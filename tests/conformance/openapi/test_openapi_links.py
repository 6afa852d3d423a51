"""Each link of the document is followed once, from a real answer, and leads to a success."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from engine_client import Answer, EngineClient
from situations import Situations
from workflow import END, Json, service, user_task, wait

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("openapi")]

DOCUMENT = json.loads((Path(__file__).parents[3] / "docs/openapi.json").read_text(encoding="utf-8"))
OPERATIONS: Mapping[str, tuple[str, str, Any]] = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
LINKS = [
    (name, status, link)
    for name, (_, _, operation) in OPERATIONS.items()
    for status, response in operation["responses"].items()
    for link in response.get("links", {})
]
PARKED_AT: Mapping[str, Json] = {"completeUserTask": user_task("p"), "signal": wait("p")}


def value_of(expression: str, body: Any) -> Any:
    """A runtime expression of OpenAPI, as far as the document uses them: a place in the answer's body."""
    prefix = "$response.body#/"
    assert expression.startswith(prefix), expression
    for part in expression.removeprefix(prefix).split("/"):
        body = body[int(part)] if isinstance(body, list) else body[part]
    return body


def filled(template: Any, body: Any) -> Any:
    if isinstance(template, dict):
        return {key: filled(value, body) for key, value in template.items()}
    is_expression = isinstance(template, str) and template.startswith("$")
    return value_of(template, body) if is_expression else template


async def _uploaded(engine: EngineClient, _link: str) -> Answer:
    workflow = await engine.define(END)
    return await engine.post("/v1/definitions", {"id": workflow.id, "name": workflow.id, "steps": [END]})


async def _listed_definitions(engine: EngineClient, _link: str) -> Answer:
    workflow = await engine.define(END)
    return await engine.get(f"/v1/definitions?keyword={workflow.id}")


async def _started(engine: EngineClient, link: str) -> Answer:
    workflow = await engine.define(PARKED_AT.get(link, service("p")), END)
    return await engine.post("/v1/instances", {"definitionId": workflow.id})


async def _got(engine: EngineClient, link: str) -> Answer:
    return await engine.get(f"/v1/instances/{(await _started(engine, link)).json['id']}")


async def _listed_instances(engine: EngineClient, link: str) -> Answer:
    return await engine.get(
        f"/v1/instances?definitionId={(await _started(engine, link)).json['definitionId']}"
    )


async def _polled(engine: EngineClient, _link: str) -> Answer:
    workflow = await engine.define(service("a"), END)
    await workflow.start()
    body = {"workerId": "links", "jobTypes": [workflow.job_type("a")], "leaseSeconds": 60}
    return await engine.post("/v1/jobs/poll", body)


async def _registered(engine: EngineClient, _link: str) -> Answer:
    return await engine.post("/v1/workers", {"id": f"w/{secrets.token_hex(6)}", "jobTypes": ["links"]})


SOURCES: Mapping[str, Callable[[EngineClient, str], Awaitable[Answer]]] = {
    "uploadDefinition": _uploaded,
    "listDefinitions": _listed_definitions,
    "startInstance": _started,
    "getInstance": _got,
    "listInstances": _listed_instances,
    "pollJobs": _polled,
    "registerWorker": _registered,
}


@pytest.mark.parametrize(("name", "status", "link"), LINKS)
async def test_a_link_leads_to_a_success(situations: Situations, name: str, status: str, link: str) -> None:
    engine = await situations.well()
    source = await SOURCES[name](engine, link)
    assert str(source.status) == status
    followed = OPERATIONS[name][2]["responses"][status]["links"][link]
    method, path, target = OPERATIONS[followed["operationId"]]
    for parameter, expression in followed.get("parameters", {}).items():
        path = path.replace(f"{{{parameter}}}", quote(str(value_of(expression, source.json)), safe=""))
    assert "{" not in path, "the link leaves a parameter open"
    body = None
    if "requestBody" in target:
        body = json.dumps(filled(followed.get("requestBody", {}), source.json)).encode()
    answer = await engine.call(method, path, body)
    assert answer.status < 300, answer


async def test_the_links_are_seen() -> None:
    assert len(LINKS) >= 15
    assert {name for name, _, _ in LINKS} == set(SOURCES)
