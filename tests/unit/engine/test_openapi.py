"""The OpenAPI document against the code it speaks of: routes, fields, statuses, limits; and the pages made from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from door import opened
from jsonschema import Draft202012Validator
from rest_page import COMMAND, made

from windlass import errors, wire
from windlass.api import bodies, bounds, faults
from windlass.api.call import Limits
from windlass.api.openapi.definitions import STEP_NEEDS
from windlass.api.openapi.document import document
from windlass.api.openapi.responses import EARLY
from windlass.api.rest import RestApp
from windlass.api.router import Router
from windlass.config import Settings
from windlass.definition.document import _Form, _Problems, parse_upload
from windlass.definition.model import StepType
from windlass.memory import LIMIT_BYTES_MIN, Budget
from windlass.states import InstanceStatus
from windlass.telemetry.log import Log
from windlass.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[3]
SETTINGS = Settings(postgres_dsn="")
DOCUMENT = document(SETTINGS, Limits())
SCHEMAS: Mapping[str, Any] = DOCUMENT["components"]["schemas"]
SUCCESSES = {200, 201, 204}


def operations() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


# -- the pages


@pytest.mark.parametrize("path", made())
def test_the_pages_are_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == made()[path], f"run: {COMMAND}"


def test_it_is_openapi() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


# -- routes


def routes(monkeypatch: pytest.MonkeyPatch, *, serves_api: bool = True) -> set[tuple[str, str]]:
    added = set()
    add = Router.add

    def noted(self: Router, method: str, pattern: str, *rest: Any, **more: Any) -> None:
        added.add((method, pattern))
        add(self, method, pattern, *rest, **more)

    monkeypatch.setattr(Router, "add", noted)
    service: Any = None
    log: Any = Log("error", None)  # type: ignore[arg-type]
    RestApp(service, SETTINGS, Metrics("polling"), log, Budget(LIMIT_BYTES_MIN), serves_api=serves_api)
    return added


def test_every_route_is_in_the_document_and_the_reverse(monkeypatch: pytest.MonkeyPatch) -> None:
    assert routes(monkeypatch) == {(method, path) for method, path, _ in operations()}


def test_a_scheduler_has_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = routes(monkeypatch) - routes(monkeypatch, serves_api=False)
    assert left_out == {("GET", "/openapi.json")}


def test_every_operation_names_each_id_of_its_path() -> None:
    for _, path, operation in operations():
        named = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"]
        assert named == [part[1:-1] for part in path.split("/") if part.startswith("{")], path


def test_operation_ids_are_unique_and_links_lead_to_them() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(ids)) == len(ids)
    links = [
        link
        for _, _, operation in operations()
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]
    assert {link["operationId"] for link in links} <= set(ids)
    assert len(links) >= 15


# -- statuses


def statuses() -> set[int]:
    return {int(status) for _, _, operation in operations() for status in operation["responses"]}


def test_every_status_the_code_can_give_is_documented_and_the_reverse() -> None:
    given = {status for status, _ in faults.STATUSES.values()} | set(faults.EARLY_CODES) | {faults.OVERDUE[0]}
    assert statuses() == given | SUCCESSES


def test_any_call_can_be_refused_early() -> None:
    for method, path, operation in operations():
        assert {str(status) for status in EARLY} <= set(operation["responses"]), (method, path)


def test_each_refusal_has_the_code_of_its_status() -> None:
    for kind, (status, _) in faults.STATUSES.items():
        if kind is errors.PollDisabled:
            continue  # it has a body of its own
        answer = faults.answer(kind("x"))
        schemas = [
            response["content"]["application/json"]["schema"]
            for response in refusals(status)
            if "anyOf" not in response["content"]["application/json"]["schema"]
        ]
        assert schemas, status
        for schema in schemas:
            validator(schema).validate(json.loads(answer.body))
            assert not validator(schema).is_valid({"error": "other", "reason": "x", "message": "x"})
    for status in faults.EARLY_CODES:
        for response in refusals(status):
            validator(response["content"]["application/json"]["schema"]).validate(
                json.loads(faults.early(status, "x").body)
            )


def test_the_disabled_poll_has_its_body() -> None:
    body = json.loads(faults.answer(errors.PollDisabled("kafka_outbox")).body)
    (response,) = refusals(410)
    validator(response["content"]["application/json"]["schema"]).validate(body)
    assert set(body) == set(SCHEMAS["PollDisabled"]["properties"])


def refusals(status: int) -> list[Any]:
    found = [
        operation["responses"][str(status)]
        for _, _, operation in operations()
        if str(status) in operation["responses"]
    ]
    shared = DOCUMENT["components"]["responses"]
    return [shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in found]


# -- fields


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("StartInstance", bodies.StartBody),
        ("CancelInstance", bodies.CancelBody),
        ("PollJobs", bodies.PollBody),
        ("CompleteJob", bodies.CompleteBody),
        ("FailJob", bodies.FailBody),
        ("CompleteUserTask", bodies.UserTaskBody),
        ("DefinitionSummary", wire.DefinitionSummary),
        ("DefinitionPage", wire.DefinitionPage),
        ("Instance", wire.InstanceView),
        ("InstancePage", wire.InstancePage),
        ("Job", wire.JobView),
        ("Readiness", wire.Readiness),
        ("RegisterWorker", bodies.WorkerBody),
        ("Worker", wire.WorkerView),
        ("WorkerPage", wire.WorkerPage),
    ],
)
def test_a_schema_has_the_fields_of_the_code(name: str, kind: type[msgspec.Struct]) -> None:
    fields = msgspec.structs.fields(kind)
    assert set(SCHEMAS[name]["properties"]) == {field.encode_name for field in fields}
    if kind.__module__ == wire.__name__:
        assert set(SCHEMAS[name]["required"]) == {field.encode_name for field in fields if field.required}


def test_a_definition_has_the_fields_of_the_reader() -> None:
    form = _Form(_Problems())
    for name, fields in (
        ("Definition", form.document_fields),
        ("Step", form.step_fields),
        ("BoundaryEvent", form.boundary_event_fields),
    ):
        assert set(SCHEMAS[name]["properties"]) == set(fields)
        assert SCHEMAS[name]["additionalProperties"] is False


@pytest.mark.parametrize(("kind", "needs"), [(k, n) for k, needs in STEP_NEEDS.items() for n in needs])
def test_what_the_document_says_a_step_needs_it_needs(kind: StepType, needs: str) -> None:
    step = {
        "id": "s",
        "name": "s",
        "type": kind,
        "nextStep": "end",
        "jobType": "t",
        "conditionalNextSteps": {"true": "end"},
        "transformations": {"x": 1},
        "parallelNextSteps": ["end", "end"],
        "joinStep": "end",
    }
    assert validator(SCHEMAS["Step"]).is_valid(step)
    lacking = {key: value for key, value in step.items() if key != needs}
    assert not validator(SCHEMAS["Step"]).is_valid(lacking)
    document_lacking = {"id": "d", "name": "d", "steps": [lacking, {"id": "end", "name": "e", "type": "END"}]}
    with pytest.raises(errors.InvalidDefinition, match=needs):
        parse_upload(json.dumps(document_lacking).encode())


def test_a_nullable_field_of_a_body_is_one_in_the_document() -> None:
    for name, kind in (
        ("PollJobs", bodies.PollBody),
        ("FailJob", bodies.FailBody),
        ("RegisterWorker", bodies.WorkerBody),
    ):
        for field in msgspec.structs.fields(kind):
            optional = field.encode_name not in SCHEMAS[name].get("required", ())
            assert ("null" in SCHEMAS[name]["properties"][field.encode_name]["type"]) == optional


def test_the_statuses_of_an_instance_are_those_of_its_machine() -> None:
    assert SCHEMAS["Instance"]["properties"]["status"]["enum"] == list(InstanceStatus)


async def test_examples_are_taken_and_answers_conform() -> None:
    async with opened() as door:
        for method, path, operation in operations():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            examples = [it["value"] for it in content["examples"].values()] if content else [None]
            for example in examples:
                if content:
                    validator(content["schema"]).validate(example)
                target = path.replace("{version}", "3").replace("{", "").replace("}", "")
                if path.endswith(("/health/detailed", "/cluster/info")) or "definitions/{id}" in path:
                    continue  # the stub in the engine's place answers these in short
                status, _, body = await door.whole(method, target, example)
                response = operation["responses"][str(status)]
                assert status in SUCCESSES, (method, target, body)
                assert ("content" in response) == bool(body)
                if body:
                    schema = response["content"]["application/json"]["schema"]
                    validator(schema).validate(json.loads(body))


# -- limits


def test_every_bound_that_both_doors_keep_is_told() -> None:
    told = json.dumps(DOCUMENT)
    values = {name: value for name, value in vars(bounds).items() if re.search(r"_(MAX|MIN|DEFAULT)$", name)}
    assert len(values) >= 7
    for name, value in values.items():
        assert f"{value:g}" in told or str(value) in told, name


async def test_the_page_has_the_limits_of_a_node_without_variables() -> None:
    async with opened() as door:
        assert door.rest._server.limits == Limits()


async def test_a_node_serves_it_with_its_own_limits() -> None:
    async with opened(body_bytes_max=4321, long_poll_s_max=1.5, lease_s=7.0, request_timeout_s=9.0) as door:
        status, served = await door.call("GET", "/openapi.json")
        assert status == 200
        assert served == json.loads(json.dumps(document(door.settings, door.rest._server.limits)))
        for shown in ("4321 bytes", "at most 1500;", "zero: 7.", "longer than 9 s"):
            assert shown in json.dumps(served)
            assert shown not in json.dumps(DOCUMENT)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("StartInstance", {"definitionId": "d", "variables": None}, {"definitionId": ""}),
        ("PollJobs", {"workerId": "w", "jobTypes": ["t"], "waitMs": 0.5}, {"workerId": "w", "jobTypes": []}),
        ("PollJobs", {"workerId": "w", "jobTypes": ["t"]}, {"workerId": "\x00", "jobTypes": ["t"]}),
        ("FailJob", {"errorMessage": "\x00"}, {"retryable": "true"}),
        ("Signal", None, []),
        ("RegisterWorker", {"id": "w", "jobTypes": ["t"], "capacity": None}, {"id": "w", "jobTypes": []}),
        ("RegisterWorker", {"id": "w", "jobTypes": ["t"]}, {"id": "w", "jobTypes": ["t"], "capacity": 0}),
        ("Step", {"id": "s", "name": "s", "type": "END"}, {"id": "s", "name": "s", "type": "WAIT"}),
        ("Step", {"id": "s", "name": "s", "type": "END"}, {"id": "s", "name": "s", "type": "END", "x": 1}),
        (
            "BoundaryEvent",
            {"type": "TIMER", "duration": "P1DT2H", "targetStepId": "s"},
            {"type": "TIMER", "duration": "P1M", "targetStepId": "s"},
        ),
    ],
)
def test_a_schema_takes_the_good_and_refuses_the_bad(name: str, good: object, bad: object) -> None:
    schema = validator(SCHEMAS[name])
    assert schema.is_valid(good)
    assert not schema.is_valid(bad)
