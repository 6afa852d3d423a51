"""Two PostgreSQL servers under Patroni, with etcd, all of this machine: a real failover manager decides who is primary.

Debian's programs, started here as processes of the harness's own, on loopback, in a folder that goes with them; their
packages' services are not needed. Replication is synchronous: Patroni promotes a standby that has every commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import psycopg
import yaml
from psycopg import sql

from seatrial.cluster import ClusterError, family
from seatrial.cluster.installation import install, short_folder
from seatrial.cluster.port import Ports
from seatrial.cluster.postgres import ENGINE_ROLE, release_shared_memory
from seatrial.cluster.process import Process, tail
from seatrial.cluster.reaper import Reaper
from seatrial.cluster.servers import SERVERS, Debian
from seatrial.cluster.startable import Startable
from seatrial.deadline import until, until_passes

#: the PostgreSQL that Debian's Patroni is made for
_SERVER = next(server for server in SERVERS.values() if isinstance(server, Debian))
READY_WITHIN_S = 60.0
FAILED_OVER_WITHIN_S = 60.0
KILLED_WITHIN_S = 10.0
#: A leader that does not renew its key loses it after TTL_S. Etcd and both nodes share a busy machine with the load.
TTL_S = 6
LOOP_WAIT_S = 1
RETRY_TIMEOUT_S = 2
_LOOK_INTERVAL_S = 0.02
_ASKED_WITHIN_S = 2.0
_ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def need() -> str | None:
    """What is to be installed before it can run; None when nothing is lacking."""
    programs = {
        "patroni": ("patroni", "python3-etcd"),
        "etcd": ("etcd-server",),
        str(_SERVER.bin / "postgres"): (f"postgresql-{_SERVER.major}",),
    }
    lacking = [package for name, packages in programs.items() if _found(name) is None for package in packages]
    return f"Patroni and etcd (apt-get install {' '.join(lacking)})" if lacking else None


def _found(name: str) -> str | None:
    return shutil.which(name, path="/usr/bin:/usr/local/bin:/usr/sbin")


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    port: int
    rest_port: int
    folder: Path
    process: Process

    @property
    def data_folder(self) -> Path:
        return self.folder / "data"


class Patroni(Startable):
    """`start` ... `close`. `password` is the engine role's, which the first start makes."""

    def __init__(self, log_folder: Path, *, password: str) -> None:
        self._log_folder = log_folder
        self._password = password
        self._ports = Ports()
        self._reaper: Reaper | None = None
        self._folder: Path | None = None
        self._etcd: Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self.nodes: Sequence[Node] = ()

    async def start(self) -> None:
        """Returns when one node is primary and the other its synchronous standby. Raises ClusterError."""
        if lacking := need():
            raise ClusterError(f"a failover manager cannot be started; it needs {lacking}")
        await self._prepare()
        assert self._etcd is not None
        self._etcd.start()
        await self._until_says(self._etcd, self._etcd_port, "/health", "etcd does not answer")
        first, second = self.nodes
        first.process.start()
        await self._until_says(first.process, first.rest_port, "/primary", f"{first.name} is not primary")
        second.process.start()
        await self._until_says(
            second.process, second.rest_port, "/synchronous", f"{second.name} is no synchronous standby"
        )
        async with await self._connect() as connection:
            verifier = connection.pgconn.encrypt_password(
                self._password.encode(), ENGINE_ROLE.encode(), b"scram-sha-256"
            )
            await connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(ENGINE_ROLE), sql.Literal(verifier.decode())
                )
            )

    async def create_database(self, name: str) -> None:
        """Owned by the engine's role."""
        async with await self._connect() as connection:
            await connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(name), sql.Identifier(ENGINE_ROLE)
                )
            )

    def dsn(self, database: str = "postgres") -> str:
        """The superuser's at whichever node is primary, over Unix sockets; holds no secret."""
        where = {
            "host": ",".join(str(self._sockets) for _ in self.nodes),
            "port": ",".join(str(node.port) for node in self.nodes),
            "target_session_attrs": "read-write",
        }
        return f"postgresql://postgres@/{quote(database)}?{urlencode(where, quote_via=quote)}"

    def engine_dsn(self, database: str) -> str:
        """The engine role's, with the addresses of both nodes. Holds the password: never log it."""
        where = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        who = f"{ENGINE_ROLE}:{quote(self._password)}"
        return f"postgresql://{who}@{where}/{quote(database)}?sslmode=disable&target_session_attrs=read-write"

    async def leader(self) -> Node | None:
        """The node that holds the leader's key and is primary, by its own word; None while there is none."""
        for node in self.nodes:
            if node.process.running and await self._status(node.rest_port, "/primary") == 200:
                return node
        return None

    async def until_led(self) -> Node:
        """Raises ClusterError when no node leads in time."""
        return await until(
            self.leader,
            within_s=FAILED_OVER_WITHIN_S,
            every_s=_LOOK_INTERVAL_S,
            otherwise=lambda: ClusterError(
                f"no node leads after {FAILED_OVER_WITHIN_S:g} s; see {self._log_folder}"
            ),
        )

    async def kill_leader(self) -> Node:
        """SIGKILL to the leader's Patroni, its server and every process of both; they stay down."""
        node = await self.until_led()
        await node.process.stop(KILLED_WITHIN_S)
        return node

    async def until_takes_writes(self) -> None:
        """Returns at the first write of ours that a primary commits. Raises ClusterError."""

        async def refusal() -> str | None:
            try:
                async with asyncio.timeout(_ASKED_WITHIN_S), await self._connect() as connection:
                    await connection.execute("SELECT pg_logical_emit_message(true, 'seatrial', 'written')")
            except (psycopg.Error, TimeoutError) as err:
                return str(err) or type(err).__name__
            return None

        await until_passes(
            refusal,
            within_s=FAILED_OVER_WITHIN_S,
            every_s=_LOOK_INTERVAL_S,
            otherwise=lambda cause: ClusterError(
                f"no server takes writes after {FAILED_OVER_WITHIN_S:g} s: {cause}; see {self._log_folder}"
            ),
        )

    async def close(self) -> None:
        """All processes and their folder are gone afterwards; safe to call twice and half-way."""
        for node in self.nodes:
            if node.process.running:
                await node.process.stop(KILLED_WITHIN_S)
            release_shared_memory(node.data_folder)
        if self._etcd is not None:
            await self._etcd.kill()
        if self._session is not None:
            await self._session.close()
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        if self._reaper is not None:
            self._reaper.close()
        self.nodes, self._etcd, self._session, self._folder, self._reaper = (), None, None, None, None
        self._ports.close()

    async def _prepare(self) -> None:
        user = (await asyncio.to_thread(install)).user
        self._reaper = Reaper()
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ASKED_WITHIN_S))
        self._folder = Path(tempfile.mkdtemp(prefix="pa-", dir=short_folder()))
        self._reaper.watch_folder(self._folder)
        self._sockets.mkdir(mode=0o700)
        self._etcd_port = self._ports.take()
        self._etcd = self._etcd_process(user)
        self.nodes = [self._node(f"node-{number}", user) for number in range(2)]
        if user:
            for path in (self._folder, *self._folder.rglob("*")):
                os.chown(path, *user)

    @property
    def _sockets(self) -> Path:
        assert self._folder is not None
        return self._folder / "s"

    def _etcd_process(self, user: tuple[int, int] | None) -> Process:
        assert self._folder is not None
        assert self._reaper is not None
        client = f"http://127.0.0.1:{self._etcd_port}"
        peer = f"http://127.0.0.1:{self._ports.take()}"
        words = {
            "name": "etcd",
            "data-dir": str(self._folder / "etcd"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"etcd={peer}",
        }
        return Process(
            "etcd",
            [str(_found("etcd")), *(f"--{name}={value}" for name, value in words.items())],
            env=_ENV,
            log_path=self._log_folder / "etcd.log",
            reaper=self._reaper,
            user=user,
        )

    def _node(self, name: str, user: tuple[int, int] | None) -> Node:
        assert self._folder is not None
        assert self._reaper is not None
        folder = self._folder / name
        folder.mkdir(mode=0o700)
        path = folder / "patroni.yml"
        process = Process(
            name,
            family.command([str(_found("patroni")), str(path)]),
            env=_ENV,
            log_path=self._log_folder / f"patroni-{name}.log",
            reaper=self._reaper,
            user=user,
            # Kills the servers that Patroni has detached from itself.
            death_signal=signal.SIGTERM,
        )
        node = Node(name, self._ports.take(), self._ports.take(), folder, process)
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(self._configuration(node)))
        return node

    def _configuration(self, node: Node) -> dict[str, Any]:
        rest, address = f"127.0.0.1:{node.rest_port}", f"127.0.0.1:{node.port}"
        return {
            "scope": "seatrial",
            "name": node.name,
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"hosts": f"127.0.0.1:{self._etcd_port}", "protocol": "http"},
            "watchdog": {"mode": "off"},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL_S,
                    "loop_wait": LOOP_WAIT_S,
                    "retry_timeout": RETRY_TIMEOUT_S,
                    "synchronous_mode": True,
                    "postgresql": {
                        "use_slots": True,
                        "parameters": {"max_connections": 200, "wal_keep_size": "64MB"},
                    },
                },
                "initdb": ["no-sync", {"encoding": "UTF8"}, {"locale": "C.UTF-8"}],
            },
            "postgresql": {
                "listen": address,
                "connect_address": address,
                "data_dir": str(node.data_folder),
                "bin_dir": str(_SERVER.bin),
                "pgpass": str(node.folder / "pgpass"),
                "use_unix_socket": True,
                "authentication": {
                    "superuser": {"username": "postgres", "password": secrets.token_urlsafe(18)},
                    "replication": {"username": "replicator", "password": self._password},
                },
                "pg_hba": [
                    "local all all trust",
                    "host replication replicator 127.0.0.1/32 scram-sha-256",
                    "host all all 127.0.0.1/32 scram-sha-256",
                ],
                "parameters": {
                    "unix_socket_directories": str(self._sockets),
                    "unix_socket_permissions": "0700",
                    "shared_buffers": "128MB",
                    "jit": "off",
                    "password_encryption": "scram-sha-256",
                    "dynamic_shared_memory_type": "mmap",
                    "log_line_prefix": "%m [%p] %d %a ",
                },
            },
        }

    async def _until_says(self, process: Process, port: int, path: str, trouble: str) -> None:
        def failure(cause: str) -> ClusterError:
            return ClusterError(
                f"{trouble} ({cause}); the end of {process.log_path}:\n{tail(process.log_path)}"
            )

        async def looked() -> str | None:
            if not process.running:
                raise failure(f"it exited with {process.exit_code}")
            status = await self._status(port, path)
            return None if status == 200 else f"{path} answers {status}"

        await until_passes(looked, within_s=READY_WITHIN_S, every_s=_LOOK_INTERVAL_S, otherwise=failure)

    async def _status(self, port: int, path: str) -> int | None:
        assert self._session is not None
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status
        return None

    async def _connect(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        return await psycopg.AsyncConnection.connect(
            self.dsn(), autocommit=True, connect_timeout=2, application_name="seatrial"
        )
