"""T4: five ways in which a secured broker refuses an engine (contract 6.6). Each boot must end with its own cause,
and everything sent to the broker must be TLS to the last byte: no retry in plaintext, no password anywhere.
Afterwards the same engine boots with both SCRAM mechanisms and with the right name.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.cluster import Boots, Database, Kafka, KafkaFaults
from seatrial.drill import Drill
from seatrial.environment import engine_variables
from seatrial.scenario.context import ScenarioContext
from seatrial.workload.linear import linear, linear_starts

WORK = linear(1, name="guarded")
STARTS = 8
BOOT_BOUND_S = 18.0
DRAIN_S = 30.0
#: no certificate contains it
OTHER_NAME = "broker.example.org"
#: The broker's certificate contains it, in addition to the address at which engines reach the broker.
OWN_NAME = "localhost"


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": linear_starts(rng, 1, STARTS, name="guarded")}


async def scenario(context: ScenarioContext) -> None:
    await context.upload(WORK)
    context.workers.start(WORK.worker())
    await context.workers_joined()
    context.phase("load")
    await context.load(context.schedule["starts"])
    assert isinstance(context.cluster, KafkaFaults)
    broker = context.cluster.broker_process()
    good = broker.engine_values(secured=True)
    no_file = str(Path(str(good["tlsCaPath"])).with_name("no-such-ca.crt"))
    cases = (
        ("wrong password", {**good, "saslPassword": "not-the-password"}, ["SASL"]),
        ("no CA file", {**good, "tlsCaPath": no_file}, ["WE_KAFKA_TLS_CA_PATH", no_file]),
        ("another's CA", {**good, "tlsCaPath": str(broker.other_authority())}, ["TLS"]),
        ("no rights", dict(broker.stranger_values()), [*WORK.topics(), "AUTHORIZATION_FAILED"]),
        ("wrong name", {**good, "tlsServerName": OTHER_NAME}, ["TLS handshake", OTHER_NAME]),
    )
    for case, kafka, expected in cases:
        await context.boot(case, {"kafka": kafka}, expected, bound_s=BOOT_BOUND_S)
        context.look_at_wire(case, "not-the-password", *WORK.topics())
    for case, more in (
        ("SCRAM-SHA-256", {"saslMechanism": "SCRAM-SHA-256"}),
        ("SCRAM-SHA-512", {"saslMechanism": "SCRAM-SHA-512"}),
        ("a name of its own", {"tlsServerName": OWN_NAME}),
    ):
        mechanism = more.get("saslMechanism", "SCRAM-SHA-512")
        served = [f"mechanism={mechanism}", "[dispatch] SASL auth ok as user=windlass"]
        await context.boot(case, {"kafka": {**good, **more}}, served, bound_s=2 * BOOT_BOUND_S, serves=True)
        context.look_at_wire(case, *WORK.topics())
    context.phase("drain")
    await context.drain(DRAIN_S)


DRILL = Drill(
    id="T4",
    title="A secured broker that refuses the engine",
    promise="A wrong password, CA, right or name ends the boot with that cause, and nothing is sent in plaintext (C).",
    checks=("BC", "PW", "NL", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={"lease_s": 30, "lease_sweep_interval_s": 1, "error_statuses_allowed": [], "ops_min": STARTS},
    needs=(Database, Kafka, KafkaFaults, Boots),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    mode="kafka",
    replicas=1,
    bound_s=240.0,
)
