"""A user whom no file knows, in group 0 and without a home: how OpenShift's `restricted-v2` starts every container.

In a user namespace, so that no such user is needed here; that the image's files are readable for one is
tests/kind/test_image.py.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from engine_process import WINDLASS, RunWindlass
from workflow import END, service

from seatrial.cluster.postgres import PostgresServer

USER = 1000660000
UNKNOWN = ("unshare", "--user", f"--map-user={USER}", "--map-group=0", "--")


def can_be_unknown() -> bool:
    return (
        shutil.which("unshare") is not None and not subprocess.run([*UNKNOWN, "true"], check=False).returncode
    )


pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not can_be_unknown(), reason="needs unshare, and a kernel that gives user namespaces"),
]


@pytest_asyncio.fixture(loop_scope="session")
async def unknown(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunWindlass]:
    folder = tmp_path_factory.mktemp("unknown")
    runner = RunWindlass(folder, secret=server.secret, command=(*UNKNOWN, str(WINDLASS)))
    yield runner
    await runner.close()


async def test_nobody_knows_the_user() -> None:
    told = subprocess.run([*UNKNOWN, "id", "-un"], capture_output=True, text=True, check=False)
    assert told.returncode != 0, told.stdout


@pytest.mark.parametrize(
    "home", [None, "/", "/nonexistent"], ids=["no home", "the root", "a home that is not there"]
)
@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
async def test_an_unknown_user_migrates_and_serves(
    unknown: RunWindlass, dsn: str, home: str | None, sslmode: str
) -> None:
    variables = {"WE_POSTGRES_DSN": dsn, "PGSSLMODE": sslmode} | ({} if home is None else {"HOME": home})
    migrated = await unknown("migrate", **variables)
    assert await migrated.ended() == 0, migrated.stdout + migrated.stderr
    process, engine = await unknown.serving(**variables)
    workflow = await engine.define(service("a"), END)
    await workflow.start()
    body = {"workerId": "w", "jobTypes": [workflow.job_type("a")], "maxJobs": 1}
    assert len((await engine.post("/v1/jobs/poll", body)).json["jobs"]) == 1
    assert not process.log(level="ERROR")
