"""docs/size-and-care.md: its statements are accepted, its commands do what it says; in their short form."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest

from patience import eventually
from seatrial.cluster.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/size-and-care.md").read_text(encoding="utf-8")
SOAK = str(ROOT / "scripts/soak")


async def test_the_statements_of_the_page_are_accepted(tmp_path: Path) -> None:
    statements = re.findall(r"`(SELECT [^`]+)`", PAGE)
    assert len(statements) == 2
    async with PostgresServer(tmp_path / "postgres.log") as server:
        await server.create_database("care")
        async with await psycopg.AsyncConnection.connect(server.dsn("care"), autocommit=True) as connection:
            for statement in statements:
                await connection.execute(statement.encode())


@pytest.mark.slow
def test_a_short_soak_is_flat_and_reports_what_it_saw(tmp_path: Path) -> None:
    done = subprocess.run(
        [SOAK, "--minutes", "1", "--rate", "30", "--report", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict: flat" in done.stdout
    assert done.stdout.count("descriptors") >= 5, "it tells how it goes"
    samples = json.loads((tmp_path / "samples.json").read_text())
    assert max(sample["dead_rows"] for sample in samples) > 0
    assert len((tmp_path / "report.html").read_text()) > 1_000_000, "the picture needs no network"


@pytest.mark.slow
def test_without_retention_the_tables_grow_and_the_soak_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [SOAK, "--minutes", "1", "--keep-all", "--report", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"bytes of tables and indexes .* NOT FLAT", done.stdout)


@pytest.mark.slow
def test_the_size_of_a_finished_workflow_is_told_by_table_and_index() -> None:
    done = subprocess.run(
        [SOAK, "--size", "--instances", "300"], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    sizes = {
        cells[0]: [float(cell.strip("*").replace(",", "")) for cell in cells[1:]]
        for line in done.stdout.splitlines()[2:]
        for cells in [[cell.strip().strip("*") for cell in line.split("|")[1:-1]]]
    }
    assert sizes["audit_log"][0] > 300
    assert sizes["audit_log"][1] == 0
    assert 1_500 < sizes["together"][1] < sizes["together"][0] < 6_000
    assert sizes["job"][0] > sizes["job_pkey"][0] > 30


@pytest.mark.slow
async def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [SOAK, "--minutes", "5", "--report", str(tmp_path)],
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:

        def listening() -> bool:
            logs = [tmp_path / f"engine-{number}.log" for number in range(2)]
            return all(log.exists() and b"REST listening" in log.read_bytes() for log in logs)

        await eventually(listening, 120)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) > 2, "two engines and their database"
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 130, out.read_text()
    finally:
        process.kill()
    assert "interrupted" in out.read_text()
    assert "Traceback" not in out.read_text()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
