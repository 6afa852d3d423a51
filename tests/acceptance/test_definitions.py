"""Contract 1 rows 1 to 4, 1.5 and 3.6: what is uploaded, how it is numbered, and how it is found again."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from typing import Any

import pytest
from engine_client import Answer, EngineClient
from engine_on_trial import EngineOnTrial
from workflow import (
    END,
    decision,
    document,
    fork,
    join,
    service,
    step,
    timer,
    transformation,
    user_task,
    wait,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z")


def fresh_id() -> str:
    return f"d-{secrets.token_hex(6)}"


async def upload(engine: EngineClient, value: object) -> Answer:
    return await engine.post("/v1/definitions", value)


# -- numbering ------------------------------------------------------------------------------------


async def test_an_upload_is_answered_with_its_summary(engine: EngineClient) -> None:
    id = fresh_id()
    answer = await upload(engine, document(id, END, description="what it is for"))
    assert answer.status == 201
    summary = answer.json
    assert TIME.fullmatch(summary.pop("uploadedAt"))
    assert summary == {"id": id, "version": 1, "name": id, "description": "what it is for"}


async def test_the_same_content_again_is_the_same_version(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    """As JSON values: neither key order nor white space nor a version number makes a difference."""
    id = fresh_id()
    first = (await upload(engine, document(id, service("a"), END))).json
    again = dict(reversed(document(id, service("a"), END).items())) | {"version": 77}
    text = json.dumps(again, indent=3).encode()
    second = await engine.call("POST", "/v1/definitions", text)
    assert second.status == 201
    assert second.json == first
    (stored,) = await on_trial.rows("SELECT count(*) FROM workflow_definition WHERE id = %s", id)
    assert stored["count"] == 1


async def test_other_content_is_the_next_version_and_an_older_one_keeps_its_number(
    engine: EngineClient,
) -> None:
    id = fresh_id()
    one, two = document(id, END), document(id, END, description="two")
    first = (await upload(engine, one)).json
    second = (await upload(engine, two)).json
    assert (first["version"], second["version"]) == (1, 2)
    assert (await upload(engine, one)).json == first
    assert (await engine.get(f"/v1/definitions/{id}")).json["version"] == 2
    started = await engine.post("/v1/instances", {"definitionId": id})
    assert started.json["definitionVersion"] == 2


async def test_uploads_of_one_id_at_once_are_all_accepted(engine: EngineClient) -> None:
    id = fresh_id()
    answers = await asyncio.gather(
        *(upload(engine, document(id, END, description=f"d{n % 6}")) for n in range(12))
    )
    assert {answer.status for answer in answers} == {201}
    assert sorted(answer.json["version"] for answer in answers) == sorted([*range(1, 7)] * 2)


# -- reading back ---------------------------------------------------------------------------------

RICH = (
    service("a", "b", retryCount=2, delegateClass="com.example.A", description=""),
    user_task("b", "c", jobType="label", boundaryEvents=[timer("PT1H", "e", interrupting=False)]),
    decision("c", {"z > 1": "d", "a > 1": "e", "true": "w"}),
    transformation("d", {"z": 1, "a": {"deep": [None, "${x}"]}}, "e"),
    step("e", "WAIT", "end", boundaryEvents=[{"type": "TIMER", "duration": "P1D", "targetStepId": "end"}]),
    wait("w"),
    END,
)


async def test_a_definition_comes_back_as_it_was_sent(engine: EngineClient) -> None:
    id = fresh_id()
    metadata = {"owner": {"team": "x", "list": [1, 2.5, None, {"unknown": True}]}, "version": 9}
    sent = document(id, *RICH, metadata=metadata, nextWorkflowId="", autoStartNextWorkflow=False)
    await upload(engine, sent)
    for path in (f"/v1/definitions/{id}", f"/v1/definitions/{id}/versions/1"):
        answer = await engine.get(path)
        assert answer.status == 200
        want: dict[str, Any] = {key: sent[key] for key in ("id", "name", "steps", "metadata")} | {
            "version": 1
        }
        want["steps"] = [dict(each) for each in want["steps"]]
        del want["steps"][0]["description"]
        want["steps"][4]["boundaryEvents"] = [timer("P1D", "end", interrupting=False)]
        assert answer.json == want
        branches = answer.body.decode()
        assert branches.index("z > 1") < branches.index("a > 1") < branches.index('"true"')


async def test_every_version_stays_readable(engine: EngineClient) -> None:
    id = fresh_id()
    for text in ("one", "two"):
        await upload(engine, document(id, END, description=text))
    for version, text in ((1, "one"), (2, "two")):
        answer = (await engine.get(f"/v1/definitions/{id}/versions/{version}")).json
        assert (answer["version"], answer["description"]) == (version, text)


async def test_what_is_not_there_is_not_found(engine: EngineClient) -> None:
    workflow = await engine.define(END)
    for path in (
        "/v1/definitions/ghost",
        "/v1/definitions/ghost/versions/1",
        *(f"/v1/definitions/{workflow.id}/versions/{n}" for n in (0, -1, 2, 99_999_999_999)),
    ):
        assert "not found" in (await engine.get(path)).refused(404, "not-found") or "version" in path
    text = (await engine.get(f"/v1/definitions/{workflow.id}/versions/one")).refused(400, "bad-request")
    assert "version must be an integer, got 'one'" in text


@pytest.mark.parametrize("spelling", ["LOS::{}", "LOS%3A%3A{}", "%4C%4f%53::{}"])
async def test_an_id_may_be_percent_encoded_or_literal(engine: EngineClient, spelling: str) -> None:
    tail = secrets.token_hex(6)
    id = f"LOS::{tail}"
    await engine.define(END, id=id)
    path = f"/v1/definitions/{spelling.format(tail)}"
    assert (await engine.get(path)).json["id"] == id
    assert (await engine.get(f"{path}/versions/1")).json["id"] == id
    listed = await engine.get(f"/v1/instances?definitionId={spelling.format(tail)}")
    assert listed.json["items"] == []


# -- refusals -------------------------------------------------------------------------------------


async def test_five_faults_are_named_at_once(engine: EngineClient, on_trial: EngineOnTrial) -> None:
    id = fresh_id()
    faulty = document(
        id,
        {"id": "a", "name": "a", "type": "SERVICE_TASK", "nextStep": "nowhere"},
        {"id": "b", "name": "", "type": "WAIT"},
        {"id": "c", "name": "c", "type": "TELEPORT"},
        END,
    )
    text = (await upload(engine, faulty)).refused(400, "bad-request")
    first, *rules = text.splitlines()
    assert first == "validation error:"
    for rule in (
        "step b: name is required",
        'step c: unsupported type "TELEPORT"',
        "step a: jobType is required",
        "step b: nextStep is required",
        "step a: nextStep references unknown step nowhere",
        "no END step is reachable",
    ):
        assert any(rule in each for each in rules), (rule, rules)
    assert await on_trial.rows("SELECT 1 FROM workflow_definition WHERE id = %s", id) == []


TO_END = step("x", "SERVICE_TASK", "end", jobType="x")
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no id": (document("", END), "id is required"),
    "a long id": (document("x" * 257, END), "id too long: 257"),
    "a strange id": (document("a b", END), "id must match"),
    "no name": (document("d", END, name=""), "name is required"),
    "no steps": (document("d") | {"steps": []}, "steps must not be empty"),
    "a chain to nowhere": (document("d", END, autoStartNextWorkflow=True), "nextWorkflowId is required"),
    "a step without id": (document("d", END | {"id": ""}), "step[0] id is required"),
    "two of one id": (document("d", service("end"), END), "duplicate step id end"),
    "a step without name": (document("d", END | {"name": ""}), "step end: name is required"),
    "a type unknown": (document("d", END | {"type": "Q"}), "step end: unsupported type"),
    "no job type": (document("d", TO_END | {"jobType": ""}, END), "step x: jobType is required"),
    "no branches": (document("d", decision("x", {}), END), "conditionalNextSteps must not be empty"),
    "a branch to nowhere": (document("d", decision("x", {"true": "q"}), END), "references unknown step q"),
    "a task's branch to nowhere": (
        document("d", service("x", conditionalNextSteps={"true": "q"}), END),
        "references unknown step q",
    ),
    "nothing to transform": (document("d", transformation("x", {}), END), "transformations must not be empty"),
    "a transformation's end": (
        document("d", step("x", "TRANSFORMATION", transformations={"a": 1}), END),
        "step x: nextStep is required",
    ),
    "a wait's end": (document("d", wait("x", None), END), "step x: nextStep is required"),
    "a join's end": (document("d", step("x", "JOIN_GATEWAY"), END), "step x: nextStep is required"),
    "one branch": (document("d", fork("x", ["j"], "j"), join("j"), END), "must have at least 2 entries"),
    "no join": (document("d", fork("x", ["a", "b"], ""), service("a"), service("b"), END), "joinStep is required"),
    "a join unknown": (
        document("d", fork("x", ["a", "b"], "q"), service("a"), service("b"), END),
        "joinStep references unknown step q",
    ),
    "a join that is none": (
        document("d", fork("x", ["a", "b"], "end"), service("a"), service("b"), END),
        "joinStep end must be a JOIN_GATEWAY",
    ),
    "a next step unknown": (document("d", service("x", "q"), END), "nextStep references unknown step q"),
    "a timer's target unknown": (
        document("d", wait("x", boundaryEvents=[timer("PT1S", "q", interrupting=True)]), END),
        "targetStepId references unknown step q",
    ),
    "a timer without target": (
        document("d", wait("x", boundaryEvents=[timer("PT1S", "", interrupting=True)]), END),
        "targetStepId is required",
    ),
    "an event unknown": (
        document("d", wait("x", boundaryEvents=[timer("PT1S", "end", interrupting=True) | {"type": "Q"}]), END),
        "unsupported type",
    ),
    "a step nobody reaches": (document("d", END, wait("x")), "step x is unreachable from the first step"),
    "no end": (document("d", wait("x", "x")), "no END step is reachable"),
    "negative retries": (document("d", service("x", retryCount=-1), END), "retryCount must be 0"),
    **{
        f"the duration {text!r}": (
            document("d", wait("x", boundaryEvents=[timer(text, "end", interrupting=True)]), END),
            "duration",
        )
        for text in ("", "PT0S", "P1Y", "P1M", "1H", "PT", "PT-1S", "soon")
    },
}  # fmt: skip


@pytest.mark.parametrize(("value", "gist"), REFUSED.values(), ids=REFUSED.keys())
async def test_each_rule_is_a_refusal_of_its_own(engine: EngineClient, value: object, gist: str) -> None:
    text = (await upload(engine, value)).refused(400, "bad-request")
    assert text.startswith("validation error:\n")
    assert gist in text


@pytest.mark.parametrize(
    ("body", "gist"),
    [
        (b"", "parse error:"),
        (b"{", "parse error:"),
        (b"[]", "expected an object"),
        (b'{"id": 1}', "id: expected a string"),
        (b'{"id": "d", "Name": "x"}', 'unknown field "Name"'),
        (b'{"steps": [{"id": "a", "boundaryEvents": [{"every": 1}]}]}', 'unknown field "every"'),
        (b'{"steps": [{"retryCount": "3"}]}', "retryCount: expected an integer"),
        (b'{"id": "\xff"}', "not UTF-8"),
    ],
)
async def test_what_cannot_be_read_says_where(engine: EngineClient, body: bytes, gist: str) -> None:
    text = (await engine.call("POST", "/v1/definitions", body)).refused(400, "bad-request")
    assert text.startswith("parse error:")
    assert gist in text


@pytest.mark.parametrize("kind", ["application/xml", "text/xml; charset=utf-8", "Application/XML"])
async def test_xml_is_an_unsupported_format(engine: EngineClient, kind: str) -> None:
    answer = await engine.call("POST", "/v1/definitions", b"<bpmn/>", {"Content-Type": kind})
    assert "application/json" in answer.refused(415, "unsupported-format")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/octet-stream", "application/json; charset=utf-8"]
)
async def test_any_other_content_type_is_read_as_json(engine: EngineClient, kind: str) -> None:
    body = json.dumps(document(fresh_id(), END)).encode()
    assert (await engine.call("POST", "/v1/definitions", body, {"Content-Type": kind})).status == 201


# -- the list -------------------------------------------------------------------------------------


async def listed(engine: EngineClient, query: str) -> tuple[list[str], dict[str, Any]]:
    answer = await engine.get(f"/v1/definitions?{query}")
    assert answer.status == 200
    page = answer.json
    return [item["id"] for item in page["items"]], page


async def test_the_list_shows_the_newest_of_each_in_order(engine: EngineClient) -> None:
    mark = secrets.token_hex(6)
    for id in (f"{mark}-b", f"{mark}-a", f"{mark}-a"):
        await upload(engine, document(id, END, description=secrets.token_hex(2)))
    ids, page = await listed(engine, f"keyword={mark}&pageSize=100")
    assert ids == [f"{mark}-a", f"{mark}-b"]
    assert (page["total"], page["page"], page["pageSize"]) == (2, 0, 100)
    assert [item["version"] for item in page["items"]] == [2, 1]
    assert all(TIME.fullmatch(item["uploadedAt"]) and item["name"] == item["id"] for item in page["items"])


async def test_the_keyword_is_part_of_id_or_name_in_any_case(engine: EngineClient) -> None:
    mark = secrets.token_hex(6)
    await upload(engine, document(f"{mark}-one", END, name="Loan 100%_sure"))
    await upload(engine, document(f"{mark}-TWO", END, name=f"the {mark} loan"))
    await upload(engine, document(fresh_id(), END, name=f"by name {mark}"))
    assert len((await listed(engine, f"keyword={mark.upper()}"))[0]) == 3
    assert (await listed(engine, f"keyword={mark}-two"))[0] == [f"{mark}-TWO"]
    assert f"{mark}-one" in (await listed(engine, "keyword=100%25_S"))[0]
    for wildcard in ("%25", "_"):
        assert (await listed(engine, f"keyword={mark}{wildcard}one"))[0] == []


async def test_pages_and_their_clamps(engine: EngineClient) -> None:
    mark = secrets.token_hex(6)
    wanted = [f"{mark}-{n}" for n in range(5)]
    for id in wanted:
        await upload(engine, document(id, END))
    assert [(await listed(engine, f"keyword={mark}&pageSize=2&page={n}"))[0] for n in range(4)] == [
        wanted[:2],
        wanted[2:4],
        wanted[4:],
        [],
    ]
    past = (await listed(engine, f"keyword={mark}&pageSize=2&page=9"))[1]
    assert (past["items"], past["total"], past["page"]) == ([], 5, 9)
    for query, size, page in (
        ("pageSize=999", 200, 0),
        ("pageSize=0", 20, 0),
        ("pageSize=-3&page=-1", 20, 0),
        ("pageSize=x&page=y", 20, 0),
        ("", 20, 0),
    ):
        found = (await listed(engine, f"keyword={mark}&{query}"))[1]
        assert (found["pageSize"], found["page"], found["total"]) == (size, page, 5)


async def test_an_empty_list_is_an_empty_array(engine: EngineClient) -> None:
    _, page = await listed(engine, "keyword=nobody-has-this")
    assert page == {"items": [], "total": 0, "page": 0, "pageSize": 20}
