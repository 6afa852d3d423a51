"""Contract 1 rows 5 to 9, 1.4 to 1.6, 5.1 and 5.8: starting, finding, listing and cancelling instances."""

from __future__ import annotations

import asyncio
import re
import secrets
from datetime import UTC, datetime
from typing import Any

import pytest
from engine_client import EngineClient
from engine_on_trial import EngineOnTrial
from workflow import END, decision, service, timer, user_task, wait

pytestmark = pytest.mark.asyncio(loop_scope="session")

ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z")


# -- start ----------------------------------------------------------------------------------------


async def test_a_start_is_answered_with_the_instance(engine: EngineClient) -> None:
    workflow = await engine.define(service("a"), END)
    instance = await workflow.start(business_key="order 7", x=1)
    assert ULID.fullmatch(instance["id"])
    assert TIME.fullmatch(instance["startedAt"])
    age_s = (datetime.now(UTC) - datetime.fromisoformat(instance["startedAt"])).total_seconds()
    assert 0 <= age_s < 30
    assert instance == {
        "id": instance["id"],
        "definitionId": workflow.id,
        "definitionVersion": 1,
        "status": "ACTIVE",
        "currentStepIds": ["a"],
        "variables": {"x": 1},
        "startedAt": instance["startedAt"],
        "businessKey": "order 7",
    }
    assert await engine.instance(instance) == instance


@pytest.mark.parametrize(
    "body",
    [{}, {"variables": None}, {"variables": {}, "businessKey": "", "definitionVersion": 0, "unknown": [1]},
     {"definitionVersion": -5, "businessKey": None}],
)  # fmt: skip
async def test_what_is_left_out_has_its_default(engine: EngineClient, body: dict[str, Any]) -> None:
    workflow = await engine.define(service("a"), END)
    answer = await engine.post("/v1/instances", {"definitionId": workflow.id, **body})
    assert answer.status == 201
    assert answer.json["variables"] == {}
    assert "businessKey" not in answer.json
    assert answer.json["definitionVersion"] == 1


async def test_a_start_runs_on_until_it_waits_or_ends(engine: EngineClient) -> None:
    waiting = await (await engine.define(decision("d", {"true": "w"}), wait("w"), END)).start()
    assert (waiting["status"], waiting["currentStepIds"]) == ("WAITING", ["w"])
    ended = await (await engine.define(END)).start(x=1)
    assert (ended["status"], ended["currentStepIds"]) == ("COMPLETED", [])
    assert TIME.fullmatch(ended["completedAt"])
    assert await engine.instance(ended) == ended
    failed = await (await engine.define(decision("d", {"x > 1": "end"}), END)).start(x=1)
    assert (failed["status"], failed["currentStepIds"]) == ("FAILED", [])
    assert "DecisionNoBranchMatched" in failed["failureReason"]
    assert TIME.fullmatch(failed["completedAt"])
    assert await engine.instance(failed) == failed


async def test_an_instance_keeps_the_version_it_started_with(engine: EngineClient) -> None:
    old = await engine.define(service("a", "b"), service("b"), END)
    instance = await old.start()
    new = await engine.define(service("a", "c"), service("c"), END, id=old.id)
    assert new.version == 2
    pinned = await engine.post("/v1/instances", {"definitionId": old.id, "definitionVersion": 1})
    assert pinned.json["definitionVersion"] == 1
    for _ in range(2):
        await old.work_off("a")
    for each in (instance, pinned.json):
        found = await engine.instance(each)
        assert (found["definitionVersion"], found["currentStepIds"]) == (1, ["b"])


async def test_starts_are_not_idempotent(engine: EngineClient) -> None:
    workflow = await engine.define(service("a"), END)
    started = await asyncio.gather(*(workflow.start(business_key="same") for _ in range(8)))
    assert len({each["id"] for each in started}) == 8


@pytest.mark.parametrize(
    ("body", "status", "code", "gist"),
    [
        ({}, 400, "bad-request", "definitionId is required"),
        ({"definitionId": ""}, 400, "bad-request", "definitionId is required"),
        ({"DefinitionId": "d"}, 400, "bad-request", "definitionId is required"),
        ({"definitionId": 7}, 400, "bad-request", "invalid request body:"),
        ({"definitionId": "d", "definitionVersion": "1"}, 400, "bad-request", "invalid request body:"),
        ({"definitionId": "d", "variables": [1]}, 400, "bad-request", "variables"),
        ({"definitionId": "d", "variables": "x"}, 400, "bad-request", "variables"),
        ([], 400, "bad-request", "invalid request body:"),
        ({"definitionId": "ghost"}, 404, "not-found", "definition ghost not found"),
        ({"definitionId": "ghost", "definitionVersion": 3}, 404, "not-found", "definition ghost version 3"),
    ],
)
async def test_a_bad_start_is_refused(
    engine: EngineClient, body: object, status: int, code: str, gist: str
) -> None:
    assert gist in (await engine.post("/v1/instances", body)).refused(status, code)


async def test_variables_come_back_as_they_were_sent(engine: EngineClient) -> None:
    workflow = await engine.define(service("a"), END)
    sent: dict[str, Any] = {
        "whole": 3,
        "real": 2.5,
        "large": 9_007_199_254_740_993,
        "nothing": None,
        "text": 'ü "quoted" \\ \n \u2028 \U0001f600',
        "deep": {"list": [[], {}, [{"a": False}]]},
        "": "an empty name",
    }
    instance = await workflow.start(**sent)
    assert instance["variables"] == sent
    assert await engine.variables(instance) == sent
    (job,) = await workflow.lease("a")
    assert job["variables"] == sent


async def test_whole_numbers_have_no_fraction(engine: EngineClient) -> None:
    workflow = await engine.define(service("a"), END)
    body = b'{"definitionId": "%b", "variables": {"n": 3.0, "m": 3}}' % workflow.id.encode()
    instance = (await engine.call("POST", "/v1/instances", body)).json
    answer = await engine.get(f"/v1/instances/{instance['id']}")
    assert b'"m":3' in answer.body.replace(b" ", b"")
    assert answer.json["variables"] == {"n": 3, "m": 3}


# -- find and list --------------------------------------------------------------------------------


async def test_an_unknown_instance_is_not_found(engine: EngineClient) -> None:
    for path in ("ghost", "ghost/history", "g%68ost"):
        assert "ghost" in (await engine.get(f"/v1/instances/{path}")).refused(404, "not-found")


async def test_the_list_is_filtered_and_newest_first(engine: EngineClient) -> None:
    one, two = await engine.define(service("a"), END), await engine.define(wait("a"), END)
    key = secrets.token_hex(6)
    started = [await workflow.start(business_key=key) for workflow in (one, two, one)]
    await engine.cancel(started[2])

    async def ids(query: str) -> list[str]:
        answer = await engine.get(f"/v1/instances?{query}")
        assert answer.json["total"] == len(answer.json["items"])
        return [item["id"] for item in answer.json["items"]]

    first, second, third = (each["id"] for each in started)
    assert await ids(f"businessKey={key}") == [third, second, first]
    assert await ids(f"definitionId={one.id}") == [third, first]
    assert await ids(f"definitionId={one.id}&status=CANCELLED") == [third]
    assert await ids(f"businessKey={key}&status=WAITING") == [second]
    assert await ids(f"businessKey={key}&status=cancelled") == []
    assert await ids(f"businessKey={key}&status=NO_SUCH") == []
    assert await ids(f"businessKey={key[:-1]}") == []
    shown = (await engine.get(f"/v1/instances?businessKey={key}&status=CANCELLED")).json["items"]
    assert shown == [await engine.instance(started[2])]


async def test_all_versions_of_a_definition_are_listed(engine: EngineClient) -> None:
    old = await engine.define(service("a"), END)
    await old.start()
    await (await engine.define(END, id=old.id)).start()
    items = (await engine.get(f"/v1/instances?definitionId={old.id}")).json["items"]
    assert [item["definitionVersion"] for item in items] == [2, 1]


async def test_pages_and_their_clamps(engine: EngineClient) -> None:
    workflow = await engine.define(END)
    started = await asyncio.gather(*(workflow.start(n=n) for n in range(205)))

    async def page(query: str) -> dict[str, Any]:
        found: dict[str, Any] = (await engine.get(f"/v1/instances?definitionId={workflow.id}&{query}")).json
        return found

    seen: list[str] = []
    for number in range(5):
        body = await page(f"page={number}&pageSize=50")
        assert (body["total"], body["page"], body["pageSize"]) == (205, number, 50)
        seen += [item["id"] for item in body["items"]]
    assert len(seen) == 205
    assert set(seen) == {each["id"] for each in started}
    times = [(item["startedAt"], item["id"]) for item in (await page("pageSize=200"))["items"]]
    assert times == sorted(times, reverse=True)
    for query, size, number, count in (
        ("pageSize=5000", 200, 0, 200),
        ("pageSize=0&page=-4", 20, 0, 20),
        ("pageSize=many&page=some", 20, 0, 20),
        ("pageSize=200&page=1", 200, 1, 5),
        ("page=999999999999", 20, 2**31 - 1, 0),
    ):
        body = await page(query)
        assert (body["pageSize"], body["total"], len(body["items"])) == (size, 205, count), query
        assert body["page"] <= number


async def test_an_empty_list_is_an_empty_array(engine: EngineClient) -> None:
    answer = await engine.get("/v1/instances?definitionId=ghost")
    assert answer.json == {"items": [], "total": 0, "page": 0, "pageSize": 20}


# -- cancel ---------------------------------------------------------------------------------------


async def test_a_cancel_is_answered_with_the_instance(engine: EngineClient) -> None:
    workflow = await engine.define(service("a"), END)
    instance = await workflow.start(business_key="k", x=1)
    answer = await engine.post(f"/v1/instances/{instance['id']}/cancel", {"reason": "customer left"})
    assert answer.status == 200
    cancelled = answer.json
    assert TIME.fullmatch(cancelled["completedAt"])
    assert cancelled == instance | {
        "status": "CANCELLED",
        "currentStepIds": [],
        "failureReason": "customer left",
        "completedAt": cancelled["completedAt"],
    }
    assert await engine.instance(instance) == cancelled


async def test_a_cancel_closes_everything_that_was_open(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    alarm = [timer("PT1H", "end", interrupting=True)]
    workflow = await engine.define(
        {"id": "g", "name": "g", "type": "PARALLEL_GATEWAY", "parallelNextSteps": ["a", "b", "c"], "joinStep": "j"},
        service("a", "j", boundaryEvents=alarm),
        user_task("b", "j"),
        wait("c", "j"),
        {"id": "j", "name": "j", "type": "JOIN_GATEWAY", "nextStep": "end"},
        END,
    )  # fmt: skip
    instance = await workflow.start()
    (job,) = await workflow.lease("a")
    await engine.cancel(instance)
    steps = {each["stepId"]: each for each in await engine.history(instance)}
    for name in ("a", "b", "c"):
        assert (steps[name]["status"], steps[name]["failureReason"]) == ("FAILED", "instance cancelled")
        assert steps[name]["endedAt"]
    assert steps["g"]["status"] == "COMPLETED"
    (open_rows,) = await on_trial.rows(
        """SELECT (SELECT array_agg(status) FROM job WHERE instance_id = %s) AS jobs,
                  (SELECT array_agg(status) FROM user_task WHERE instance_id = %s) AS tasks,
                  (SELECT count(*) FROM boundary_event_schedule WHERE instance_id = %s AND NOT fired) AS timers""",
        *[instance["id"]] * 3,
    )
    assert open_rows == {"jobs": ["CANCELLED"], "tasks": ["CANCELLED"], "timers": 0}
    await engine.complete(job, x=1)
    assert (await engine.user_task(instance, "b")).status == 409
    assert (await engine.signal(instance, "c")).status == 409
    after = await engine.instance(instance)
    assert (after["status"], after["variables"]) == ("CANCELLED", {})


async def test_a_cancelled_instance_has_no_claimable_jobs(engine: EngineClient) -> None:
    workflow = await engine.define(service("a"), END)
    kept, gone = await workflow.start(), await workflow.start()
    await engine.cancel(gone)
    assert [job["instanceId"] for job in await workflow.lease("a")] == [kept["id"]]


async def test_a_cancel_may_come_without_a_reason(engine: EngineClient) -> None:
    workflow = await engine.define(wait("a"), END)
    for body in (None, {}, {"reason": ""}, {"reason": None}):
        instance = await workflow.start()
        answer = await engine.post(f"/v1/instances/{instance['id']}/cancel", body)
        assert (answer.status, answer.json["status"]) == (200, "CANCELLED")


async def test_only_what_runs_can_be_cancelled(engine: EngineClient) -> None:
    workflow = await engine.define(wait("a"), END)
    instance = await workflow.start()
    before = await engine.cancel(instance, "once")
    again = await engine.post(f"/v1/instances/{instance['id']}/cancel", {"reason": "twice"})
    assert "CANCELLED" in again.refused(409, "conflict")
    assert await engine.instance(instance) == before
    done = await (await engine.define(END)).start()
    (await engine.post(f"/v1/instances/{done['id']}/cancel", {})).refused(409, "conflict")
    (await engine.post("/v1/instances/ghost/cancel", {})).refused(404, "not-found")
