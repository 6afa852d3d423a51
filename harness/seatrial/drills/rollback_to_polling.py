"""M1: from kafka_outbox back to polling in the middle of a backlog (contract 6.7).

The broker is cut off until events wait in the outbox; then each replica is replaced in polling mode. No job may be
lost: jobs that wait are polled, jobs that a consumer had are completed by whoever is first. The remaining rows are
not published and stay as they are, and the engine shows no trace of a broker any more.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from seatrial.cluster.ability import Database, Logs, RollingReconfigure, Sockets
from seatrial.cluster.broker import Broker, BrokerNetwork
from seatrial.cluster.brokers import BROKERS
from seatrial.cluster.values import engine_variables, merge
from seatrial.drill import BROKER_NAMES, OUTBOX_VALUES, Drill
from seatrial.fault.broker import CutBroker
from seatrial.observe.final_state import observe_metrics
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler
from seatrial.workload.linear import linear, linear_starts

WORK = linear(2, name="turning", handler=Handler(think_max_s=0.05))
BEFORE, MEANWHILE, AFTER = 30, 30, 30
BACKLOG_MIN = 10
BACKLOG_WITHIN_S = 20.0
LOOKS = 3
DRAIN_S = 60.0
POLLING = {"engine": {"dispatchMode": "polling"}}


def plan(rng: random.Random) -> Mapping[str, Any]:
    counts = {"before": BEFORE, "meanwhile": MEANWHILE, "after": AFTER}
    return {
        part: [
            msgspec.structs.replace(start, key=f"{part}-{start.key}")
            for start in linear_starts(rng, 2, count, over_s=1.0, name="turning")
        ]
        for part, count in counts.items()
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(WORK)
    (consumer,) = context.workers.start(WORK.worker(), way="consume")
    await context.workers_joined()
    context.phase("load")
    await context.load(context.schedule["before"])
    context.phase("fault")
    async with context.inflicted(CutBroker("refuse")):
        await context.load(context.schedule["meanwhile"])

        async def backlog() -> bool:
            rows = await context.query("SELECT count(*) FROM dispatch_outbox")
            return bool(rows[0][0] >= BACKLOG_MIN)

        await context.eventually(backlog, BACKLOG_WITHIN_S, f"{BACKLOG_MIN} events wait in the outbox")
        await context.ability(RollingReconfigure).reconfigure_all(POLLING)
    await context.workers.stop(consumer)
    context.workers.start(WORK.worker(), 2)
    context.phase("heal")
    await _look(context)
    await context.load(context.schedule["after"])
    context.phase("drain")
    for _ in range(LOOKS - 1):
        await _look(context)
    await context.drain(DRAIN_S)
    await _look(context)
    _scan_logs(context)


async def _look(context: ScenarioContext) -> None:
    sockets = context.ability(Sockets)
    for name in context.names:
        peers = await sockets.peers(name)
        context.recorder.info("observer", "sockets", {"node": name, "peers": peers}, name)
    rows = await context.query("SELECT count(*) FROM dispatch_outbox")
    context.recorder.info("observer", "table_count", {"table": "dispatch_outbox", "rows": rows[0][0]})
    await observe_metrics(context.replicas, context.recorder)


def _scan_logs(context: ScenarioContext) -> None:
    """Since the change of mode: before it log lines may name the broker."""
    logs = context.ability(Logs)
    for name in context.names:
        began_at = logs.run_began_at(name)
        lines = logs.log_path(name).read_bytes()[began_at:].decode(errors="replace").splitlines()
        matches = [line for line in lines if re.search(BROKER_NAMES, line)][:20]
        context.recorder.info(
            "observer", "log_scan", {"node": name, "pattern": BROKER_NAMES, "matches": matches}
        )


DRILL = Drill(
    id="M1",
    title="Back to polling with a backlog in the outbox",
    promise="Going back to polling loses no job; rows in the outbox stay there, unpublished (contract 6.7).",
    checks=("MP", "OC", "NL", "NP", "S1x", "LX", "DB", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": 30,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": 20,
        "broker_names": sorted(BROKERS),
        "outbox_left": True,
        "error_statuses_allowed": [0, 410, 503],
        "faults_min": 1,
        "ops_min": BEFORE + MEANWHILE,
        "circumstances_min": {"rows_left": BACKLOG_MIN},
    },
    needs=(Database, Broker, BrokerNetwork, Logs, Sockets, RollingReconfigure),
    values=merge(
        engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1), OUTBOX_VALUES
    ),
    mode="both",
    core=True,
    on_kind=True,
    bound_s=200.0,
)
