"""The command as a user runs it: real cluster, verdicts, report, judged again, drawn again, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import psutil
import pytest

from seatrial.client import TRANSPORTS
from seatrial.history import History

pytestmark = pytest.mark.slow

SEATRIAL = shutil.which("seatrial", path=str(Path(sys.executable).parent))
DRILLS = ("M4", "L4")
ROOT = Path(__file__).parents[2]
BOUND_S = 240


def seatrial(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert SEATRIAL is not None
    return subprocess.run([SEATRIAL, *arguments], capture_output=True, text=True, timeout=300, check=False)


def results(report: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((report / "results.json").read_text())["results"]
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trial") / "report"
    done = seatrial("run", *DRILLS, "--seed", "7", "--report", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(folder / "report.html") in done.stdout
    return folder


def test_every_format_tells_the_same_verdicts(report: Path) -> None:
    assert {each["drill"]: each["outcome"] for each in results(report)} == dict.fromkeys(DRILLS, "pass")
    suites = ET.parse(report / "junit.xml").getroot()
    assert {str(suite.get("name")).split()[0] for suite in suites.iter("testsuite")} == set(DRILLS)
    assert not list(suites.iter("failure")) + list(suites.iter("error")) + list(suites.iter("skipped"))
    summary = (report / "summary.md").read_text()
    assert all(drill in summary for drill in DRILLS)


def test_judging_the_saved_history_again_gives_the_same_verdict(report: Path) -> None:
    before = [
        (each["drill"], [(v["check"], v["outcome"], v["summary"]) for v in each["verdicts"]])
        for each in results(report)
    ]
    judged = seatrial("judge", str(report))
    assert judged.returncode == 0, judged.stdout + judged.stderr
    after = [
        (each["drill"], [(v["check"], v["outcome"], v["summary"]) for v in each["verdicts"]])
        for each in results(report)
    ]
    assert after == before


def test_the_same_seed_draws_the_same_schedule_and_another_does_not(report: Path, tmp_path: Path) -> None:
    hashes = {each["drill"]: each["schedule_hash"] for each in results(report)}
    for seed, same in (("7", True), ("8", False)):
        again = tmp_path / seed
        assert seatrial("run", "L4", "--seed", seed, "--report", str(again)).returncode == 0
        assert (results(again)[0]["schedule_hash"] == hashes["L4"]) is same


def test_a_drill_passes_on_engines_that_ask_every_caller_for_a_token(tmp_path: Path) -> None:
    token, file, folder = "wdl_" + "4f" * 20, tmp_path / "admin.token", tmp_path / "report"
    file.write_text(f"{token}\n")
    words = "run", "smoke", "--seed", "7", "--transport", "both", "--token-file", str(file)
    done = seatrial(*words, "--report", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    log = (folder / "smoke/logs/replica-0.log").read_text()
    assert '"msg":"auth: tokens read"' in log
    assert '"principal":"seatrial"' in log
    history = History.load(folder / "smoke")
    assert history.header.principal == "seatrial"
    acted = [op.value for op in history.ops if op.f == "audit"]
    started = {call.end.value["instance_id"] for call in history.calls_of("start") if call.end}
    # Chained instances are the engine's.
    asked = [row for row in acted if row["kind"] != "instance-started" or row["instance_id"] in started]
    actors = {row["kind"]: set[str]() for row in asked}
    for row in asked:
        actors[row["kind"]].add(row["actor"])
    for kind in ("definition-uploaded", "instance-started", "job-completed", "wait-signalled"):
        assert actors[kind] == {"seatrial"}, kind
    assert "<dt>token of</dt><dd>seatrial</dd>" in (page := (folder / "report.html").read_text())
    assert re.search(r"<dt>actors in the audit log</dt><dd>[^<]*seatrial [1-9]", page)
    shown = [path for path in folder.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert shown == []
    assert token not in done.stdout + done.stderr


def test_the_pages_drills_pass_with_tokens_tls_and_both_transports(tmp_path: Path) -> None:
    """As the README types them: the token's line, and one command. The last line is for a cluster of the reader's."""
    section = (
        (ROOT / "README.md").read_text().partition("\n## With tokens and TLS\n")[2].partition("\n## ")[0]
    )
    token_line, drill_line, attach_line = section.partition("```sh\n")[2].partition("\n```")[0].splitlines()
    assert drill_line.split()[:3] == ["scripts/drill", "smoke", "L5"]
    folder = tmp_path / "report"
    programs = Path(sys.executable).parent
    script = f"{token_line}\n{ROOT}/{drill_line} --seed 7 --report {folder}"
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {each["drill"]: each["outcome"] for each in results(folder)} == {"smoke": "pass", "L5": "pass"}
    token = (tmp_path / "admin.token").read_text().strip()
    shown = [path for path in folder.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert shown == []
    for drill in ("smoke", "L5"):
        history = History.load(folder / drill)
        assert (history.header.tls, history.header.principal) == (True, "seatrial")
        assert '"msg":"tls: certificate read"' in (folder / drill / "logs/replica-0.log").read_text()
    options = re.findall(r"--[a-z-]+", attach_line)
    asked = seatrial("run", "--help").stdout
    assert all(option in asked for option in options), options


@pytest.mark.parametrize("transport", ["grpc", "both"])
def test_a_drill_passes_over_grpc_and_over_both(tmp_path: Path, transport: str) -> None:
    """Jobs change hands between the transports: what one polled, the other completes."""
    folder = tmp_path / "report"
    done = seatrial("run", "smoke", "--seed", "7", "--transport", transport, "--report", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    history = History.load(folder / "smoke")
    assert history.header.transport == transport
    for f in ("start", "poll", "complete", "fail_job"):
        ways = {call.invoke.transport for call in history.calls_of(f)}
        assert ways == set(TRANSPORTS[transport]), f
    polled_over = {
        job["job_id"]: call.invoke.transport
        for call in history.calls_of("poll")
        if call.end is not None
        for job in call.end.value.get("jobs", ())
    }
    crossed = {
        (polled_over[call.invoke.value["job_id"]], call.invoke.transport)
        for call in history.calls_of("complete")
    }
    assert crossed == {(one, other) for one in TRANSPORTS[transport] for other in TRANSPORTS[transport]}
    assert "gRPC" in (folder / "report.html").read_text()


def test_a_cluster_that_runs_already_is_tried_over_both(tmp_path: Path) -> None:
    up = tmp_path / "up"
    try:
        printed = seatrial("up", "--replicas", "2", "--folder", str(up))
        assert printed.returncode == 0, printed.stdout + printed.stderr
        urls = re.findall(r"REST (\S+)", printed.stdout)
        addresses = re.findall(r"gRPC (\S+)", printed.stdout)
        assert len(urls) == len(addresses) == 2
        words = ["--attach", ",".join(urls), "--attach-grpc", ",".join(addresses), "--transport", "both"]
        done = seatrial("run", "smoke", "--seed", "7", *words, "--report", str(tmp_path / "report"))
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        seatrial("down", "--folder", str(up))
    history = History.load(tmp_path / "report" / "smoke")
    assert {call.invoke.transport for call in history.calls_of("start")} == {"rest", "grpc"}
    observed = [call.invoke for call in history.calls if call.invoke.process == "client-observer"]
    assert {invoke.transport for invoke in observed} == {"rest"}


def test_nothing_of_the_trial_is_left_running(report: Path) -> None:
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any(str(report) in part for part in process.info["cmdline"] or ())
    ]
    assert left == []


def test_a_mutilated_history_is_refused_naming_file_and_line(report: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(report / "M4", broken / "M4")
    history = broken / "M4" / "history.jsonl"
    lines = history.read_text().splitlines()
    lines[4] = lines[4][:20]
    history.write_text("\n".join(lines))
    judged = seatrial("judge", str(broken))
    assert judged.returncode == 2
    assert "history.jsonl:5" in judged.stdout + judged.stderr
