"""The procedure of a drill, run whole against a small server; its context, observer and environment beside it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from small_engine import SmallEngine

from patience import eventually
from seatrial.client import CallFailed
from seatrial.cluster import ClusterError
from seatrial.cluster.ability import Kill
from seatrial.cluster.options import Misuse, Options
from seatrial.drill import NOT_UP, Drill, describe, draw, judge_folder, run
from seatrial.drills import CATALOGUE
from seatrial.environment import Environment
from seatrial.follow import follow
from seatrial.history import History, Op, Recorder
from seatrial.scenario.context import NotReached, ScenarioContext
from seatrial.verdict import DrillResult, Outcome
from seatrial.workload import Handler, Start, WorkerSpec, Workload

Scenario = Callable[[ScenarioContext], Awaitable[None]]

ENDS = Workload(
    name="ends",
    definitions=({"id": "ends", "name": "ends", "steps": [{"id": "end", "name": "end", "type": "END"}]},),
    handlers={},
    visits=lambda _: {"end": 1},
)


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": [Start("ends", f"k{number}", {"amount": rng.randrange(1000)}) for number in range(12)]}


async def start_all(context: ScenarioContext) -> None:
    await context.upload(ENDS)
    context.phase("load")
    await context.load(context.schedule["starts"])
    context.phase("drain")
    assert await context.drain(5.0)


def drill(scenario: Scenario = start_all, **changes: Any) -> Drill:
    known: dict[str, Any] = {
        "id": "T1",
        "title": "All start, all end",
        "promise": "Whatever starts, ends.",
        "checks": ("NL", "NP", "AV"),
        "plan": plan,
        "bound_s": 20.0,
    }
    return Drill(scenario=scenario, **{**known, **changes})


@pytest.fixture
async def engine() -> AsyncIterator[SmallEngine]:
    async with SmallEngine() as engine:
        yield engine


@pytest.fixture
async def environment(engine: SmallEngine, tmp_path: Path) -> AsyncIterator[Environment]:
    options = Options(
        seed=7, report_dir=tmp_path / "report", backend="attach", attach=(engine.replica.rest_url,)
    )
    async with Environment(options) as environment:
        yield environment


@pytest.fixture
async def context(engine: SmallEngine, tmp_path: Path) -> AsyncIterator[ScenarioContext]:
    options = Options(seed=7, report_dir=tmp_path, backend="attach", attach=(engine.replica.rest_url,))
    recorder = Recorder(tmp_path)
    cluster = await Environment(options).cluster(tmp_path, replicas=1, values={})
    async with ScenarioContext(
        cluster, recorder, folder=tmp_path, seed="7:T1", run_key="run-7", schedule={}, parameters={}
    ) as context:
        yield context
    recorder.close()


def ops(folder: Path) -> list[Op]:
    return [
        msgspec.json.decode(line, type=Op) for line in (folder / "history.jsonl").read_bytes().splitlines()
    ]


# run -----------------------------------------------------------------------------------------------------------


async def test_a_run_records_its_header_its_phases_and_its_end_and_is_judged(
    environment: Environment, tmp_path: Path
) -> None:
    result = await run(drill(), environment)

    folder = tmp_path / "report" / "T1"
    assert result.outcome is Outcome.PASS, result
    assert [verdict.check for verdict in result.verdicts] == ["NL", "NP", "AV"]
    assert (result.drill, result.title, result.seed, result.folder) == (
        "T1",
        "All start, all end",
        7,
        str(folder),
    )
    header = History.load(folder).header
    assert (header.backend, header.replicas, header.checks) == ("attach", 1, ("NL", "NP", "AV"))
    assert header.schedule_hash == result.schedule_hash == draw(drill(), 7).hash
    assert ops(folder)[0].f == "run"
    phases = [op.value for op in ops(folder) if op.f == "phase"]
    assert [value["name"] for value in phases] == ["load", "drain", "observe", "end"]
    assert len([op for op in ops(folder) if op.process == "observer" and op.f == "instance"]) == 12


async def test_judging_the_folder_again_gives_the_same_result(
    environment: Environment, tmp_path: Path
) -> None:
    result = await run(drill(), environment)
    assert judge_folder(tmp_path / "report" / "T1", {"T1": drill()}) == result
    assert (
        msgspec.json.decode((tmp_path / "report" / "T1" / "result.json").read_bytes(), type=DrillResult)
        == result
    )


async def test_a_broken_promise_is_a_failure_not_an_error(
    environment: Environment, engine: SmallEngine, tmp_path: Path
) -> None:
    async def forget(context: ScenarioContext) -> None:
        await start_all(context)
        engine.instances.pop()

    result = await run(drill(forget), environment)
    assert result.outcome is Outcome.FAIL
    lost = next(verdict for verdict in result.verdicts if verdict.check == "NL")
    assert "replica-0-i12" in lost.witnesses[0].ids


async def test_an_exception_in_the_scenario_makes_it_invalid_and_leaves_no_worker(
    environment: Environment, tmp_path: Path
) -> None:
    seen: list[ScenarioContext] = []

    async def stumble(context: ScenarioContext) -> None:
        seen.append(context)
        context.workers.start(WorkerSpec(handlers={"pay": Handler()}))
        raise NotReached("not within 3 s: the lease expires")

    result = await run(drill(stumble), environment)
    assert (result.outcome, result.verdicts) == (Outcome.INVALID, ())
    assert result.notes == ("not within 3 s: the lease expires",)
    assert "in stumble" in (tmp_path / "report" / "T1" / "harness-error.txt").read_text()
    assert not seen[0].workers[0].alive
    assert judge_folder(tmp_path / "report" / "T1", {"T1": drill()}) == result


async def test_a_scenario_past_its_bound_is_invalid(environment: Environment) -> None:
    async def wait(context: ScenarioContext) -> None:
        await asyncio.Event().wait()

    result = await run(drill(wait, bound_s=0.2), environment)
    assert result.outcome is Outcome.INVALID
    assert result.notes == ("the scenario took longer than its bound of 0.2 s",)


async def test_a_spawned_task_that_fails_ends_the_scenario_with_its_cause(environment: Environment) -> None:
    async def fail() -> None:
        raise ZeroDivisionError("by nought")

    async def wait(context: ScenarioContext) -> None:
        context.spawn(fail())
        await asyncio.Event().wait()

    assert (await run(drill(wait), environment)).notes == ("ZeroDivisionError: by nought",)


async def test_a_worker_that_dies_of_a_bug_makes_it_invalid(
    environment: Environment, engine: SmallEngine
) -> None:
    async def work(context: ScenarioContext) -> None:
        engine.add_job("j1", "pay")
        context.workers.start(WorkerSpec(handlers={"pay": Handler(echo={"score": "not there"})}, wait_s=0))
        await context.eventually(lambda: not context.workers[0].alive, 10.0, "the worker dies")

    (note,) = (await run(drill(work), environment)).notes
    assert note.startswith("worker-0 exited with 1")
    assert note.endswith("KeyError: 'not there'")


async def test_cancellation_goes_on_after_everything_was_stopped(
    environment: Environment, tmp_path: Path
) -> None:
    seen: list[ScenarioContext] = []

    async def wait(context: ScenarioContext) -> None:
        context.workers.start(WorkerSpec(handlers={"pay": Handler()}))
        seen.append(context)
        await asyncio.Event().wait()

    task = asyncio.create_task(run(drill(wait), environment))
    await eventually(lambda: seen)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not seen[0].workers[0].alive
    assert judge_folder(tmp_path / "report" / "T1", {}).notes == ("interrupted",)


async def test_a_cluster_that_does_not_come_up_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seatrial.cluster.attach.cluster.ALIVE_WITHIN_S", 0.0)
    async with Environment(
        Options(seed=1, report_dir=tmp_path, backend="attach", attach=("http://127.0.0.1:1",))
    ) as environment:
        result = await run(drill(), environment)
    assert result.outcome is Outcome.INVALID
    assert result.notes[0].startswith(f"{NOT_UP}: http://127.0.0.1:1/healthz is not alive")


async def test_a_folder_that_holds_a_run_is_not_written_into(
    environment: Environment, tmp_path: Path
) -> None:
    await run(drill(), environment)
    before = (tmp_path / "report" / "T1" / "history.jsonl").read_bytes()
    with pytest.raises(Misuse, match="already contains a run; give another --report"):
        await run(drill(), environment)
    assert (tmp_path / "report" / "T1" / "history.jsonl").read_bytes() == before


async def test_a_missing_ability_is_refused_before_anything_is_made(
    environment: Environment, tmp_path: Path
) -> None:
    with pytest.raises(
        Misuse,
        match="drill T1 needs Kill, which an attached cluster does not have; run it on --backend local or ",
    ):
        await run(drill(needs=(Kill,)), environment)
    assert not (tmp_path / "report" / "T1").exists()


async def test_a_history_without_its_end_is_invalid(environment: Environment, tmp_path: Path) -> None:
    await run(drill(), environment)
    path = tmp_path / "report" / "T1" / "history.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    result = judge_folder(path.parent, {})
    assert (result.outcome, result.notes) == (
        Outcome.INVALID,
        ("the run was interrupted: its history has no end",),
    )


# The schedule --------------------------------------------------------------------------------------------------


def test_the_same_seed_draws_the_same_schedule_for_every_drill_of_the_catalogue() -> None:
    for known in CATALOGUE.values():
        first, again, other = draw(known, 7), draw(known, 7), draw(known, 8)
        assert (first.hash, first.schedule) == (again.hash, again.schedule)
        if first.schedule:
            assert other.hash != first.hash


def test_the_hash_tells_schedules_apart() -> None:
    def fewer(rng: random.Random) -> Mapping[str, Any]:
        return {"starts": list(plan(rng)["starts"])[:-1]}

    assert draw(drill(), 7).hash != draw(drill(plan=fewer), 7).hash
    assert draw(drill(), 7).hash != draw(drill(id="T2"), 7).hash


# The context -----------------------------------------------------------------------------------------------------


async def test_a_load_keeps_to_its_instants_and_makes_keys_of_this_run(
    context: ScenarioContext, engine: SmallEngine
) -> None:
    context.phase("load")
    begun_s = time.monotonic()
    await context.load([Start("ends", "a", {}), Start("ends", "b", {"x": 1}, at_s=0.3)])
    assert time.monotonic() - begun_s >= 0.3
    assert [(instance["businessKey"], instance["variables"]) for instance in engine.instances] == [
        ("run-7/a", {"key": "run-7/a"}),
        ("run-7/b", {"x": 1, "key": "run-7/b"}),
    ]


async def test_a_load_repeats_what_was_refused_and_never_what_may_have_happened(
    context: ScenarioContext, engine: SmallEngine
) -> None:
    async def unsure(request: web.Request, body: Any) -> web.Response | None:
        return web.Response(status=503) if body["variables"]["key"].endswith("b") else None

    engine.script = unsure
    await engine.close()
    load = asyncio.create_task(context.load([Start("ends", "a", {}), Start("ends", "b", {})]))
    await eventually(lambda: sum(op.type == "fail" for op in ops(context.folder)) >= 2)
    async with engine:
        assert await load == ["replica-0-i1"]

    asked = [op.value["business_key"] for op in ops(context.folder) if op.type == "invoke"]
    assert asked.count("run-7/a") >= 2
    assert [body["businessKey"] for _, path, body in engine.requests].count("run-7/b") == 1


async def test_eventually_raises_what_was_waited_for_and_forgives_failed_calls(
    context: ScenarioContext,
) -> None:
    async def refused() -> bool:
        raise CallFailed(await context.probe("replica-0", "/healthz"))

    with pytest.raises(NotReached, match=r"not within 0.1 s: pigs fly"):
        await context.eventually(refused, 0.1, "pigs fly")
    assert await context.reached(lambda: True, 0.0)


async def test_a_lead_that_stays_unclear_names_who_claims_it(
    context: ScenarioContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text was made before anybody was asked, so it always said none."""

    async def both() -> list[str]:
        return ["replica-0", "replica-1"]

    monkeypatch.setattr(context, "leaders", both)
    with pytest.raises(NotReached, match=r"one replica leads \(now replica-0, replica-1\)"):
        await context.leader(within_s=0.1)


async def test_a_query_needs_a_database(context: ScenarioContext) -> None:
    with pytest.raises(
        ClusterError,
        match="an attached cluster does not have the ability Database; add Database to the drill's needs",
    ):
        await context.query("SELECT 1")


async def test_a_scripted_worker_speaks_under_its_own_name(
    context: ScenarioContext, engine: SmallEngine
) -> None:
    engine.add_job("j1", "pay")
    zombie = context.worker_client("zombie")
    (job,) = (await zombie.poll("w1", ["pay"], replica="replica-0")).jobs
    answers = await context.race(zombie.complete(job, "w1", replica=name) for name in list(context.names) * 3)
    assert [answer.status for answer in answers] == [204, 204, 204]
    assert {op.process for op in ops(context.folder)} == {"worker-zombie"}


async def test_a_watched_replica_is_probed_until_it_is_let_go(
    context: ScenarioContext, engine: SmallEngine
) -> None:
    watch = context.watch("replica-0", "/healthz", every_s=0.01)
    await context.eventually(lambda: len(engine.requests) >= 3, 10.0, "three probes")
    watch.cancel()
    assert {(op.process, op.f) for op in ops(context.folder)} == {("probe-replica-0", "probe")}


async def test_random_numbers_depend_on_seed_and_label_only(context: ScenarioContext) -> None:
    drawn = context.random("poison").random()
    context.random("other").random()
    assert context.random("poison").random() == drawn != context.random("other").random()


# The follower --------------------------------------------------------------------------------------------------


async def test_progress_is_read_from_the_history_as_it_grows(tmp_path: Path) -> None:
    class Seen:
        def __init__(self) -> None:
            self.phases: list[str] = []
            self.totals = (0, 0, 0)

        def phase(self, name: str) -> None:
            self.phases.append(name)

        def tick(self, ops: int, ok: int, failed: int) -> None:
            self.totals = (ops, ok, failed)

    async def until_total(total: tuple[int, int, int]) -> None:
        await eventually(lambda: seen.totals == total)

    seen = Seen()
    following = asyncio.create_task(follow(tmp_path, seen))
    recorder = Recorder(tmp_path)
    recorder.info("harness", "phase", {"name": "load"})
    call = recorder.invoke("client-0", "start", {"text": '"type":"nonsense"'})
    recorder.end("client-0", "ok", "start", call)
    await until_total((3, 1, 0))
    whole = msgspec.json.encode(Op(0.0, "client-0", "fail", "start", 2)) + b"\n"
    with (tmp_path / "history.jsonl").open("ab", buffering=0) as file:
        file.write(whole[:10])
        recorded = (3, 1, 0)
        await until_total(recorded)
        file.write(whole[10:])
    await until_total((4, 1, 1))
    following.cancel()
    recorder.close()
    assert seen.phases == ["load"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ClusterError("replica-0 exited with 1; the end of x.log:\nfirst\nconfig: bad DSN"),
         "replica-0 exited with 1; the end of x.log: config: bad DSN"),
        (ExceptionGroup("two", [ExceptionGroup("one", [NotReached("not within 3 s: x")])]), "not within 3 s: x"),
        (KeyError("score"), "KeyError: 'score'"),
        (TimeoutError(), "TimeoutError"),
        (aiohttp.ClientPayloadError("cut"), "ClientPayloadError: cut"),
    ],
)  # fmt: skip
def test_a_cause_is_one_line(error: Exception, line: str) -> None:
    assert describe(error) == line
