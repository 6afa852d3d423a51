"""Which pods are found, and what of their output belongs to which run of a place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from seatrial.cluster.kind.kube import Kube
from seatrial.cluster.kind.release import RELEASE, serving
from seatrial.cluster.kind.replica_slots import ReplicaSlots
from seatrial.render import default_chart, render_chart

POOLS = [{"name": "night", "replicas": 1}, {"name": "bulk", "replicas": 2}]
VALUES = {"pools": POOLS, "migrations": {"enabled": True}, "postgresql": {"existingSecret": "database"}}
WANTED = dict(each.split("=") for each in serving(RELEASE).split(","))
WITHIN_S = 10.0


def test_the_pods_of_every_pool_are_found_and_no_jobs() -> None:
    rendered = render_chart(default_chart(), VALUES)
    found = {
        (each["kind"], each["metadata"]["name"])
        for kind in ("Deployment", "Job")
        for each in rendered.of_kind(kind)
        if WANTED.items() <= each["spec"]["template"]["metadata"]["labels"].items()
    }
    assert rendered.of_kind("Job")
    assert found == {("Deployment", f"windlass{suffix}") for suffix in ("", "-night", "-bulk")}


def test_they_are_the_services_own() -> None:
    rendered = render_chart(default_chart(), VALUES)
    for service in rendered.of_kind("Service"):
        assert WANTED.items() <= service["spec"]["selector"].items()


class TwoPods:
    """An API with one pod and its heir; the first still speaks for a while after the second has begun."""

    def __init__(self) -> None:
        self.pods = [pod("old")]
        self.old_ends = asyncio.Event()

    async def list(self, kind: str, namespace: str, *, labels: str) -> list[dict[str, Any]]:
        assert (kind, namespace, labels) == ("Pod", "trial", "any")
        return self.pods

    async def patch(self, kind: str, name: str, change: object, namespace: str) -> None:
        """Labels are of no interest here."""

    async def log_lines(self, _namespace: str, name: str, _container: str) -> AsyncIterator[bytes]:
        yield f"{name} begins\n".encode()
        if name == "old":
            await self.old_ends.wait()
            yield b"old ends\n"


def pod(name: str, **metadata: str) -> dict[str, Any]:
    status = {"name": "engine", "state": {"running": {}}, "restartCount": 0}
    return {
        "metadata": {"name": name, "uid": name, **metadata},
        "spec": {"containers": [{"name": "engine", "image": "windlass"}]},
        "status": {"containerStatuses": [status]},
    }


async def until(slots: ReplicaSlots, text: str) -> None:
    async with asyncio.timeout(WITHIN_S):
        while text not in slots.log_path("replica-0").read_text():
            await slots.change()


async def test_a_pods_lines_begin_when_those_of_its_forerunner_have_ended(tmp_path: Path) -> None:
    api = TwoPods()
    slots = ReplicaSlots(cast("Kube", api), "trial", ["replica-0"], tmp_path, labels="any")
    slots.open()
    try:
        await until(slots, "old begins")
        assert slots.run_began_at("replica-0") == 0
        api.pods = [pod("old", deletionTimestamp="now"), pod("new")]
        async with asyncio.timeout(WITHIN_S):
            while (heir := slots.pod("replica-0")) is None or heir.name != "new":
                await slots.change()
        assert slots.run_began_at("replica-0") is None
        api.old_ends.set()
        await until(slots, "new begins")
        assert slots.run_began_at("replica-0") == len("old begins\nold ends\n")
    finally:
        await slots.close()
    assert slots.log_path("replica-0").read_text() == "old begins\nold ends\nnew begins\n"
