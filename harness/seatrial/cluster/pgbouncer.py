"""PgBouncer of this machine in front of a `PostgresServer`, as a process of the harness's own.

It listens on loopback, asks for the engine role's password by SCRAM and logs in to the server with it; nothing of the
engine's is set on its side but what a caller gives as `settings`.

    async with PostgresServer(log) as server, PgBouncer(server, pooler_log, pool_mode="transaction") as pooler:
        await server.create_database("one")
        dsn = pooler.engine_dsn("one")
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.rows import DictRow, dict_row

from seatrial.cluster import ClusterError
from seatrial.cluster.installation import install
from seatrial.cluster.packaged_server import PackagedServer, write_secret
from seatrial.cluster.postgres import ENGINE_ROLE, PostgresServer

PoolMode = Literal["session", "transaction"]

NEED = "needs pgbouncer (apt-get install pgbouncer)"
"""What a test that is skipped without the program says."""
_VERSION_WITHIN_S = 10.0
_CONSOLE_USER = "seatrial"


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


class PgBouncer(PackagedServer):
    """`settings` are lines of its section [pgbouncer], beside address, authentication and `pool_mode`; `program` is the
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
        super().__init__("PgBouncer", log_path, program=program or find_pgbouncer(), need=NEED)
        self.pool_mode = pool_mode
        self._server = server
        self._settings = dict(settings or {})
        self._server_port = server_port
        self._console_password = secrets.token_urlsafe(18)

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

    async def _user(self) -> tuple[int, int] | None:
        """It refuses to run as root, as PostgreSQL does."""
        return (await asyncio.to_thread(install)).user

    def _configured(self, folder: Path) -> Sequence[str]:
        users = {ENGINE_ROLE: self._server.secret, _CONSOLE_USER: self._console_password}
        write_secret(
            folder / "users", "".join(f'"{name}" "{password}"\n' for name, password in users.items())
        )
        return [str(write_secret(folder / "pgbouncer.ini", self._configuration(folder)))]

    async def _look(self) -> None:
        await self.console("SHOW VERSION")

    def _configuration(self, folder: Path) -> str:
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": f"{folder}/users",
            "admin_users": _CONSOLE_USER,
            "pool_mode": self.pool_mode,
            **self._settings,
        }
        section = "".join(f"{name} = {value}\n" for name, value in lines.items())
        return f"[databases]\n* = host=127.0.0.1 port={self._server_port or self._server.port}\n[pgbouncer]\n{section}"
