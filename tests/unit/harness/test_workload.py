"""Worker processes are real and do what their config says; the models agree with the definitions."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from small_engine import SmallEngine
from small_grpc_engine import SmallGrpcEngine

from patience import eventually
from seatrial.client import TRANSPORTS, RecordingClient
from seatrial.cluster import ClusterError
from seatrial.history import Op, Recorder
from seatrial.workload import Handler, Start, WorkerSpec, Workload, together
from seatrial.workload.actor import Actor
from seatrial.workload.linear import linear, linear_starts
from seatrial.workload.loan import APPLICATION, DISBURSEMENT, loan, loan_starts, route
from seatrial.workload.pool import WorkerPool


def ops(folder: Path) -> list[Op]:
    return [
        msgspec.json.decode(line, type=Op) for line in (folder / "history.jsonl").read_bytes().splitlines()
    ]


@pytest.fixture
async def engine() -> AsyncIterator[SmallEngine]:
    async with SmallEngine() as engine:
        yield engine


@pytest.fixture
async def pool(tmp_path: Path, engine: SmallEngine) -> AsyncIterator[WorkerPool]:
    recorder = Recorder(tmp_path)
    pool = WorkerPool(tmp_path, [engine.replica], recorder, seed="1")
    yield pool
    await pool.close()
    recorder.close()


def pay(**changes: Any) -> WorkerSpec:
    return WorkerSpec(handlers={"pay": Handler(**changes)}, wait_s=0, idle_s=0.02)


async def test_a_worker_executes_and_completes_and_leaves_on_sigterm(
    pool: WorkerPool, engine: SmallEngine, tmp_path: Path
) -> None:
    for number in range(40):
        engine.add_job(f"j{number}", "pay", variables={"rate": number})
    pool.start(pay(echo={"score": "rate"}, think_max_s=0.01), 2)
    await eventually(lambda: len(engine.completed) == 40)
    await eventually(lambda: {body["workerId"] for _, _, body in engine.requests} == {"worker-0", "worker-1"})
    await pool.stop_all()

    assert [pool[index].process.exit_code for index in (0, 1)] == [0, 0]
    assert {job_id: body["variables"]["score"] for job_id, body in engine.completed} == {
        f"j{number}": number for number in range(40)
    }
    executed = [op for op in ops(tmp_path) if op.f == "execute"]
    assert sorted(op.value["job_id"] for op in executed) == sorted(f"j{number}" for number in range(40))
    assert {op.process for op in executed} <= {"worker-0", "worker-1"}
    assert {body["workerId"] for _, body in engine.completed} <= {"worker-0", "worker-1"}


async def test_a_pinned_worker_polls_at_one_replica_and_answers_at_another(tmp_path: Path) -> None:
    async with SmallEngine("replica-0") as one, SmallEngine("replica-1") as other:
        for number in range(20):
            one.add_job(f"j{number}", "pay")
            other.add_job(f"k{number}", "pay")
        recorder = Recorder(tmp_path)
        pool = WorkerPool(tmp_path, [one.replica, other.replica], recorder, seed="1")
        pinned = msgspec.structs.replace(pay(), polls_at="replica-0", answers_at="replica-1")
        pool.start(pinned)
        await eventually(lambda: len(other.completed) == 20)
        await pool.stop_all()
        await pool.close()
        recorder.close()
    assert sorted(job_id for job_id, _ in other.completed) == sorted(f"j{number}" for number in range(20))
    assert one.completed == []
    assert len(other.waiting) == 20, "nobody polled there"


@pytest.mark.parametrize("transport", ["grpc", "both"])
async def test_a_worker_works_over_grpc_and_over_both_alike(tmp_path: Path, transport: str) -> None:
    recorder = Recorder(tmp_path)
    ways = TRANSPORTS[transport]
    async with SmallGrpcEngine() as engine:
        pool = WorkerPool(tmp_path, [engine.replica], recorder, seed="1", transports=ways)
        for number in range(40):
            engine.add_job(f"j{number}", "pay", retries=number % 2, variables={"rate": number})
        pool.start(pay(echo={"score": "rate"}, fail_while_retries_above=0))
        await eventually(lambda: len(engine.completed) + len(engine.failed) >= 40)
        await pool.stop_all()
        assert pool[0].process.exit_code == 0
        await pool.close()
    recorder.close()

    assert {job_id: body["variables"]["score"] for job_id, body in engine.completed} == {
        f"j{number}": number for number in range(0, 40, 2)
    }
    assert all(body["leaseToken"] for _, body in engine.completed + engine.failed)
    calls = [op for op in ops(tmp_path) if op.type == "invoke"]
    assert {op.transport for op in calls} == set(ways)
    assert {op.transport for op in calls if op.f == "complete"} == set(ways)


async def test_a_job_in_hand_is_finished_before_leaving(pool: WorkerPool, engine: SmallEngine) -> None:
    engine.add_job("j1", "pay")
    pool.start(pay(think_min_s=0.5, think_max_s=0.5))
    await eventually(lambda: not engine.waiting)
    assert await pool.stop(0) == 0
    assert [job_id for job_id, _ in engine.completed] == ["j1"]


async def test_a_full_worker_asks_for_no_more_than_its_free_slots(
    pool: WorkerPool, engine: SmallEngine
) -> None:
    for number in range(5):
        engine.add_job(f"j{number}", "pay")
    spec = msgspec.structs.replace(pay(hold=True), slots=3)
    pool.start(spec)
    await eventually(lambda: len(engine.waiting) == 2)
    await pool.stop_all()
    assert len(engine.waiting) == 2
    assert engine.completed == []
    assert engine.failed == []


async def test_a_handler_fails_while_the_job_has_more_retries_than_its_threshold(
    pool: WorkerPool, engine: SmallEngine
) -> None:
    engine.add_job("fresh", "pay", retries=2)
    engine.add_job("retried", "pay", retries=1)
    pool.start(pay(fail_while_retries_above=1))
    await eventually(lambda: engine.completed and engine.failed)

    assert [job_id for job_id, _ in engine.completed] == ["retried"]
    assert [(job_id, body["retryable"]) for job_id, body in engine.failed] == [("fresh", True)]


async def test_a_completion_of_unknown_outcome_is_repeated_with_a_new_mark_and_a_fail_is_not(
    pool: WorkerPool, engine: SmallEngine
) -> None:
    async def lose_first(request: web.Request, body: Any) -> web.Response | None:
        asked = sum(path == request.path for _, path, _ in engine.requests)
        return web.Response(status=503) if asked == 1 and not request.path.endswith("poll") else None

    engine.script = lose_first
    engine.add_job("good", "pay")
    engine.add_job("bad", "pay", retries=1)
    pool.start(pay(fail_while_retries_above=0))
    await eventually(lambda: engine.completed)
    await pool.stop_all()

    sent = [body["variables"] for _, path, body in engine.requests if path == "/v1/jobs/good/complete"]
    assert len(sent) == 2
    assert sent[0] != sent[1]
    assert sum(path == "/v1/jobs/bad/fail" for _, path, _ in engine.requests) == 1


async def test_poison_kills_the_process_and_one_kept_alive_comes_back(
    pool: WorkerPool, engine: SmallEngine, tmp_path: Path
) -> None:
    engine.add_job("j1", "pay", variables={"poison": True})
    pool.start(pay(poison_variable="poison"), keep_alive=True)
    await eventually(lambda: pool[0].process_name == "worker-0.2" and pool[0].alive)
    engine.add_job("j2", "pay")
    await eventually(lambda: engine.completed)

    executed = [(op.process, op.value["job_id"]) for op in ops(tmp_path) if op.f == "execute"]
    assert executed == [("worker-0", "j1"), ("worker-0.2", "j2")]


async def test_a_paused_worker_is_stopped_and_goes_on_when_resumed_and_both_are_recorded(
    pool: WorkerPool, engine: SmallEngine, tmp_path: Path
) -> None:
    pool.start(pay())
    await eventually(lambda: engine.requests)
    await pool.pause(0)
    assert pool[0].process.paused
    engine.add_job("j1", "pay")
    await pool.resume(0)
    await eventually(lambda: engine.completed)

    faults = [
        (op.process, op.type, op.f, op.value.get("target"))
        for op in ops(tmp_path)
        if op.f.startswith(("pa", "he"))
    ]
    assert faults == [
        ("fault-worker-0", "invoke", "pause_worker", "worker-0"),
        ("fault-worker-0", "ok", "pause_worker", None),
        ("fault-worker-0", "invoke", "heal", "worker-0"),
        ("fault-worker-0", "ok", "heal", None),
    ]


async def test_a_killed_worker_is_gone_and_its_restart_is_a_new_process_of_the_same_worker(
    pool: WorkerPool, engine: SmallEngine
) -> None:
    engine.add_job("j1", "pay")
    pool.start(pay(hold=True))
    await eventually(lambda: not engine.waiting)
    await pool.kill(0)
    assert pool[0].process.exit_code == -signal.SIGKILL
    pool.restart(0)
    engine.add_job("j2", "pay")
    await eventually(lambda: not engine.waiting)
    assert (pool[0].name, pool[0].process_name, pool[0].worker_id) == ("worker-0", "worker-0.2", "worker-0")


async def test_a_worker_that_dies_of_a_bug_is_reported_with_its_log(
    pool: WorkerPool, engine: SmallEngine
) -> None:
    engine.add_job("j1", "pay")
    pool.start(pay(echo={"score": "not there"}))
    await eventually(lambda: not pool[0].alive)
    with pytest.raises(ClusterError, match=r"worker-0 exited with 1(.|\n)*KeyError: 'not there'"):
        await pool.stop_all()


async def test_people_answer_each_waiting_instance_once_and_leave_others_alone(
    engine: SmallEngine, tmp_path: Path
) -> None:
    def instance(number: int, steps: list[str], **variables: Any) -> dict[str, Any]:
        known = {"key": "run-1/x", "hesitates": False, "reviewer_says": "yes", "applicant": {"name": "ann"}}
        return {"id": f"i{number}", "currentStepIds": steps, "variables": {**known, **variables}}

    pages = {
        APPLICATION: [
            instance(1, ["manual-review"]),
            instance(2, ["manual-review"], hesitates=True),
            instance(3, ["manual-review"], key="run-2/x"),
        ],
        DISBURSEMENT: [instance(4, ["signature"])],
    }
    looks = 0

    async def serve(request: web.Request, body: Any) -> web.Response | None:
        nonlocal looks
        if request.method == "GET":
            looks += 1
            items = pages[request.query["definitionId"]]
            return web.json_response({"items": items, "total": len(items)})
        return web.Response(status=204)

    engine.script = serve
    recorder = Recorder(tmp_path)
    async with RecordingClient("client-0", [engine.replica], recorder, random.Random(1)) as client:
        people = asyncio.create_task(Actor(client, "run-1").run())
        await eventually(lambda: looks >= 6)
        people.cancel()
        await asyncio.gather(people, return_exceptions=True)
    recorder.close()

    assert [
        (path, body.get("variables", body)) for method, path, body in engine.requests if method == "POST"
    ] == [
        ("/v1/instances/i1/user-tasks/manual-review/complete", {"review": "yes"}),
        ("/v1/instances/i4/signals/signature", {"signed_by": "ann"}),
    ]


# The models, against an independent walk of the definitions themselves -------------------------------------------


def walk(workload: Workload, start: Start) -> Counter[str]:
    """Follows the definitions step by step, deciding what the loan's expressions decide in Python."""
    definitions = {definition["id"]: definition for definition in workload.definitions}
    variables, entered = dict(start.variables), Counter[str]()
    ways: Mapping[str, Callable[[], str]] = {
        "decide": lambda: (
            "approve"
            if variables["bureau_score"] >= 700 and variables["amount"] / variables["income"] <= 3
            else "decline"
            if variables["bureau_score"] < 500 or variables["amount"] / variables["income"] > 6
            else "manual-review"
        ),
        "review": lambda: "approve" if variables["reviewer_says"] == "yes" else "decline",
        "payable": lambda: "signature" if variables["outcome"] == "approved" else "closed",
    }

    def enter(definition: Mapping[str, Any], step_id: str) -> None:
        steps = {step["id"]: step for step in definition["steps"]}
        step, arrived = steps[step_id], entered[step_id] + 1
        entered[step_id] = arrived
        if step_id in ("approve", "decline"):
            variables["outcome"] = step["transformations"]["outcome"]
        if step["type"] == "PARALLEL_GATEWAY":
            for branch in step["parallelNextSteps"]:
                enter(definition, branch)
        elif step["type"] == "JOIN_GATEWAY":
            if arrived == 2:
                enter(definition, step["nextStep"])
        elif step["type"] == "END":
            if definition.get("autoStartNextWorkflow"):
                following = definitions[definition["nextWorkflowId"]]
                enter(following, following["steps"][0]["id"])
        elif step["type"] == "DECISION":
            target = ways[step_id]()
            assert target in step["conditionalNextSteps"].values()
            enter(definition, target)
        elif step_id == "manual-review" and variables["hesitates"]:
            enter(definition, step["boundaryEvents"][0]["targetStepId"])
        else:
            enter(definition, step["nextStep"])

    first = definitions[start.definition_id]
    enter(first, first["steps"][0]["id"])
    return entered


@pytest.mark.parametrize("seed", range(20))
def test_the_models_agree_with_the_definitions(seed: int) -> None:
    rng = random.Random(seed)
    for workload, starts in ((linear(4), linear_starts(rng, 4, 5)), (loan(), loan_starts(rng, 25))):
        for start in starts:
            assert workload.visits(start) == walk(workload, start)


def test_every_loan_route_is_among_four_starts() -> None:
    for seed in range(30):
        starts = loan_starts(random.Random(seed), 4)
        assert {route(start) for start in starts} == {"approved", "manual", "declined"}
        assert any(start.variables["hesitates"] and route(start) == "manual" for start in starts)


def test_the_loan_uses_every_step_type_and_chains() -> None:
    steps = [step for definition in loan().definitions for step in definition["steps"]]
    assert {step["type"] for step in steps} == {
        "SERVICE_TASK", "USER_TASK", "DECISION", "TRANSFORMATION", "WAIT", "PARALLEL_GATEWAY", "JOIN_GATEWAY", "END",
    }  # fmt: skip
    assert [definition["id"] for definition in loan().definitions] == [DISBURSEMENT, APPLICATION]
    assert {step["jobType"] for step in steps if step["type"] == "SERVICE_TASK"} == set(loan().handlers)


def test_the_same_seed_draws_the_same_starts_in_time_order() -> None:
    drawn = [linear_starts(random.Random(seed), 3, 50, over_s=5) for seed in (7, 7, 8)]
    assert drawn[0] == drawn[1] != drawn[2]
    instants = [start.at_s for start in drawn[0]]
    assert instants == sorted(instants)
    assert 0 <= instants[0] <= instants[-1] <= 5
    assert len({start.key for start in drawn[0]}) == 50


def test_jobs_are_counted_by_the_model() -> None:
    (approved,) = [start for start in loan_starts(random.Random(1), 4) if route(start) == "approved"]
    assert loan().jobs(approved) == 6
    assert linear(3).jobs(Start("linear-3", "k", {})) == 3


def test_one_worker_may_answer_several_workloads() -> None:
    spec = together(linear(2), loan(), lease_s=5)
    assert {"linear-step-2", "loan-transfer"} <= set(spec.handlers)
    assert spec.lease_s == 5


def test_a_linear_workload_has_at_least_one_step() -> None:
    with pytest.raises(ValueError, match="of 0 steps; give at least 1"):
        linear(0)


def test_definitions_survive_json() -> None:
    for definition in (*linear(2).definitions, *loan().definitions):
        assert json.loads(msgspec.json.encode(definition)) == definition
