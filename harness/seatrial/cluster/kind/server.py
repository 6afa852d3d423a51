"""PostgreSQL in the cluster: one pod with a volume, which the drills of a run share, each with a database of its own.

The harness connects as the superuser through a port of the nodes, the engine through the Service with a role and a
password of its own. fsync is on. The containers share one process namespace, so that the postmaster can be killed as
in a crash: in its own namespace it would be process 1, which no signal from inside can kill.
"""

from __future__ import annotations

import secrets
from typing import Any, Literal
from urllib.parse import quote

import psycopg
from psycopg import sql

from seatrial.cluster import ClusterError
from seatrial.cluster.kind.kube import CommandFailed, Kube, Object
from seatrial.deadline import Deadline

ENGINE_ROLE = "windlass"
NAME = "postgres"
READY_WITHIN_S = 180.0
GONE_WITHIN_S = 60.0
MAX_CONNECTIONS = 200
_PORT = 5432
_CONNECT_TIMEOUT_S = 3
_LOOK_INTERVAL_S = 0.1
_FOLDER = "/var/lib/postgresql/data"
#: all with one call, since the script ends with the first process of its container
_KILL_ALL = """
pids=$(for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" != postgres ] || echo ${p#/proc/}; done)
kill -9 $pids
"""
#: of a process that SIGKILL ended
_KILLED = 137


class PostgresPod:
    """`start` ... `close`. `address` is the nodes', where its port is found."""

    def __init__(self, kube: Kube, *, image: str, address: str) -> None:
        self._kube = kube
        self._image = image
        self._address = address
        self.namespace = f"seatrial-{secrets.token_hex(4)}"
        self._superuser_password = secrets.token_urlsafe(18)
        self._engine_password = secrets.token_urlsafe(18)
        self._old_password: str | None = None
        self._port = 0
        self._cluster_ip = ""
        self._is_made = False

    async def start(self) -> None:
        """Returns when it answers a query. Nothing happens when it does already."""
        if not self._is_made:
            await self._make()
        elif not await self._pods():
            await self._scale(1)
        await self._until_answers()

    async def close(self) -> None:
        if self._is_made:
            self._is_made = False
            await self._kube.delete("Namespace", self.namespace)

    async def stop(self) -> None:
        """A fast shutdown; returns when the pod is gone. `start` brings it back with its data."""
        await self._scale(0)
        async for _ in Deadline(GONE_WITHIN_S).attempts(_LOOK_INTERVAL_S):
            if not await self._pods():
                return
        raise ClusterError(f"PostgreSQL in {self.namespace} still runs {GONE_WITHIN_S:g} s after its end")

    async def crash(self) -> None:
        """SIGKILL to every process of it; its kubelet starts it again, and recovery follows."""
        pods = await self._pods()
        if not pods:
            raise ClusterError("the database does not run; start it before crashing it")
        try:
            await self._kube.execute(
                self.namespace, pods[0]["metadata"]["name"], NAME, ["bash", "-c", _KILL_ALL]
            )
        except CommandFailed as err:
            # It ran in the container that it ended, so it may have been killed with it.
            if err.exit_code != _KILLED:
                raise

    def dsn(self, database: str = "postgres") -> str:
        """The superuser's, from outside the cluster. Holds the password."""
        return f"postgresql://postgres:{self._superuser_password}@{self._address}:{self._port}/{database}"

    def engine_dsn(self, database: str) -> str:
        """The engine's, from inside the cluster. Holds the password."""
        known = quote(self._engine_password, safe="")
        where = f"{NAME}.{self.namespace}.svc.cluster.local:{_PORT}"
        return f"postgresql://{ENGINE_ROLE}:{known}@{where}/{database}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any report."""
        old = () if self._old_password is None else (self._old_password,)
        return (self._superuser_password, self._engine_password, *old)

    async def rotate_engine_password(self) -> None:
        """Changes the password; the engine's DSN has the new one from now on. Open connections stay open."""
        self._old_password, self._engine_password = self._engine_password, secrets.token_urlsafe(18)
        await self._set_engine_password("ALTER")

    async def opens_with_old_password(self) -> bool:
        try:
            connection = await psycopg.AsyncConnection.connect(
                host=self._address, port=self._port, dbname="postgres", user=ENGINE_ROLE,
                password=self._old_password, connect_timeout=_CONNECT_TIMEOUT_S,
            )  # fmt: skip
        except psycopg.OperationalError as err:
            if "password authentication failed" in str(err):
                return False
            raise ClusterError(f"PostgreSQL neither takes the old password nor refuses it: {err}") from None
        await connection.close()
        return True

    @property
    def inside(self) -> str:
        """host:port of it as a pod sees it."""
        return f"{self._cluster_ip}:{_PORT}"

    async def create_database(self, name: str) -> None:
        await self._execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(ENGINE_ROLE))
        )

    async def drop_database(self, name: str) -> None:
        await self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    async def _make(self) -> None:
        self._is_made = True
        await self._kube.apply(*_objects(self.namespace, self._image, self._superuser_password))
        service = await self._kube.get("Service", NAME, self.namespace)
        self._port = int(service["spec"]["ports"][0]["nodePort"])
        self._cluster_ip = service["spec"]["clusterIP"]
        await self._until_answers()
        await self._set_engine_password("CREATE")

    async def _set_engine_password(self, verb: Literal["CREATE", "ALTER"]) -> None:
        await self._execute(
            sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                sql.SQL(verb), sql.Identifier(ENGINE_ROLE), sql.Literal(self._engine_password)
            )
        )

    async def _until_answers(self) -> None:
        cause = ""
        async for _ in Deadline(READY_WITHIN_S).attempts(_LOOK_INTERVAL_S):
            try:
                await self._execute(sql.SQL("SELECT 1"))
            except psycopg.OperationalError as err:
                cause = str(err).strip().splitlines()[0]
            else:
                return
        raise ClusterError(
            f"PostgreSQL ({self._image}) at {self._address}:{self._port} does not answer in "
            f"{READY_WITHIN_S:g} s: {cause}; its pod is {await self._state()}. The nodes' addresses must be "
            "reachable from here, and the image be pullable or SEATRIAL_POSTGRES_IMAGE name one that is"
        )

    async def _state(self) -> str:
        pods = await self._pods()
        if not pods:
            return "not there"
        statuses = pods[0].get("status", {}).get("containerStatuses") or [{}]
        waiting = (statuses[0].get("state") or {}).get("waiting") or {}
        return str(waiting.get("reason") or pods[0]["status"].get("phase"))

    async def _scale(self, replicas: int) -> None:
        await self._kube.patch("StatefulSet", NAME, {"spec": {"replicas": replicas}}, self.namespace)

    async def _pods(self) -> list[Object]:
        return await self._kube.list("Pod", self.namespace, labels=f"app={NAME}")

    async def _execute(self, statement: sql.SQL | sql.Composed) -> None:
        async with await psycopg.AsyncConnection.connect(
            self.dsn(), autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S
        ) as connection:
            await connection.execute(statement)


async def node_address(kube: Kube) -> str:
    """Where the ports of the nodes are found from outside; raises ClusterError when the cluster has none."""
    for node in await kube.list("Node"):
        addresses = {each["type"]: each["address"] for each in node["status"].get("addresses", ())}
        if found := addresses.get("ExternalIP") or addresses.get("InternalIP"):
            return str(found)
    raise ClusterError("no node of the cluster has an address; look at `kubectl get nodes -o wide`")


def _objects(namespace: str, image: str, password: str) -> list[Object]:
    def named(kind: str, spec: dict[str, Any], version: str = "v1") -> Object:
        metadata = {"name": NAME, "namespace": namespace, "labels": {"app": NAME}}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, **spec}

    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        named("Secret", {"stringData": {"password": password}}),
        named(
            "Service",
            {"spec": {"type": "NodePort", "selector": {"app": NAME}, "ports": [{"port": _PORT}]}},
        ),
        named(
            "StatefulSet",
            {
                "spec": {
                    "serviceName": NAME,
                    "replicas": 1,
                    "selector": {"matchLabels": {"app": NAME}},
                    "template": {"metadata": {"labels": {"app": NAME}}, "spec": _pod(image)},
                    "volumeClaimTemplates": [
                        {
                            "metadata": {"name": "data"},
                            "spec": {
                                "accessModes": ["ReadWriteOnce"],
                                "resources": {"requests": {"storage": "2Gi"}},
                            },
                        }
                    ],
                }
            },
            "apps/v1",
        ),
    ]


def _pod(image: str) -> Object:
    settings = {"max_connections": MAX_CONNECTIONS, "shared_buffers": "128MB", "jit": "off"}
    secret = {"secretKeyRef": {"name": NAME, "key": "password"}}
    return {
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": 20,
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "containers": [
            {
                "name": NAME,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "args": [word for name, value in settings.items() for word in ("-c", f"{name}={value}")],
                "env": [
                    {"name": "POSTGRES_PASSWORD", "valueFrom": secret},
                    {"name": "PGDATA", "value": f"{_FOLDER}/pgdata"},
                ],
                "ports": [{"containerPort": _PORT}],
                "volumeMounts": [{"name": "data", "mountPath": _FOLDER}],
            }
        ],
    }
