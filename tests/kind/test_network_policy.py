"""The chart's network policy on a network that enforces it: what it allows works, what it does not allow does not.

A policy that refuses nothing looks like one that works, so each way is also tried without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from python_pod import PythonPod
from trial_namespace import a_namespace

from patience import eventually
from seatrial.cluster.kind.release import Release
from seatrial.cluster.kind.replica_slots import CONTAINER
from seatrial.cluster.kind.server import NAME as DATABASE
from seatrial.cluster.kind.shared import SharedServices
from seatrial.render import default_chart

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

WITHIN_S = 180
ENFORCED_WITHIN_S = 30.0
ROLES = ("client", "scraper", "stranger")
REST, GRPC, METRICS = 8080, 9090, 9091
DATABASE_PORT, OTHER_PORT = 5432, 8000

#: arguments: protocol, host, port; prints what came of it
TRY = """
import socket, sys, urllib.request
protocol, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
try:
    if protocol == "http":
        with urllib.request.urlopen(f"http://{host}:{port}/metrics" if port == 9091 else f"http://{host}:{port}/ready",
                                    timeout=3) as answer:
            print("open" if answer.status == 200 else answer.status)
    else:
        with socket.create_connection((host, port), timeout=3) as made:
            if protocol == "http2":  # the preface and empty settings; a server answers with its own
                made.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
                frame = made.recv(9)
                print("open" if len(frame) == 9 and frame[3] == 4 else frame)
            else:
                print("open")
except OSError as err:
    print("shut", type(err).__name__)
"""
#: arguments: ports
LISTEN = """
import socket, sys, signal
held = [socket.create_server(("", port)) for port in (5432, 8000)]
signal.pause()
"""


@dataclass(frozen=True)
class Situation:
    """A release in one namespace; callers, and a listener that is no database, in another."""

    shared: SharedServices
    namespace: str
    values: Mapping[str, Any]
    release: Release
    callers: Mapping[str, PythonPod]
    listener: PythonPod
    elsewhere: str

    async def incoming(self, role: str) -> dict[str, bool]:
        """Which of the engine's doors open to a caller."""
        ways = {"rest": ("http", REST), "grpc": ("http2", GRPC), "metrics": ("http", METRICS)}
        pod = (await self.shared.kube.list("Pod", self.namespace, labels=self.release.labels))[0]
        host = pod["status"]["podIP"]
        said = await asyncio.gather(
            *(self.callers[role].run(TRY, protocol, host, str(port)) for protocol, port in ways.values())
        )
        return {name: _is_open(text) for name, text in zip(ways, said, strict=True)}

    async def outgoing(self) -> dict[str, bool]:
        """What an engine's pod can reach."""
        pod = (await self.shared.kube.list("Pod", self.namespace, labels=self.release.labels))[0]
        database = f"{DATABASE}.{self.shared.server.namespace}.svc.cluster.local"
        ways = {
            "database": (database, DATABASE_PORT),
            "another host on the database's port": (self.listener.address, DATABASE_PORT),
            "another port": (self.listener.address, OTHER_PORT),
            "the cluster's API": ("kubernetes.default.svc.cluster.local", 443),
        }
        said = await asyncio.gather(
            *(
                self.shared.kube.execute(
                    self.namespace, pod["metadata"]["name"], CONTAINER,
                    ["python3", "-c", TRY, "tcp", host, str(port)],
                )
                for host, port in ways.values()
            )
        )  # fmt: skip
        return {name: _is_open(text) for name, text in zip(ways, said, strict=True)}

    async def enforce(self) -> None:
        """Returns when the network knows the policy."""
        await self.release.upgrade({**self.values, "networkPolicy": self.policy()}, within_s=WITHIN_S)

        async def strangers_stay_out() -> bool:
            return not any((await self.incoming("stranger")).values())

        await eventually(strangers_stay_out, ENFORCED_WITHIN_S)

    def policy(self) -> dict[str, Any]:
        def pods_of(namespace: str, **labels: str) -> dict[str, Any]:
            named = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
            return {"namespaceSelector": named, "podSelector": {"matchLabels": labels}}

        return {
            "enabled": True,
            "apiFrom": [pods_of(self.elsewhere, role="client")],
            "metricsFrom": [pods_of(self.elsewhere, role="scraper")],
            "databaseTo": [pods_of(self.shared.server.namespace, app=DATABASE)],
        }


def _is_open(said: str) -> bool:
    assert said.split(maxsplit=1)[0] in {"open", "shut"}, said
    return said.strip() == "open"


@pytest_asyncio.fixture(loop_scope="session")
async def situation(shared: SharedServices, image: str) -> AsyncIterator[Situation]:
    async with AsyncExitStack() as stack:
        namespace, values = await stack.enter_async_context(a_namespace(shared))
        elsewhere, _ = await stack.enter_async_context(a_namespace(shared))
        callers = {role: PythonPod(shared.kube, elsewhere, role, image) for role in ROLES}
        listener = PythonPod(shared.kube, elsewhere, "listener", image)
        release = Release(shared.access, namespace, default_chart())
        await asyncio.gather(
            release.install(values, within_s=WITHIN_S),
            listener.start(LISTEN),
            *(caller.start() for caller in callers.values()),
        )
        yield Situation(shared, namespace, values, release, callers, listener, elsewhere)


async def test_it_lets_in_who_is_named_and_lets_out_to_the_database(situation: Situation) -> None:
    for role in ROLES:
        assert all((await situation.incoming(role)).values()), "without a policy everybody comes in"
    assert all((await situation.outgoing()).values()), "without a policy everything can be reached"

    await situation.enforce()
    assert await situation.incoming("client") == {"rest": True, "grpc": True, "metrics": False}
    assert await situation.incoming("scraper") == {"rest": False, "grpc": False, "metrics": True}
    assert await situation.incoming("stranger") == {"rest": False, "grpc": False, "metrics": False}
    assert await situation.outgoing() == {
        "database": True,
        "another host on the database's port": False,
        "another port": False,
        "the cluster's API": False,
    }

    # The migration's pod and one that starts under the policy find their database, and `helm test` finds the latter.
    restarted = {
        "podAnnotations": {"example.com/revision": "2"},
        "networkPolicy": situation.policy(),
        "migrations": {"enabled": True},
    }
    await situation.release.upgrade({**situation.values, **restarted}, within_s=WITHIN_S)
    assert "one SERVICE_TASK, completed" in await situation.release.test(within_s=60)
