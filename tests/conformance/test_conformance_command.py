"""scripts/conformance as a user runs it: that it measures, that it has teeth, and that its page is up to date."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest
from suite import contract, table
from suite.__main__ import main
from suite.cases import CASES
from suite.target import started

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "conformance"
MUTATION = ROOT / "tests" / "mutants"


class Printed(NamedTuple):
    exit_code: int
    text: str
    errors: str

    def rows(self, outcome: str) -> list[str]:
        """The keys of the rows with this outcome, as printed."""
        return re.findall(rf"^{outcome} +(?:rest|grpc| )+ +(\d[\d.]* \S+)", self.text, re.MULTILINE)


async def conformance(*arguments: str, **variables: str) -> Printed:
    process = await asyncio.create_subprocess_exec(
        SCRIPT,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **variables},
    )
    out, err = await process.communicate()
    return Printed(process.returncode or 0, out.decode(), err.decode())


def mutant(path: Path) -> str:
    """The command that starts it."""
    return f"env PYTHONPATH={MUTATION} {sys.executable} {path}"


# -- teeth


@pytest.mark.parametrize(
    ("path", "patterns", "rows"),
    [
        ("conformance/mutants/null_jobs.py", ["1.6 poll*", "1.6 fail*"], ["1.6 poll-empty"]),
        (
            "conformance/mutants/poll_without_step.py",
            ["1.4 job*", "2.1 *", "2.5 *"],
            ["1.4 job-step-id", "2.1 PollJobs", "2.5 poll-complete"],
        ),
        pytest.param("conformance/mutants/deep_merge.py", ["1.6 c*", "5.3 *"], ["5.3 merge"], marks=pytest.mark.slow),
        pytest.param(
            "conformance/mutants/sorted_branches.py", ["4.4 *", "4.5 *"], ["4.4 declaration-order"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "mutants/no_fence.py",
            ["1.6 complete*", "5.5 *", "10.3 *"],
            ["1.6 complete-other", "5.5 late-refused", "10.3 fail-after-complete", "10.3 node-no-4xx"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "mutants/dispatch_metric_in_polling.py", ["8.1 p*", "8.1 b*", "8.2 *"], ["8.1 polling-only"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda value: Path(value).stem if isinstance(value, str) else "",
)  # fmt: skip
async def test_exactly_what_was_broken_differs(
    path: str, patterns: Sequence[str], rows: Sequence[str]
) -> None:
    chosen = [word for pattern in patterns for word in ("--rows", pattern)]
    printed = await conformance("--engine-command", mutant(ROOT / "tests" / path), *chosen)
    assert printed.rows("differs") == rows, printed
    assert printed.exit_code == 1
    assert len(printed.rows("same")) > len(rows)
    assert f"{len(rows)} differs" in printed.text


# -- an engine that runs already


async def test_an_attached_engine_is_tried_as_far_as_it_can_be_reached(tmp_path: Path) -> None:
    async with started([str(Path(sys.executable).with_name("windlass"))], tmp_path) as target:
        assert target.rest is not None
        assert target.log_path is not None
        assert target.dsn is not None
        (line,) = [
            each
            for each in map(json.loads, target.log_path.read_text().splitlines())
            if each["msg"] == "engine: gRPC listening"
        ]
        rows = [
            word
            for row in ("1.8 *", "8.1 paths", "8.3 instance-*", "2.1 StartInstance")
            for word in ("--rows", row)
        ]
        rest = ("--rest", target.rest.client.rest_url)
        junit = tmp_path / "junit.xml"
        bare = await conformance(*rest, "--junit", str(junit), *rows)
        whole = await conformance(
            *rest,
            *("--grpc", f"127.0.0.1{line['addr']}", "--metrics", target.rest.client.metrics_url),
            *("--log", str(target.log_path), *rows),
            CONFORMANCE_POSTGRES_DSN=target.dsn,
        )
    assert (bare.exit_code, bare.rows("same")) == (0, ["1.8 readyz"]), bare
    for reason in (
        "no --grpc address",
        "no --metrics address",
        "no database address",
        "use --engine-command",
    ):
        assert reason in bare.text
    assert len(ET.parse(junit).findall(".//skipped")) == len(bare.rows("not tried"))
    assert whole.exit_code == 0, whole
    assert whole.rows("not tried") == ["1.8 alive", "1.8 schema-current"]


def test_arguments_that_are_wrong_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rows", "99.*"]) == 2
    assert "no row matches 99.*" in capsys.readouterr().err
    assert main(["--rest", "http://127.0.0.1:1"]) == 2
    assert "nothing answers http://127.0.0.1:1/healthz" in capsys.readouterr().err
    assert main(["--engine-command", "no-such-engine", "--rows", "1.8 *"]) == 2
    assert "no-such-engine cannot be started" in capsys.readouterr().err


def test_every_row_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(contract.rows())


# -- the page


def test_the_page_is_up_to_date() -> None:
    assert table.PAGE.read_text(encoding="utf-8") == table.page(), "run: scripts/conformance --write-table"


def test_each_row_is_shown_or_says_why_not() -> None:
    shown = {row.key for case in CASES for row in case.rows}
    for key, row in contract.rows().items():
        assert (key in shown) + row.kafka + bool(row.elsewhere) == 1, key


def test_what_is_shown_elsewhere_is_there() -> None:
    for row in contract.rows().values():
        if row.elsewhere:
            path, _, test = row.elsewhere.partition("::")
            assert re.search(rf"^(async )?def {test}\(", (ROOT / path).read_text(), re.MULTILINE), (
                row.elsewhere
            )
