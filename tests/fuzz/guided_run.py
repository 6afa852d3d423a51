"""Runs `guided.py` for so many inputs, from the seeds of `corpus/`, and brings back what it found."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from case import Case, Finding

HERE = Path(__file__).resolve().parent
INPUT_WITHIN_S, RSS_MIB_MAX, INPUT_BYTES_MAX = 5, 1_024, 4_096
RUN_WITHIN_S = 600.0
SAID_CHARS_MAX = 600
#: The `kind` of its cases.
KIND = "guided"

Target = Literal["expression", "definition"]
TARGETS: Sequence[Target] = ("expression", "definition")


@dataclass(frozen=True, slots=True)
class Guided:
    target: Target
    inputs: int
    #: basic blocks and edges reached, as libFuzzer counts them
    coverage: int
    took_s: float
    finding: Finding | None


def run(target: Target, runs: int, seed: int, program: Path = HERE / "guided.py") -> Guided:
    """So many inputs unless one breaks the target; that one is in the finding, as libFuzzer had it."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-corpus-") as scratch:
        folder = Path(scratch)
        seeds = folder / "seeds"
        seeds.mkdir()
        lines = (HERE / "corpus" / f"{target}s.txt").read_text().splitlines()
        for number, line in enumerate(lines):
            (seeds / str(number)).write_text(line)
        bounds = (f"-runs={runs}", f"-seed={seed % 2**32 or 1}", f"-max_len={INPUT_BYTES_MAX}")
        ran = _fuzzer(program, target, *bounds, f"-artifact_prefix={folder}/", str(seeds))
        found = [path for path in folder.iterdir() if path.is_file()]
        sent = found[0].read_bytes() if found else b""
    done = re.findall(r"^#(\d+)\s.*?cov: (\d+)", ran.stderr, re.MULTILINE)
    inputs, coverage = done[-1] if done else ("0", "0")
    finding = (
        Finding(KIND, _cause(ran.stdout + ran.stderr), Case(target, KIND, sent)) if ran.returncode else None
    )
    return Guided(target, int(inputs), int(coverage), time.monotonic() - began_s, finding)


def replay(case: Case) -> Finding | None:
    """The same bytes once more."""
    assert case.surface in TARGETS
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        path = Path(scratch) / "input"
        path.write_bytes(case.sent)
        ran = _fuzzer(HERE / "guided.py", case.surface, f"-artifact_prefix={scratch}/", str(path))
    return Finding(KIND, _cause(ran.stdout + ran.stderr), case) if ran.returncode else None


def _fuzzer(program: Path, target: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(program), target, *options]
    command += [f"-timeout={INPUT_WITHIN_S}", f"-rss_limit_mb={RSS_MIB_MAX}"]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=RUN_WITHIN_S, check=False
    )


def _cause(said: str) -> str:
    """The last lines before libFuzzer's own summary."""
    text = said.partition("==ERROR")[0] if "Uncaught Python exception" not in said else said
    at = text.find("Uncaught Python exception")
    return " ".join(text[max(at, 0) :].split())[:SAID_CHARS_MAX]
