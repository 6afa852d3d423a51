"""Contract 6.4 on real processes: the leader is killed, or stopped in its tracks, and another one goes on."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Sequence

import pytest
from engine_client import EngineClient
from engine_process import EngineProcess, RunWindlass
from workflow import END, document, service

from kafka_broker import KafkaBroker
from kafka_broker import variables as broker_variables
from patience import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("kafka"),
    pytest.mark.asyncio(loop_scope="session"),
]

Node = tuple[EngineProcess, EngineClient]


async def pair(windlass: RunWindlass, dsn: str, broker: KafkaBroker) -> tuple[Node, Node, str]:
    """The leader, a standby and a topic with a definition that needs it."""
    job_type = secrets.token_hex(4)
    await broker.create(f"workflow.jobs.{job_type}")
    variables = {"WE_POSTGRES_DSN": dsn, **broker_variables(broker.kafka_values(secured=False))}
    leader = await windlass.serving(**variables, WINDLASS_NODE_NAME="leader")
    standby = await windlass.serving(**variables, WINDLASS_NODE_NAME="standby")
    body = document("d") | {"steps": [service("a") | {"jobType": job_type}, END]}
    assert (await leader[1].post("/v1/definitions", body)).status == 201
    return leader, standby, f"workflow.jobs.{job_type}"


async def start(engine: EngineClient, count: int) -> set[str]:
    answers = [await engine.post("/v1/instances", {"definitionId": "d"}) for _ in range(count)]
    assert {answer.status for answer in answers} == {201}
    return {answer.json["id"] for answer in answers}


async def leads(engine: EngineClient) -> bool:
    return "workflow_engine_dispatch_relay_leader 1.0" in await engine.metrics()


async def instances_on(broker: KafkaBroker, topic: str) -> Sequence[str]:
    return [record.key.decode() for record in await broker.records_of(topic)]


async def test_a_killed_leader_is_followed_at_once(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker
) -> None:
    (leader, at_leader), (standby, at_standby), topic = await pair(windlass, dsn, broker)
    assert (await leads(at_leader), await leads(at_standby)) == (True, False)
    before = await start(at_leader, 20)
    leader.send(signal.SIGKILL)
    killed_at_s = time.monotonic()
    await standby.until_logged("dispatch: became relay leader")
    assert time.monotonic() - killed_at_s < 2.5, "sooner than the dead leader's term of 3 s"
    after = await start(at_standby, 5)

    async def all_there() -> bool:
        return before | after == set(await instances_on(broker, topic))

    await eventually(all_there)
    assert await leads(at_standby)


async def test_a_stopped_leader_is_followed_within_its_term_and_finds_itself_deposed(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker
) -> None:
    (leader, at_leader), (standby, at_standby), topic = await pair(windlass, dsn, broker)
    before = await start(at_leader, 5)
    leader.send(signal.SIGSTOP)
    stopped_at_s = time.monotonic()
    after = await start(at_standby, 5)
    await standby.until_logged("dispatch: became relay leader")
    assert time.monotonic() - stopped_at_s < 5

    async def all_there() -> bool:
        return before | after == set(await instances_on(broker, topic))

    await eventually(all_there)
    leader.send(signal.SIGCONT)
    await leader.until_logged("dispatch: no longer relay leader")
    assert (await leads(at_leader), await leads(at_standby)) == (False, True)
    later = await start(at_leader, 5)

    async def later_ones_too() -> bool:
        return before | after | later == set(await instances_on(broker, topic))

    await eventually(later_ones_too)
    by_epoch = {record.headers["leader-epoch"] for record in await broker.records_of(topic)}
    assert by_epoch <= {b"1", b"2"}
    assert leader.log(msg="dispatch: became relay leader")[-1]["epoch"] == 1, "it did not take the lead back"


async def test_an_api_node_leaves_the_relay_to_a_scheduler(
    windlass: RunWindlass, dsn: str, broker: KafkaBroker
) -> None:
    """Contract 6.5: `api` takes calls, `serve` and `scheduler` dispatch."""
    job_type = secrets.token_hex(4)
    topic = f"workflow.jobs.{job_type}"
    await broker.create(topic)
    variables = {"WE_POSTGRES_DSN": dsn, **broker_variables(broker.kafka_values(secured=False))}
    process, api = await windlass.serving("api", **variables, WINDLASS_NODE_NAME="api")
    body = document("d") | {"steps": [service("a") | {"jobType": job_type}, END]}
    assert (await api.post("/v1/definitions", body)).status == 201
    started = await start(api, 5)

    async def all_wait() -> bool:
        return "workflow_engine_dispatch_outbox_backlog 5.0" in await api.metrics()

    await eventually(all_wait)
    assert not await leads(api)
    await windlass.serving("scheduler", **variables, WINDLASS_NODE_NAME="scheduler")

    async def all_there() -> bool:
        return started == set(await instances_on(broker, topic))

    await eventually(all_there)
    assert "[dispatch] all topics present" in [line["msg"] for line in process.log()]
    assert not [line for line in process.log() if "relay" in line["msg"]]
