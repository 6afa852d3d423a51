"""The OpenAPI 3.1 document of the REST API of contract 1, for `/openapi.json` and for `docs/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from windlass.api.call import Limits
from windlass.api.openapi import definitions, instances, jobs, node, parked_steps, responses, workers
from windlass.api.openapi.operation import Link, Operation
from windlass.api.openapi.shape import ref
from windlass.auth import calls
from windlass.auth.principal import Role
from windlass.config import Settings

ABOUT = """\
Bodies are JSON in UTF-8, whatever the Content-Type says, and end with a newline. Field names are case-sensitive, and
unknown request fields are ignored, except in a definition. Times are RFC 3339 in UTC. Whole numbers are written
without a fraction.

Every error with a body has the schema Error; `error` is a stable code. A path that is not listed here is answered 404
in plain text, a wrong method 405 with an empty body and an Allow header. Every GET also answers HEAD. A CORS preflight
is answered 200 on any path; who may read answers from a web page is a setting, by default any origin where there is no
authentication.

A W3C `traceparent` header is copied to the log lines of its call; that of a start, with its `tracestate`, is handed
on with the instance's jobs. There is no authentication unless the node has a
tokens file; without one, do not expose the port."""

TAGS: Mapping[str, str] = {
    "definitions": "The workflows and their versions.",
    "instances": "Runs of a definition.",
    "jobs": "Work for workers.",
    "parked steps": "Results from people and other systems.",
    "workers": "Who does the work: optional, and shown by /cluster/info.",
    "node": "The state of this replica.",
}


OPERATIONS: Sequence[Operation] = (
    *definitions.OPERATIONS,
    *instances.OPERATIONS,
    *jobs.OPERATIONS,
    *parked_steps.OPERATIONS,
    *workers.OPERATIONS,
    *node.OPERATIONS,
)


def document(settings: Settings, limits: Limits) -> dict[str, Any]:
    """The whole document, with the settings and the server's limits in force."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Windlass",
            "summary": "A minimal workflow engine on PostgreSQL",
            "description": ABOUT,
            "version": version("windlass"),
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        # With authentication off a token is not looked at.
        "security": [{"token": []}] if settings.access.is_on else [{}, {"token": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "As `windlass token new` prints it, or a JWT of the issuer; its roles decide which "
                    "calls it may make.",
                }
            },
            "schemas": {
                **definitions.SCHEMAS,
                **instances.SCHEMAS,
                **jobs.schemas(settings),
                **parked_steps.SCHEMAS,
                **workers.SCHEMAS,
                **node.SCHEMAS,
                **responses.SCHEMAS,
            },
            "responses": {
                responses.NAMES[status]: response for status, response in responses.shared(limits).items()
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
    }
    if operation.description:
        made["description"] = operation.description
    if parameters := [
        *(_parameter(name, "path", schema) for name, schema in operation.path_schemas.items()),
        *(_parameter(name, "query", schema) for name, schema in operation.query.items()),
    ]:
        made["parameters"] = parameters
    if operation.body is not None:
        made["requestBody"] = _body(operation, operation.body)
    if _is_open(operation):
        made["security"] = []
    made["responses"] = _responses(operation)
    return made


def _parameter(name: str, where: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: value for key, value in schema.items() if key != "description"}
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": schema["description"],
        "schema": inner,
    }


def _body(operation: Operation, schema: str) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": ref(schema)}
    if operation.body_examples:
        content["examples"] = {name: {"value": value} for name, value in operation.body_examples.items()}
    return {"required": operation.body_required, "content": {"application/json": content}}


def _responses(operation: Operation) -> dict[str, Any]:
    made = {operation.status: _success(operation)}
    if operation.status_of_repeat is not None:
        made[operation.status_of_repeat] = _success(replace(operation, links={}))
    for status in sorted({*_gate(operation), *responses.EARLY, *operation.refused, *operation.fails}):
        made[status] = _refusal(operation, status)
    return {str(status): response for status, response in made.items()}


def _gate(operation: Operation) -> tuple[int, ...]:
    """How it can be refused for its caller: what any role may call is never forbidden."""
    roles = _roles(operation)
    if roles is None:
        return ()
    return tuple(status for status in responses.GATE if status != 403 or roles != calls.EVERY_ROLE)


def _is_open(operation: Operation) -> bool:
    return _roles(operation) is None


def _roles(operation: Operation) -> frozenset[Role] | None:
    return calls.of_route(operation.method.upper(), operation.path).roles


def _refusal(operation: Operation, status: int) -> dict[str, Any]:
    if status not in operation.refused:
        return {"$ref": f"#/components/responses/{responses.NAMES[status]}"}
    made = responses.refusal(status, operation.refused[status])
    if status in operation.refused_answers:
        content = made["content"]["application/json"]
        content["schema"] = {"anyOf": [ref(operation.refused_answers[status]), content["schema"]]}
    return made


def _success(operation: Operation) -> dict[str, Any]:
    if operation.answer is None:
        made: dict[str, Any] = {"description": operation.answer_description}
    else:
        made = responses.answer(ref(operation.answer), operation.answer_description)
    if operation.links:
        made["links"] = {name: _link(link) for name, link in operation.links.items()}
    return made


def _link(link: Link) -> dict[str, Any]:
    target, parameters, body = link
    made: dict[str, Any] = {"operationId": target}
    if parameters:
        made["parameters"] = parameters
    if body is not None:
        made["requestBody"] = body
    return made
