"""Two servers under Patroni: one takes over when the other is killed, and nothing of them outlives its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from seatrial.cluster.patroni import Patroni, need
from seatrial.deadline import until_blocking

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio,
    pytest.mark.skipif(need() is not None, reason=f"needs {need()}"),
]
OWNER = """
import asyncio, sys
from pathlib import Path
from seatrial.cluster.patroni import Patroni

async def main():
    async with Patroni(Path(sys.argv[1]), password="unused") as pair:
        print(*(node.folder for node in pair.nodes), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
GONE_WITHIN_S = 20.0


async def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=5) as connection:
        cursor = await connection.execute(query.encode())
        return await cursor.fetchall() if cursor.description else []


def segments() -> set[str]:
    """Of shared memory, on this machine."""
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def segment_of(folder: Path) -> str:
    return (folder / "data/postmaster.pid").read_text().splitlines()[6].split()[-1]


async def test_the_standby_takes_over_with_every_commit(tmp_path: Path) -> None:
    async with Patroni(tmp_path, password="s3cret") as pair:
        await pair.create_database("one")
        dsn = pair.engine_dsn("one")
        await rows(dsn, "CREATE TABLE kept (id int)")
        await rows(dsn, "INSERT INTO kept VALUES (1)")
        killed = await pair.kill_leader()
        assert not (killed.process.running)
        with pytest.raises(psycopg.OperationalError):
            await rows(f"postgresql://postgres@127.0.0.1:{killed.port}/one", "SELECT 1")
        await pair.until_takes_writes()
        assert (await pair.until_led()).name != killed.name
        assert await rows(dsn, "SELECT id FROM kept") == [(1,)]
        await rows(dsn, "INSERT INTO kept VALUES (2)")
        argvs = [word for each in psutil.process_iter(["cmdline"]) for word in each.info["cmdline"] or ()]
        assert not any("s3cret" in word for word in argvs)
        folders = [node.folder for node in pair.nodes]
    assert not any(folder.exists() for folder in folders)
    assert all("s3cret" not in path.read_text() for path in tmp_path.glob("*.log"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
async def test_nothing_outlives_an_owner_that_ends(tmp_path: Path, number: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert owner.stdout is not None
    folders = [Path(word) for word in owner.stdout.readline().split()]
    theirs = set(map(segment_of, folders))
    assert len(theirs & segments()) == 2
    family = psutil.Process(owner.pid).children(recursive=True)
    assert len([each for each in family if "postgres" in each.name()]) > 6
    os.kill(owner.pid, number)
    owner.communicate()
    until_blocking(
        lambda: not any(map(is_alive, family)) and not any(folder.exists() for folder in folders),
        within_s=GONE_WITHIN_S,
        every_s=0.05,
        otherwise=lambda: AssertionError(f"left: {[each for each in family if is_alive(each)]}, {folders}"),
    )
    if number is signal.SIGINT:
        assert not theirs & segments()


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
