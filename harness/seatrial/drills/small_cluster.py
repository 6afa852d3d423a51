"""small-cluster: one worker's way through a small cluster, call by call: what the published harness of such a cluster
tries in its CI. A worker is registered and a workflow started through the balancer, its job is polled at one server,
completed at another, and its end read through the balancer: the lease and the completion are the database's, so no call
needs the server of the call before. Each step has a bound and an error of its own.

Where there is no balancer, its part is the first replica's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from seatrial.client import Answer, RecordingClient
from seatrial.cluster import Replica
from seatrial.cluster.ability import Balancer
from seatrial.cluster.values import engine_variables
from seatrial.drill import Drill
from seatrial.scenario.context import NotReached, ScenarioContext
from seatrial.workload.linear import linear, linear_starts

LINEAR = linear(1)
(JOB_TYPE,) = LINEAR.handlers
WORKER = "worker-small-cluster"
VERSION = "1.2.3"
CAPACITY = 4
ROUNDS = 4
LEASE_S = 30
POLL_WAIT_S = 2.0
#: of one step; each is a call or two, and the machine may be busy
STEP_WITHIN_S = 5.0
DRAIN_S = 10.0
#: path through the balancer -> a field of its answer and the value; None is any
ANSWERS: Mapping[str, tuple[str, str | None]] = {
    "/api/health": ("status", "serving"),
    "/api/ready": ("status", "ready"),
    "/api/cluster/info": ("version", None),
}


def plan(rng: random.Random) -> Mapping[str, Any]:
    return {"starts": linear_starts(rng, 1, ROUNDS)}


async def scenario(context: ScenarioContext) -> None:
    entry = context.replicas[0]
    server_a, server_b = servers = _servers(context)
    async with (
        RecordingClient("client-entry", [entry], context.recorder, context.random("entry")) as client,
        RecordingClient(WORKER, servers, context.recorder, context.random(WORKER)) as worker,
    ):
        await _says_what_it_is(client, entry.name)
        async with _step(f"register a worker through {entry.name}"):
            answer = await client.register_worker(WORKER, [JOB_TYPE], version=VERSION, capacity=CAPACITY)
            _demand(answer, answer.ok, "201 or 200")
        async with _step(f"upload a definition through {entry.name}"):
            answer = await client.upload(LINEAR.definitions[0])
            _demand(answer, answer.ok, "201")
        context.phase("load")
        for start in context.schedule["starts"]:
            async with _step(f"start an instance through {entry.name}"):
                key = f"{context.run_key}/{start.key}"
                answer = await client.start(
                    start.definition_id, {**start.variables, "key": key}, business_key=key
                )
                _demand(answer, answer.ok, "201")
                instance = answer.id
            async with _step(f"poll at {server_a.name}"):
                answer = await worker.poll(
                    WORKER, [JOB_TYPE], max_jobs=1, lease_s=LEASE_S, wait_s=POLL_WAIT_S, replica=server_a.name
                )
                _demand(answer, bool(answer.jobs), "the job of the instance that was started")
            async with _step(f"complete at {server_b.name}"):
                # Refused or not is for the checks to judge.
                await worker.complete(answer.jobs[0], WORKER, replica=server_b.name)
            async with _step(f"read the instance through {entry.name}"):
                answer = await client.get_instance(instance)
                _demand(answer, answer.ok, "200")
        context.phase("drain")
        await context.drain(DRAIN_S)


def _servers(context: ScenarioContext) -> Sequence[Replica]:
    """The first two, with addresses of their own."""
    behind = context.ability(Balancer).servers() if context.cluster.has(Balancer) else context.replicas
    return behind[:2]


async def _says_what_it_is(client: RecordingClient, entry: str) -> None:
    for path, (field, wanted) in ANSWERS.items():
        async with _step(f"GET {path} through {entry}"):
            answer = await client.probe(entry, path)
            found = answer.body.get(field) if isinstance(answer.body, dict) else None
            _demand(
                answer,
                found == wanted if wanted else bool(found),
                f"{field} {wanted or 'that says something'}",
            )


@asynccontextmanager
async def _step(what: str) -> AsyncIterator[None]:
    """Raises NotReached that names the step: when it takes too long, and when an answer is not what it has to be."""
    limit = asyncio.timeout(STEP_WITHIN_S)
    try:
        async with limit:
            yield
    except TimeoutError as err:
        if not limit.expired():
            raise
        raise NotReached(f"{what}: not within {STEP_WITHIN_S:g} s") from err
    except _Unexpected as err:
        raise NotReached(f"{what}: {err}") from None


class _Unexpected(Exception):
    """An answer with which the story cannot go on."""


def _demand(answer: Answer, is_there: bool, wanted: str) -> None:
    if not is_there:
        said = " ".join(str(answer.message or answer.body).split())
        raise _Unexpected(f"{answer.node} answered {answer.status} ({said}), and it had to be {wanted}")


DRILL = Drill(
    id="small-cluster",
    title="Polled at one server, completed at another, the rest through the balancer",
    promise="No call needs the server of the call before (contract 10.3): a lease of one is completed at another.",
    checks=("NL", "NP", "LX", "FN", "S1x", "LV", "AV"),
    plan=plan,
    scenario=scenario,
    parameters={
        "lease_s": LEASE_S,
        "lease_sweep_interval_s": 1,
        "error_statuses_allowed": [],
        "ops_min": ROUNDS,
        "circumstances_min": {"leases_completed_elsewhere": ROUNDS},
    },
    values=engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1, WINDLASS_TIMER_SWEEP_SECONDS=1),
    replicas=2,
    core=True,
    on_compose=True,
    entrance="service",
    bound_s=60.0,
)
