"""X1 and X2: replicas that fire timers are killed while they do it.

An engine that commits `fired = true` and then dispatches (contract 11 row 8) loses the timer in a crash between the
two. Here the replica that has just fired one is killed, several times while hundreds are due, and every timer must
take effect once and in time, or not at all if its step was answered before.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from seatrial.cluster.ability import Database, Kill, Logs
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault.kill import KillReplica
from seatrial.scenario.context import NotReached, ScenarioContext
from seatrial.workload import Handler, Start, WorkerSpec

DEFINITION: Mapping[str, Any] = {
    "id": "deadline",
    "name": "An answer is waited for, reminded of, and escalated",
    "steps": [
        {"id": "answer", "name": "Wait for the answer", "type": "WAIT", "nextStep": "answered",
         "boundaryEvents": [
             {"type": "TIMER", "duration": "PT1S", "interrupting": False, "targetStepId": "remind"},
             {"type": "TIMER", "duration": "PT2S", "interrupting": True, "targetStepId": "escalate"}]},
        {"id": "remind", "name": "Send a reminder", "type": "SERVICE_TASK", "jobType": "deadline-remind"},
        {"id": "escalate", "name": "Tell the superior", "type": "SERVICE_TASK", "jobType": "deadline-escalate",
         "nextStep": "closed"},
        {"id": "answered", "name": "Answered", "type": "END"},
        {"id": "closed", "name": "Closed", "type": "END"},
    ],
}  # fmt: skip
STARTS = 300
LOAD_S = 4.0
#: after the start; some of these come before the deadline, some after, some with it
ANSWER_MIN_S, ANSWER_MAX_S = 0.3, 2.6
ANSWERED_SHARE = 0.3
KILLS = 3
DOWN_S = 0.5
SWEEP_INTERVAL_S = 1.5
FIRED_LINE = b"timer sweeper: fired"
FIRES_WITHIN_S = 30.0
LEASE_S = 3
LATENESS_BOUND_S = 12.0
DRAIN_S = 40.0
_LOOK_INTERVAL_S = 0.01


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": sorted(round(rng.uniform(0.0, LOAD_S), 4) for _ in range(STARTS)),
        "answer_after_s": [
            round(rng.uniform(ANSWER_MIN_S, ANSWER_MAX_S), 3) if rng.random() < ANSWERED_SHARE else None
            for _ in range(STARTS)
        ],
        "kill_after_timers": [120 * number + rng.randrange(60, 120) for number in range(KILLS)],
    }


async def scenario(context: ScenarioContext) -> None:
    client = context.client()
    await client.upload(DEFINITION)
    handlers = {"deadline-remind": Handler(), "deadline-escalate": Handler()}
    context.workers.start(WorkerSpec(handlers=handlers, lease_s=LEASE_S), 2)
    context.phase("load")
    starts = zip(context.schedule["starts"], context.schedule["answer_after_s"], strict=True)
    loads = [
        context.spawn(wait_for_an_answer(context, number, at_s, answer_after_s))
        for number, (at_s, answer_after_s) in enumerate(starts)
    ]
    faults = []
    for fired in context.schedule["kill_after_timers"]:
        await context.eventually(
            partial(has_fired, context, fired), FIRES_WITHIN_S, f"{fired} timers have fired"
        )
        replica = await whoever_fires_next(context, context.names)
        context.phase("fault")
        # The next one is killed only when this one is back.
        faults.append(context.spawn(context.fault(KillReplica(replica), hold_s=DOWN_S)))
    await asyncio.gather(*faults)
    context.phase("heal")
    await asyncio.gather(*loads)
    context.phase("drain")
    await context.drain(DRAIN_S)


async def wait_for_an_answer(
    context: ScenarioContext, number: int, at_s: float, answer_after_s: float | None
) -> None:
    """The start, and for some the answer: in time, too late, or just when the timer fires."""
    started = await context.load([Start("deadline", f"deadline-{number:04d}", {}, at_s)])
    if not started or answer_after_s is None:
        return
    await context.at(at_s + answer_after_s)
    client = context.client()
    await client.signal(started[0], "answer", {"answered_by": f"applicant-{number}"})
    await client.close()


async def has_fired(context: ScenarioContext, least: int) -> bool:
    rows = await context.query("SELECT count(*) FROM boundary_event_schedule WHERE fired")
    return bool(rows[0][0] >= least)


async def whoever_fires_next(context: ScenarioContext, nodes: Sequence[str]) -> str:
    """The first of them whose log says that it fired a timer: it is about to fire more."""
    logs = context.ability(Logs)
    paths = {name: logs.log_path(name) for name in nodes}
    seen = {name: path.stat().st_size for name, path in paths.items()}

    def firing() -> str | None:
        for name, path in paths.items():
            with path.open("rb") as log:
                log.seek(seen[name])
                if FIRED_LINE in log.read():
                    return name
        return None

    if not await context.reached(lambda: firing() is not None, FIRES_WITHIN_S, every_s=_LOOK_INTERVAL_S):
        raise NotReached(f"no node fired a timer within {FIRES_WITHIN_S:g} s")
    name = firing()
    assert name is not None
    return name


DRILL = Drill(
    id="X1",
    title="Timers that are due when the replica that fires them dies",
    promise="Each timer takes effect once and in time, although the replica that fires it is killed.",
    checks=("TP", "S1x", "LV", "NL", "NP", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": 20,
        "timer_lateness_bound_s": LATENESS_BOUND_S,
        "timers_min": STARTS,
        # 409: the answer came after the deadline.
        "error_statuses_allowed": [0, 409],
        "faults_min": KILLS,
        "ops_min": STARTS,
    },
    needs=(Kill, Logs, Database),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=SWEEP_INTERVAL_S),
    bound_s=120.0,
)
