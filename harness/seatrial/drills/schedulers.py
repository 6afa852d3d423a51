"""X4 and X5: two and three nodes that only schedule, under timers and expired leases, and some of them are killed.

Nothing is elected among them: each looks for what is due, and the database decides under the instance's lock who has
found it first. So several at once do nothing twice, and when one dies the others go on at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from seatrial.cluster.ability import Database, Logs, Schedulers
from seatrial.cluster.values import engine_variables, merge
from seatrial.drill import Drill
from seatrial.drills import lease_reclaim
from seatrial.drills.lease_reclaim import LINEAR, VICTIM_SLOTS, VICTIM_THINKS_S
from seatrial.drills.timers import (
    DEFINITION,
    FIRES_WITHIN_S,
    has_fired,
    wait_for_an_answer,
    whoever_fires_next,
)
from seatrial.fault.kill import KillScheduler
from seatrial.scenario.context import NotReached, ScenarioContext
from seatrial.workload import Handler
from seatrial.workload.linear import linear_starts

TIMER_STARTS = 240
#: they come together, so that every scheduler finds the same timers at the same time
BURSTS = 6
LINEAR_STARTS = 200
LOAD_S = 12.0
ANSWER_MIN_S, ANSWER_MAX_S = 0.3, 2.6
ANSWERED_SHARE = 0.3
VICTIMS = 2
LEASE_S = 3
SWEEP_S = 0.5
OFTEN_S = 0.05
#: longer than the lateness that is allowed: nobody waits for the one that is away
DOWN_S = 6.0
LATENESS_BOUND_S = 4.0
RECLAIM_BOUND_S = 4.0
DRAIN_S = 40.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    bursts = sorted(round(rng.uniform(0.0, LOAD_S), 3) for _ in range(BURSTS))
    return {
        "timers": [at_s for at_s in bursts for _ in range(TIMER_STARTS // BURSTS)],
        "answer_after_s": [
            round(rng.uniform(ANSWER_MIN_S, ANSWER_MAX_S), 3) if rng.random() < ANSWERED_SHARE else None
            for _ in range(TIMER_STARTS)
        ],
        "linear": linear_starts(rng, 2, LINEAR_STARTS, over_s=LOAD_S),
        "kill_after_timers": rng.randrange(20, 60),
        "deaths_s": sorted(round(rng.uniform(1.5, 5.0), 3) for _ in range(VICTIMS)),
    }


def killing(at_once: int) -> Callable[[ScenarioContext], Awaitable[None]]:
    """Whoever fires next is killed, together with others up to `at_once`; one at least stays."""

    async def scenario(context: ScenarioContext) -> None:
        await context.client().upload(DEFINITION)
        await context.upload(LINEAR)
        timers = {"deadline-remind": Handler(), "deadline-escalate": Handler()}
        context.workers.start(LINEAR.worker(handlers={**LINEAR.handlers, **timers}, lease_s=LEASE_S), 2)
        slow = dict.fromkeys(LINEAR.handlers, Handler(*VICTIM_THINKS_S))
        victims = context.workers.start(
            LINEAR.worker(slots=VICTIM_SLOTS, lease_s=LEASE_S, handlers=slow), VICTIMS
        )
        context.phase("load")
        starts = zip(context.schedule["timers"], context.schedule["answer_after_s"], strict=True)
        loads = [
            context.spawn(wait_for_an_answer(context, number, at_s, answer_after_s))
            for number, (at_s, answer_after_s) in enumerate(starts)
        ]
        loads.append(context.spawn(_load(context)))
        deaths = context.spawn(_kill_workers(context, victims))
        fired = partial(has_fired, context, context.schedule["kill_after_timers"])
        await context.eventually(fired, FIRES_WITHIN_S, "timers have fired")
        context.phase("fault")
        names = context.ability(Schedulers).names()
        if len(names) <= at_once:
            raise NotReached(f"{len(names)} schedulers run; this drill needs {at_once + 1} or more")
        first = await whoever_fires_next(context, names)
        doomed = [first, *(name for name in names if name != first)][:at_once]
        await context.race(context.fault(KillScheduler(name), hold_s=DOWN_S) for name in doomed)
        context.phase("heal")
        await deaths
        await asyncio.gather(*loads)
        context.phase("drain")
        await context.drain(DRAIN_S)

    return scenario


async def _load(context: ScenarioContext) -> None:
    await context.load(context.schedule["linear"])


async def _kill_workers(context: ScenarioContext, victims: Sequence[int]) -> None:
    for victim, death_s in zip(victims, context.schedule["deaths_s"], strict=True):
        await context.at(death_s)
        await lease_reclaim.kill_with_leases_in_hand(context, victim)
    for victim in victims:
        context.workers.restart(victim)


DRILL = Drill(
    id="X4",
    title="One of two schedulers is killed",
    promise="When a scheduler dies the other goes on: timers fire and expired leases come back in time, once each.",
    checks=("TP", "S1x", "LX", "FN", "DB", "LV", "NL", "NP", "AV"),
    plan=plan,
    scenario=killing(1),
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "reclaim_bound_s": RECLAIM_BOUND_S,
        "recovery_bound_s": 20,
        "timer_lateness_bound_s": LATENESS_BOUND_S,
        "timers_min": TIMER_STARTS,
        # 409: the answer came after the deadline.
        "error_statuses_allowed": [409],
        "faults_min": 1 + VICTIMS,
        "ops_min": TIMER_STARTS + LINEAR_STARTS,
        "circumstances_min": {"leases_lapsed": VICTIMS},
    },
    needs=(Database, Logs, Schedulers),
    values=merge(
        engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=SWEEP_S, WINDLASS_TIMER_SWEEP_SECONDS=SWEEP_S),
        {"scheduler": {"replicas": 2}},
    ),
    bound_s=120.0,
)

# They look so often that two or three of them have found the same timer and the same lease again and again.
THREE = replace(
    DRILL,
    id="X5",
    title="Three schedulers at once, and two of them are killed together",
    promise="However many schedulers run, each timer and each expired lease takes effect once, and one is enough.",
    scenario=killing(2),
    on_compose=True,
    parameters={**DRILL.parameters, "faults_min": 2 + VICTIMS},
    values=merge(
        engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=OFTEN_S, WINDLASS_TIMER_SWEEP_SECONDS=OFTEN_S),
        {"scheduler": {"replicas": 3}},
    ),
)
