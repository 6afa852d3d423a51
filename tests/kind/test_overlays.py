"""The overlays in values/, installed by the commands in their first lines as they stand; and what they promise."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from kafka_consumer import a_kafka_worker
from typed_shell import DATABASE_SECRET, ROOT, Shell, blocks, head, of_notes

from patience import eventually
from seatrial.cluster.kafka.pod import KafkaPod
from seatrial.cluster.kind.shared import SharedServices
from seatrial.workload import Handler
from seatrial.workload.linear import linear
from windlass_client import Client, Instance

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

OF_POLLING = ("small-cluster.yaml", "production.yaml", "rochallor.yaml")
OF_KAFKA = ("kafka.yaml", "mixed.yaml")
PARCEL = linear(1, name="parcel", handler=Handler(echo={"answered": "asked"}))
SENT_WITHIN_S, ENDED_WITHIN_S = 20.0, 60.0
ROLLED_OUT = "kubectl rollout status deployment/{} --timeout 180s"


async def test_every_overlay_is_installed_here() -> None:
    assert {path.name for path in (ROOT / "values").glob("*.yaml")} == {*OF_POLLING, *OF_KAFKA}


@pytest.mark.parametrize("overlay", OF_POLLING)
async def test_an_overlay_installs_by_its_own_command(shell: Shell, overlay: str) -> None:
    shell.type_each([DATABASE_SECRET, *head(overlay)])
    assert "successfully rolled out" in shell.type(ROLLED_OUT.format("windlass"))
    assert shell.type("kubectl get deployment windlass -o jsonpath='{.status.readyReplicas}'") == "3"


async def test_jobs_travel_through_kafka_by_scram_over_tls(
    shell: Shell, broker: KafkaPod, tmp_path: Path
) -> None:
    shell = shell.knowing_brokers(broker.secured())
    await broker.create_destinations(PARCEL.job_types())
    shell.type_each([DATABASE_SECRET, *head("kafka.yaml")])
    told = "".join(shell.type_each(of_notes(shell.type("helm get notes windlass"))))
    assert "successfully rolled out" in told
    assert "Succeeded" in told
    log = shell.type("kubectl logs deployment/windlass")
    assert "[dispatch] TLS handshake ok" in log
    assert f"[dispatch] SASL auth ok as user={broker.secured().username}" in log
    with shell.reached("service/windlass") as url:
        await sent_by_kafka(url, broker, tmp_path)


async def test_a_missing_ca_and_a_wrong_password_are_told_and_mended(shell: Shell, broker: KafkaPod) -> None:
    door = broker.secured()
    shell = shell.knowing_brokers(door, password="somebody-else-s")
    login, authority, install = head("kafka.yaml")
    shell.type_each([DATABASE_SECRET, login, install])
    await shell.until("kubectl describe pods -l windlass/serves=api", 'secret "windlass-kafka-ca" not found')
    shell.type(authority)
    said = await shell.until("kubectl logs -l windlass/serves=api --tail=50", "engine: fatal")
    assert f"SASL authentication of user {door.username} by SCRAM-SHA-512 failed" in said
    assert "check WE_KAFKA_SASL_USERNAME, WE_KAFKA_SASL_PASSWORD" in said
    assert "somebody-else-s" not in said
    shell.knowing_brokers(door)
    shell.type_each(["kubectl delete secret windlass-kafka", login])
    shell.type_each(["kubectl rollout restart deployment/windlass", ROLLED_OUT.format("windlass")])


async def test_a_second_release_hands_the_first_one_s_jobs_to_kafka(
    shell: Shell, broker: KafkaPod, tmp_path: Path
) -> None:
    shell = shell.knowing_brokers(broker.secured())
    await broker.create_destinations(PARCEL.job_types())
    *secrets, _ = head("kafka.yaml")
    shell.type_each([DATABASE_SECRET, *head("small-cluster.yaml"), ROLLED_OUT.format("windlass")])
    shell.type_each([*secrets, *head("mixed.yaml"), ROLLED_OUT.format("windlass-outbox")])
    assert "Succeeded" in shell.type("helm test windlass-outbox")
    with shell.reached("service/windlass") as polled, shell.reached("service/windlass-outbox") as outbox:
        await travels_both_ways(polled, outbox, broker, tmp_path)


async def test_the_pools_of_the_readme_stand_behind_one_service(
    shell: Shell, shared: SharedServices, broker: KafkaPod, image: str, tmp_path: Path
) -> None:
    """Its second pool is the next release, as the drills have it."""
    next_image = f"{image}-next"
    await shared.load([next_image])
    await broker.create_destinations(PARCEL.job_types())
    shell = shell.knowing_brokers(broker.secured())
    shell.hold("pools.yaml", blocks("Pools", "yaml").replace('"0.2.0"', f'"{next_image.rpartition(":")[2]}"'))
    *secrets, install = head("kafka.yaml")
    pooled = install.replace("-f values/kafka.yaml", "-f pools.yaml --set kafka.transport=sasl_scram_tls")
    shell.type_each([DATABASE_SECRET, *secrets, pooled])
    names = ("windlass", "windlass-outbox", "windlass-next")
    shell.type_each([ROLLED_OUT.format(name) for name in names])
    behind = shell.type(
        "kubectl get endpointslices -l kubernetes.io/service-name=windlass"
        " -o jsonpath='{.items[*].endpoints[?(@.conditions.ready==true)].targetRef.name}'"
    ).split()
    of_pools = [pod for pod in behind if pod.startswith(names[1:])]
    assert (len(behind), len(of_pools)) == (4, 3), behind
    assert sum(pod.startswith("windlass-outbox") for pod in of_pools) == 2
    with (
        shell.reached("deployment/windlass") as polled,
        shell.reached("deployment/windlass-outbox") as outbox,
    ):
        await travels_both_ways(polled, outbox, broker, tmp_path)


async def sent_by_kafka(url: str, broker: KafkaPod, folder: Path) -> None:
    """One instance whose only job comes out of its topic and is answered by who read it there."""
    async with Client(url) as client, a_kafka_worker(PARCEL, url, broker, folder):
        await client.upload(PARCEL.definitions[0])
        started = await client.start("parcel-1", {"asked": 7})
        ended = await client.wait_for_end(started.id, timeout_s=ENDED_WITHIN_S)
    assert (ended.status, ended.variables["answered"]) == ("COMPLETED", 7)
    assert await is_sent(broker, started)


async def is_sent(broker: KafkaPod, instance: Instance) -> bool:
    records = await broker.records()
    return any(record.event is not None and record.event.instance_id == instance.id for record in records)


async def travels_both_ways(polled: str, outbox: str, broker: KafkaPod, folder: Path) -> None:
    """A polling engine's job is polled and never sent; the other's is sent, and can be polled all the same."""
    (job_type,) = PARCEL.handlers
    async with Client(polled) as of_polling, Client(outbox) as of_kafka:
        await of_polling.upload(PARCEL.definitions[0])
        first = await of_polling.start("parcel-1", {"asked": 1})
        (job,) = await of_polling.poll("me", [job_type], wait_s=10)
        await of_polling.complete(job, {"answered": "by a poller"})
        assert (await of_kafka.get(first.id)).status == "COMPLETED"
        assert not await broker.records()

        second = await of_kafka.start("parcel-1", {"asked": 2})
        await eventually(partial(is_sent, broker, second), SENT_WITHIN_S, every_s=0.1)
        (job,) = await of_polling.poll("me", [job_type], wait_s=10)
        assert job.instance_id == second.id
        await of_polling.complete(job, {"answered": "by a poller"})
    await sent_by_kafka(outbox, broker, folder)
    async with Client(outbox) as of_kafka:
        # The worker got the second one's job as well, late, and was refused.
        assert (await of_kafka.get(second.id)).variables["answered"] == "by a poller"
