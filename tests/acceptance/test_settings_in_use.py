"""Settings as a container has them: secrets mounted as files, and names that are all known."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_process import RunWindlass

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_engine_takes_its_dsn_from_a_file(windlass: RunWindlass, dsn: str, tmp_path: Path) -> None:
    secret = tmp_path / "dsn"
    secret.write_text(f"{dsn}\n")
    _, engine = await windlass.serving(
        WE_POSTGRES_DSN_FILE=str(secret), WINDLASS_STRICT_SETTINGS="true", WINDLASS_SERVER_ID="server-a"
    )
    assert (await engine.get("/api/ready")).json == {"status": "ready"}
    printed = await windlass("check-config", WE_POSTGRES_DSN_FILE=str(secret))
    assert await printed.ended() == 0
    first = printed.stdout.splitlines()[0]
    assert first.startswith("WE_POSTGRES_DSN=postgresql://")
    assert first.endswith(f":***@{dsn.rpartition('@')[2]}  (from file {secret})")


async def test_a_secret_file_of_no_use_ends_the_boot(windlass: RunWindlass, dsn: str, tmp_path: Path) -> None:
    secret = tmp_path / "dsn"
    missing = await windlass("serve", WE_POSTGRES_DSN_FILE=str(secret))
    assert await missing.refused_to_boot() == (
        f"config: WE_POSTGRES_DSN_FILE names {str(secret)!r}, which cannot be read: No such file or directory; "
        "mount it there and let this user read it, or unset the variable"
    )
    secret.write_text(dsn)
    both = await windlass("migrate", WE_POSTGRES_DSN_FILE=str(secret), WE_POSTGRES_DSN=dsn)
    assert await both.refused_to_boot() == (
        "config: WE_POSTGRES_DSN and WE_POSTGRES_DSN_FILE are both set; unset one of the two"
    )


@pytest.mark.parametrize("command", ["serve", "migrate", "check-config"])
async def test_an_unknown_name_ends_every_command_where_settings_are_strict(
    windlass: RunWindlass, dsn: str, command: str
) -> None:
    unknown = {"WINDLASS_LEASE_SECOND": "9", "WE_POSTGRESS_DSN": "x"}
    process = await windlass(command, WE_POSTGRES_DSN=dsn, WINDLASS_STRICT_SETTINGS="true", **unknown)
    assert await process.ended() == 1
    lines = process.stderr.strip().removeprefix("windlass: ").splitlines()
    assert [line.partition("; correct")[0] for line in lines] == [
        "config: WE_POSTGRESS_DSN is not a variable of this engine; did you mean WE_POSTGRES_DSN?",
        "config: WINDLASS_LEASE_SECOND is not a variable of this engine; did you mean WINDLASS_LEASE_SECONDS?",
    ]
    same = await windlass("check-config", WE_POSTGRES_DSN=dsn, **unknown)
    assert await same.ended() == 0
    assert same.stderr.count("warning: ") == 2
