"""U11: the certificate of all doors is renewed under load, three times, and once it is one that cannot be used.

cert-manager renews a certificate weeks before it ends, and nobody restarts the pods for it: the files of the mounted
Secret change by a swap of links. Callers keep connections that began with the certificate before, and others come anew
all the time; neither may notice. A key that does not belong to its certificate must change nothing, and be told of.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.cluster.ability import Certificates
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.fault import Fault
from seatrial.fault.certificate import RenewCertificate, SpoilCertificate
from seatrial.observe.certificates import CertificateSampler
from seatrial.observe.final_state import observe_metrics
from seatrial.scenario.context import ScenarioContext
from seatrial.workload import Handler, until
from seatrial.workload.linear import linear, linear_starts

LINEAR = linear(2, handler=Handler(think_max_s=0.05))
#: more than the drill takes; the load ends with it
STARTS = 2_000
STARTS_PER_S = 30
REPLICAS = 3
DOORS = ("rest", "grpc", "metrics")
WORKERS = 4
LEASE_S = 15
NEWCOMER_EVERY_S = 0.1
#: the engine looks every 2 s
RENEWAL_BOUND_S = 5.0
#: two looks and more
SPOILT_S = 5.0
RECOVERY_BOUND_S = 2.0
DRAIN_S = 30.0


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {
        "starts": linear_starts(rng, 2, STARTS, over_s=STARTS / STARTS_PER_S),
        "before_s": [round(rng.uniform(1.0, 2.0), 3) for _ in range(4)],
    }


async def scenario(context: ScenarioContext) -> None:
    await context.upload(LINEAR)
    context.workers.start(LINEAR.worker(lease_s=LEASE_S), WORKERS)
    await context.workers_joined()
    sampler = CertificateSampler(context.replicas, context.recorder)
    watching = context.spawn(sampler.run())
    context.phase("load")
    done = asyncio.Event()
    tasks = [
        context.spawn(context.load(until(done, context.schedule["starts"]))),
        context.spawn(_newcomers(context, done)),
    ]
    changes: Sequence[tuple[Fault, float]] = (
        (RenewCertificate(), RENEWAL_BOUND_S),
        (RenewCertificate(), RENEWAL_BOUND_S),
        (SpoilCertificate(), SPOILT_S),
        (RenewCertificate(), RENEWAL_BOUND_S),
    )
    for before_s, (change, for_s) in zip(context.schedule["before_s"], changes, strict=True):
        await asyncio.sleep(before_s)
        await context.fault(change)
        await asyncio.sleep(for_s)
        if isinstance(change, SpoilCertificate):
            await observe_metrics(context.replicas, context.recorder)
    watching.cancel()
    await sampler.look(records_all=True)
    done.set()
    await asyncio.gather(*tasks)
    context.phase("drain")
    await context.drain(DRAIN_S)


async def _newcomers(context: ScenarioContext, done: asyncio.Event) -> None:
    """Each opens a connection of its own, over either transport, and goes."""
    rng = context.random("newcomers")
    while not done.is_set():
        if context.started:
            async with context.client() as newcomer:
                await newcomer.get_instance(rng.choice(context.started))
        await asyncio.sleep(NEWCOMER_EVERY_S)


DRILL = Drill(
    id="U11",
    title="The certificate is renewed under load",
    promise="A renewed certificate is used within seconds, and one that cannot be used is not; no call notices either.",
    checks=("CR", "NL", "NP", "LX", "FN", "S1x", "DB", "RT", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "recovery_bound_s": RECOVERY_BOUND_S,
        "renewal_bound_s": RENEWAL_BOUND_S,
        "doors_min": len(DOORS) * REPLICAS,
        "told_by": "windlass_tls_certificate_unusable",
        "duplicates_max": 0,
        "error_statuses_allowed": [],
        "ops_min": 300,
        "faults_min": 4,
    },
    needs=(Certificates,),
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    replicas=REPLICAS,
    tls=True,
    transport="both",
    bound_s=120.0,
)
