"""PgBouncer of this machine in front of a `PostgresServer`, as a process of the harness's own.

It listens on loopback, asks for the engine role's password by SCRAM and logs in to the server with it; nothing of the
engine's is set on its side but what a caller gives as `settings`.

    async with PostgresServer(log) as server, PgBouncer(server, pooler_log, pool_mode="transaction") as pooler:
        await server.create_database("one")
        dsn = pooler.engine_dsn("one")
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.rows import DictRow, dict_row

from seatrial.cluster import ClusterError
from seatrial.cluster.installation import install, short_folder
from seatrial.cluster.port import Ports
from seatrial.cluster.postgres import ENGINE_ROLE, PostgresServer
from seatrial.cluster.process import Process, tail
from seatrial.cluster.reaper import Reaper
from seatrial.cluster.startable import Startable
from seatrial.deadline import until_passes

PoolMode = Literal["session", "transaction"]

NEED = "needs pgbouncer (apt-get install pgbouncer)"
"""What a test that is skipped without the program says."""
READY_WITHIN_S = 15.0
STOP_WITHIN_S = 10.0
_VERSION_WITHIN_S = 10.0
_CONSOLE_USER = "seatrial"
_LOOK_INTERVAL_S = 0.02


def find_pgbouncer() -> str | None:
    """The program's path; None when it is not installed. Debian puts it where users do not look."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


def pgbouncer_version(program: str) -> tuple[int, ...]:
    """Such as (1, 18, 0). Raises ClusterError when the program does not tell."""
    said = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=_VERSION_WITHIN_S
    )
    match = re.search(r"PgBouncer (\d+(?:\.\d+)*)", said.stdout)
    if match is None:
        raise ClusterError(
            f"{program} --version does not say which version it is: {said.stdout}{said.stderr}"
        )
    return tuple(map(int, match[1].split(".")))


class PgBouncer(Startable):
    """`start` ... `close`. Usable again after `stop` and `kill`; the port stays the same.

    `settings` are lines of its section [pgbouncer], beside address, authentication and `pool_mode`; `program` is the
    installed one when it is None. `server_port` is that of a proxy in front of the server.
    """

    def __init__(
        self,
        server: PostgresServer,
        log_path: Path,
        *,
        pool_mode: PoolMode = "transaction",
        settings: Mapping[str, str] | None = None,
        program: str | None = None,
        server_port: int | None = None,
    ) -> None:
        self.log_path = log_path
        self.pool_mode = pool_mode
        self._server = server
        self._settings = dict(settings or {})
        self._program = program
        self._server_port = server_port
        self._console_password = secrets.token_urlsafe(18)
        self._ports = Ports()
        self._reaper: Reaper | None = None
        self._folder: Path | None = None
        self._process: Process | None = None
        self.port = 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ClusterError("PgBouncer was never started, or is closed; start it first")
        return self._process.pid

    async def start(self) -> None:
        """Returns when it answers. Nothing happens when it runs. Raises ClusterError when it is not installed."""
        if self.running:
            return
        process = self._process or await self._prepare()
        process.start()
        await self._answer(process)

    async def stop(self) -> None:
        """SIGTERM: it closes all its connections at once. Nothing happens when it does not run."""
        if self._process is not None and self._process.running:
            await self._process.stop(STOP_WITHIN_S)

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        if self._process is not None:
            await self._process.kill()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def engine_dsn(self, database: str = "postgres") -> str:
        """The engine role's, through this pooler. Holds the password: never log it."""
        return self._server.engine_dsn(database, self.port)

    async def console(self, command: str) -> list[DictRow]:
        """The rows that its console answers `SHOW POOLS`, `KILL one`, `RECONNECT` or the like with."""
        try:
            async with await psycopg.AsyncConnection.connect(
                host="127.0.0.1",
                port=self.port,
                user=_CONSOLE_USER,
                password=self._console_password,
                dbname="pgbouncer",
                autocommit=True,
                row_factory=dict_row,
                # The console knows the simple protocol alone.
                cursor_factory=psycopg.AsyncClientCursor,
            ) as connection:
                cursor = await connection.execute(command.encode())
                return await cursor.fetchall() if cursor.description else []
        except psycopg.Error as err:
            raise ClusterError(f"PgBouncer refused {command}: {err}") from err

    async def close(self) -> None:
        """The pooler and its folder are gone afterwards; safe to call twice and half-way."""
        await self.kill()
        self._process = None
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._folder = None
        if self._reaper is not None:
            self._reaper.close()
            self._reaper = None
        self._ports.close()

    async def _prepare(self) -> Process:
        program = self._program or find_pgbouncer()
        if program is None:
            raise ClusterError(f"PgBouncer cannot be started: {NEED}")
        user = (await asyncio.to_thread(install)).user
        self._reaper = self._reaper or Reaper()
        self._folder = Path(tempfile.mkdtemp(prefix="sp-", dir=short_folder()))
        self._reaper.watch_folder(self._folder)
        self.port = self._ports.take()
        users = {ENGINE_ROLE: self._server.secret, _CONSOLE_USER: self._console_password}
        self._write("users", "".join(f'"{name}" "{password}"\n' for name, password in users.items()))
        configuration = self._write("pgbouncer.ini", self._configuration())
        if user:
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, *user)
        self._process = Process(
            "pgbouncer",
            [program, str(configuration)],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            log_path=self.log_path,
            reaper=self._reaper,
            # It refuses to run as root, as PostgreSQL does.
            user=user,
        )
        return self._process

    def _write(self, name: str, text: str) -> Path:
        assert self._folder is not None
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def _configuration(self) -> str:
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": f"{self._folder}/users",
            "admin_users": _CONSOLE_USER,
            "pool_mode": self.pool_mode,
            **self._settings,
        }
        section = "".join(f"{name} = {value}\n" for name, value in lines.items())
        return f"[databases]\n* = host=127.0.0.1 port={self._server_port or self._server.port}\n[pgbouncer]\n{section}"

    async def _answer(self, process: Process) -> None:
        def failure(cause: str) -> ClusterError:
            return ClusterError(
                f"PgBouncer did not start: {cause}; the end of {self.log_path}:\n{tail(self.log_path)}"
            )

        async def looked() -> str | None:
            if not process.running:
                raise failure(f"it exited with {process.exit_code}")
            try:
                await self.console("SHOW VERSION")
            except ClusterError as err:
                return str(err)
            return None

        await until_passes(looked, within_s=READY_WITHIN_S, every_s=_LOOK_INTERVAL_S, otherwise=failure)
