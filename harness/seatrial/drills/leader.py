"""F1 to F9: the leader of the relay fails in several ways, and another node takes over (contract 6.4).

All of them put load on three replicas, break the one that leads, and look for a lost job, a message that overtook
another, and a replica that removes or publishes rows although it no longer leads.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from seatrial.cluster.ability import Partition, Pause, Schedulers
from seatrial.cluster.values import merge
from seatrial.drill import Drill
from seatrial.fault import Fault
from seatrial.fault.database import TerminateLeaderSession
from seatrial.fault.kill import KillReplica, KillScheduler, StopReplica
from seatrial.fault.partition import CutNetwork
from seatrial.fault.pause import PauseReplica
from seatrial.scenario.context import ScenarioContext
from seatrial.scenario.relay import (
    CHECKS,
    NEEDS,
    TERM_S,
    VALUES,
    another_leads,
    one_fault,
    parameters,
    relayed_starts,
    to_the_end,
    under_load,
)

TAKEOVER_BOUND_S = 5.0
TAKEOVER_P95_BOUND_S = 1.0
CUTS = 3
CUT_EVERY_S = 1.5
KILLS = 20
LEADS_FOR_S = (0.3, 1.0)
#: where clients are told at once that a replica is gone, RT judges how soon their calls succeed again
TIMED = (*CHECKS, "RT")


def replaced(fault: Callable[[str], Fault], hold_s: float) -> Callable[[ScenarioContext], Awaitable[None]]:
    """The fault holds until another replica leads, and `hold_s` longer."""

    async def scenario(context: ScenarioContext) -> None:
        load = await under_load(context)
        await context.at(context.schedule["fault_at_s"])
        leader = await context.leader()
        context.phase("fault")
        async with context.inflicted(fault(leader)):
            await another_leads(context, leader)
            await asyncio.sleep(hold_s)
        await to_the_end(context, load)

    return scenario


async def disconnected(context: ScenarioContext) -> None:
    load = await under_load(context)
    await context.at(context.schedule["fault_at_s"])
    context.phase("fault")
    for _ in range(CUTS):
        await context.fault(TerminateLeaderSession(await context.leader()))
        await asyncio.sleep(CUT_EVERY_S)
    await to_the_end(context, load)


async def killed_often(context: ScenarioContext) -> None:
    """Each killed replica is started again while its successor leads, so two of three are up at most times."""
    load = await under_load(context)
    context.phase("fault")
    for leads_for_s in context.schedule["leads_for_s"]:
        leader = await context.leader()
        await asyncio.sleep(leads_for_s)
        async with context.inflicted(KillReplica(leader)):
            await another_leads(context, leader)
    await to_the_end(context, load)


def kills(starts: int, load_s: float) -> Callable[[random.Random], Mapping[str, Any]]:
    """The plan of `killed_often`."""

    def plan(rng: random.Random) -> Mapping[str, Any]:
        return {
            "starts": relayed_starts(rng, starts, load_s),
            "leads_for_s": [round(rng.uniform(*LEADS_FOR_S), 3) for _ in range(KILLS)],
        }

    return plan


def _drill(
    id: str,
    title: str,
    promise: str,
    scenario: Callable[[ScenarioContext], Awaitable[None]],
    plan: Callable[[random.Random], Mapping[str, Any]],
    *,
    ops_min: int,
    hits: int = 1,
    checks: tuple[str, ...] = CHECKS,
    needs: tuple[type, ...] = (),
    core: bool = False,
    schedulers: int = 0,
    bound_s: float = 120.0,
    **more: Any,
) -> Drill:
    """`hits` is how often a leader is hit; `more` are parameters for the checks."""
    return Drill(
        id,
        title,
        promise,
        checks,
        scenario,
        plan,
        parameters(
            ops_min=ops_min,
            faults_min=hits,
            takeover_bound_s=TAKEOVER_BOUND_S,
            circumstances_min={"leaders_hit": hits},
            **more,
        ),
        (*NEEDS, *needs),
        merge(VALUES, {"scheduler": {"replicas": schedulers}}) if schedulers else VALUES,
        mode="kafka",
        core=core,
        on_kind=core,
        bound_s=bound_s,
    )


DRILLS = (
    # The session of a killed process ends at once, so the standby need not wait for anything to expire. What the
    # leader had published but not yet removed is published again with the same dedup id.
    _drill(
        "F1",
        "The relay's leader is killed",
        "When the leader dies another replica relays within 5 s, and no job is lost (contract 6.4).",
        replaced(KillReplica, hold_s=1.0),
        one_fault(starts=90, load_s=6.0),
        ops_min=90,
        checks=TIMED,
        core=True,
    ),
    # As in every rollout. A leader that shuts down finishes its batch and gives up the lead, so a standby takes it at
    # its next check.
    _drill(
        "F2",
        "The relay's leader is shut down",
        "A leader that is shut down hands over the relay and publishes nothing twice.",
        replaced(StopReplica, hold_s=1.0),
        one_fault(starts=90, load_s=6.0),
        ops_min=90,
        checks=TIMED,
        republished_max=0,
    ),
    # The session that holds the relay's lock is ended again and again. A relay that works on other connections than its
    # lock notices the loss at its next ping: until then two replicas publish, and a later batch can overtake an earlier
    # one (contract 11 row 18). Here the next leader has a new epoch, and the checks look for anything that the old
    # one removes or publishes afterwards.
    _drill(
        "F3",
        "The session of the relay's leader is ended",
        "A replica whose lock session ends stops leading: one replica relays at a time, in order (contract 6.4).",
        disconnected,
        one_fault(starts=90, load_s=7.0),
        ops_min=90,
        hits=CUTS,
        checks=TIMED,
        core=True,
    ),
    # The network drops everything; the node itself is alive and publishes. Its session, with the lock, stays in the
    # database until TCP gives up, which takes hours: only a term that ends by the database's clock lets a standby
    # take over, and only the leader's own clock stops the leader. Calls that reach it wait for its database until
    # their callers give up.
    _drill(
        "F4",
        "The relay's leader is cut off from the database",
        "A leader that is cut off from the database is replaced within its term and stops relaying.",
        replaced(partial(CutNetwork, mode="blackhole"), hold_s=1.5),
        one_fault(starts=90, load_s=9.0),
        ops_min=45,
        needs=(Partition,),
        bound_s=150.0,
        error_statuses_allowed=[0, 503, 504],
    ),
    # The paused client of Kleppmann's "How to do distributed locking" (martin.kleppmann.com, 2016) as a leader: it
    # resumes in the middle of a batch, past its own term by any clock, and believes that it still leads. What it had
    # in its
    # client's queue may still leave, under dedup ids that its successor has sent as well; nothing else may.
    _drill(
        "F6",
        "The relay's leader is paused past its term",
        "A paused leader is replaced within its term; after it resumes it removes and publishes nothing new.",
        replaced(PauseReplica, hold_s=TERM_S + 1.0),
        one_fault(starts=120, load_s=14.0),
        ops_min=60,
        needs=(Pause,),
        bound_s=150.0,
    ),
    # Twenty in a row, and each takeover is timed.
    _drill(
        "F7",
        "Twenty leaders of the relay are killed",
        "A killed leader is replaced in well under a second, twenty times, and nothing is lost or out of order.",
        killed_often,
        kills(starts=240, load_s=50.0),
        ops_min=240,
        hits=KILLS,
        bound_s=240.0,
        takeover_p95_bound_s=TAKEOVER_P95_BOUND_S,
    ),
    # Nodes that answer calls do not relay here, so of three replicas none can take over.
    _drill(
        "F9",
        "The scheduler that leads the relay is killed",
        "When the scheduler that relays dies the other relays within 5 s, and the nodes that answer calls go on.",
        replaced(KillScheduler, hold_s=1.0),
        one_fault(starts=90, load_s=6.0),
        ops_min=90,
        checks=TIMED,
        needs=(Schedulers,),
        schedulers=2,
    ),
)
