"""The doors: exit codes, one clear line for what the caller can mend, and a plugin that costs nothing unused."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from typer.testing import CliRunner, Result

from seatrial import playground
from seatrial.cli import app
from seatrial.drills import CATALOGUE
from seatrial.history import Recorder
from seatrial.playground import State

Seatrial = Callable[..., Result]


@pytest.fixture
def seatrial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seatrial:
    """Runs the command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def save(
    folder: Path, *, invalid: str | None = None, statuses: tuple[int, ...] = (), ended: bool = True
) -> Path:
    """Writes the history of a small run that starts two instances; `statuses` are errors of a third call."""
    recorder = Recorder(folder)
    header: Mapping[str, Any] = {
        "drill": "smoke", "seed": 7, "replicas": 1, "backend": "local", "engine_command": "",
        "started_at": "2026-01-01T00:00:00+00:00", "checks": ["AV"], "parameters": {}, "schedule_hash": "abc",
    }  # fmt: skip
    recorder.info("harness", "run", header)
    for number in range(2):
        call = recorder.invoke("client-0", "start", {"definition_id": "d", "business_key": str(number)})
        recorder.end("client-0", "ok", "start", call, {"instance_id": f"i{number}", "status": "ACTIVE"})
    for status in statuses:
        call = recorder.invoke("client-0", "cancel", {"instance_id": "i0", "reason": ""})
        error = {"code": "x", "status": status, "message": ""}
        recorder.end("client-0", "info", "cancel", call, error=error)
    if ended:
        recorder.info("harness", "phase", {"name": "end", "invalid": invalid})
    recorder.close()
    return folder


# Usage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["run"], ["list"], ["judge"], ["up"], ["down"]])
def test_help_shows_an_example(seatrial: Seatrial, words: list[str]) -> None:
    result = seatrial(*words, "--help")
    assert result.exit_code == 0
    assert f"seatrial {words[0]}" in result.stdout if words else "Commands" in result.stdout


def test_the_list_tells_every_drill_and_its_promise(seatrial: Seatrial) -> None:
    result = seatrial("list")
    assert result.exit_code == 0
    for drill in CATALOGUE.values():
        assert re.search(rf"^{drill.id}\b", result.stdout, re.MULTILINE)
        assert drill.promise in result.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run", "smoek"], "no drill 'smoek'; near it: smoke"),
        (["run", "--backend", "moon"], "backend 'moon' does not exist; choose local"),
        (["run", "--chart", "nowhere"], "--chart nowhere: no Chart.yaml there; give the chart's folder"),
        (
            ["run", "--values", "none.yaml"],
            "--values none.yaml: No such file or directory; give a readable YAML file",
        ),
        (["run", "--attach", " , "], "--attach names no URL"),
        (
            ["run", "--brokers", "kafka-0"],
            "--brokers 'kafka-0': kafka-0 is no broker; give HOST:PORT,HOST:PORT",
        ),
        (["run", "--brokers", " , "], "--brokers ' , ': nothing is no broker"),
        (
            ["run", "B2", "--brokers", "127.0.0.1:1"],
            "drill B2 needs BrokerProcess, which a broker given with --brokers does not have; leave --brokers out",
        ),
        (
            ["run", "smoke", "--attach", "nonsense"],
            "'nonsense' is not the address of an engine; give http://HOST:PORT",
        ),
        (
            ["run", "--attach", "http://h:1", "--replicas", "2"],
            "--attach takes a cluster as it is; leave out --replicas",
        ),
        (["run", "--transport", "pigeon"], "transport 'pigeon' does not exist; choose rest or grpc or both"),
        (
            ["run", "--attach", "http://h:1", "--transport", "both"],
            "--transport both needs the gRPC addresses of the replicas of --attach; give --attach-grpc HOST:PORT",
        ),
        (
            ["run", "--attach", "http://h:1", "--attach-grpc", "h:2"],
            "--attach-grpc is for --attach with --transport grpc or both; add those, or leave it out",
        ),
        (
            ["run", "--attach-grpc", "h:2", "--transport", "grpc"],
            "--attach-grpc and --ca-file are for --attach; leave them out with --backend local",
        ),
        (
            ["run", "smoke", "--attach", "http://h:1", "--attach-grpc", "h:2,h:3", "--transport", "grpc"],
            "2 gRPC addresses for 1 URLs; give one for each, in the same order",
        ),
        (
            ["run", "smoke", "--attach", "http://h:1", "--attach-grpc", "http://h:2", "--transport", "grpc"],
            "'http://h:2' is not the gRPC address of an engine; give HOST:PORT, without a scheme",
        ),
        (["judge", "nowhere"], "nowhere: no history.jsonl here or one folder below"),
        (["down"], "no cluster is up in reports/up; `seatrial up --folder reports/up` starts one"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(seatrial: Seatrial, words: list[str], line: str) -> None:
    result = seatrial(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"seatrial: {line}")
    assert result.stderr.count("\n") == 1


def test_values_that_the_chart_refuses_are_told_before_anything_starts(
    seatrial: Seatrial, tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text("replicaCont: 3")
    result = seatrial("run", "smoke", "--values", "bad.yaml")
    assert result.exit_code == 2
    assert re.search(r"charts/windlass refuses the values: .*replicaCont", result.stderr)
    assert not (tmp_path / "reports").exists()


def test_a_report_folder_in_use_is_not_mixed_with_another_run(seatrial: Seatrial, tmp_path: Path) -> None:
    save(tmp_path / "out" / "smoke")
    result = seatrial("run", "smoke", "--report", "out")
    assert result.exit_code == 2
    assert "out holds a run of smoke; give another --report, or remove it" in result.stderr


def test_holding_a_cluster_needs_a_single_drill(seatrial: Seatrial, monkeypatch: pytest.MonkeyPatch) -> None:
    two = {"smoke": CATALOGUE["smoke"], "other": CATALOGUE["smoke"]}
    monkeypatch.setattr("seatrial.trial.select", lambda *_, **__: list(two.values()))
    result = seatrial("run", "--keep")
    assert result.exit_code == 2
    assert "--keep holds the cluster of one drill, and 2 are to run" in result.stderr


# Judging again -------------------------------------------------------------------------------------------------


def test_judging_exits_as_the_run_did(seatrial: Seatrial, tmp_path: Path) -> None:
    save(tmp_path / "good" / "smoke")
    passed = seatrial("judge", "good")
    assert passed.exit_code == 0
    assert re.search(r"AV +pass", passed.stdout)

    save(tmp_path / "bad" / "smoke", statuses=(500,))
    failed = seatrial("judge", "bad/smoke")
    assert failed.exit_code == 1
    assert re.search(r"AV +fail", failed.stdout)


@pytest.mark.parametrize(
    ("saved", "note"),
    [
        ({"invalid": "the fault had no effect"}, "the fault had no effect"),
        ({"ended": False}, "the run was interrupted"),
    ],
)
def test_a_run_that_was_not_carried_out_stays_invalid(
    seatrial: Seatrial, tmp_path: Path, saved: dict[str, Any], note: str
) -> None:
    save(tmp_path / "out" / "smoke", **saved)
    result = seatrial("judge", "out")
    assert result.exit_code == 1
    assert "invalid" in result.stdout
    assert note in result.stdout


def test_a_broken_history_is_named_with_its_line(seatrial: Seatrial, tmp_path: Path) -> None:
    folder = save(tmp_path / "out" / "smoke")
    with (folder / "history.jsonl").open("a") as file:
        file.write("half a li")
    result = seatrial("judge", "out")
    assert result.exit_code == 2
    assert re.match(r"seatrial: .*out/smoke/history.jsonl:7: not an operation", result.stderr)


def test_judging_can_write_the_report_anew(seatrial: Seatrial, tmp_path: Path) -> None:
    save(tmp_path / "out" / "smoke")
    assert seatrial("judge", "out", "--report", "again").exit_code == 0
    assert {path.name for path in (tmp_path / "again").iterdir()} >= {
        "report.html",
        "junit.xml",
        "results.json",
    }


# Signals and the playground ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_exits_130(tmp_path: Path, number: signal.Signals) -> None:
    words = ["run", "smoke", "--attach", "http://127.0.0.1:1", "--report", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "seatrial", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "seed" in process.stdout.readline()
    while not _catches(process.pid, signal.SIGTERM):
        assert process.poll() is None
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert stderr == "seatrial: interrupted; everything is healed and removed\n"


def _catches(pid: int, number: signal.Signals) -> bool:
    """Its handler is in place (proc(5), SigCgt)."""
    found = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return found is not None and bool(int(found[1], 16) >> (number - 1) & 1)


def test_a_state_of_a_process_that_is_gone_counts_for_nothing(tmp_path: Path) -> None:
    gone = State(os.getpid(), psutil.Process().create_time() - 100, (), "postgresql://")
    (tmp_path / "state.json").write_bytes(msgspec.json.encode(gone))
    assert playground.read_state(tmp_path) is None


def test_a_second_cluster_in_one_folder_is_refused(seatrial: Seatrial, tmp_path: Path) -> None:
    parent = psutil.Process(os.getppid())
    there = State(parent.pid, parent.create_time(), (), "postgresql://")
    (tmp_path / "reports" / "up").mkdir(parents=True)
    (tmp_path / "reports" / "up" / "state.json").write_bytes(msgspec.json.encode(there))
    result = seatrial("up")
    assert result.exit_code == 2
    assert f"a cluster is up in reports/up (process {parent.pid})" in result.stderr


def test_a_broken_state_file_is_named(seatrial: Seatrial, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    result = seatrial("down", "--folder", tmp_path)
    assert result.exit_code == 2
    assert "state.json: not a state file" in result.stderr


# The plugin ----------------------------------------------------------------------------------------------------


def test_the_plugin_imports_nothing_until_it_is_used() -> None:
    script = (
        "import sys, pytest; before = set(sys.modules); import seatrial.plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["seatrial", "seatrial.plugin"]


def test_every_pytest_of_the_environment_has_the_plugin() -> None:
    (found,) = entry_points(group="pytest11", name="seatrial")
    assert found.value == "seatrial.plugin"


def pytest_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """With the plugin alone: the others of the environment take most of a run's time."""
    (folder / "test_own.py").write_text("def test_own(tmp_path):\n    assert tmp_path.is_dir()\n")
    alone = ("--disable-plugin-autoload", "-p", "seatrial.plugin", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", "-q", *alone, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_drills_are_collected_only_when_asked_for(tmp_path: Path) -> None:
    silent = pytest_in(tmp_path, "--collect-only")
    assert "seatrial" not in silent.stdout
    asked = pytest_in(tmp_path, "--collect-only", "--seatrial-drills", "smoke", "-k", "smoke")
    assert asked.stdout.splitlines()[0] == "seatrial::smoke"
    assert "1/2 tests collected (1 deselected)" in asked.stdout
    assert not (tmp_path / "reports").exists()


def test_the_plugin_takes_a_transport_and_refuses_one_that_is_none(tmp_path: Path) -> None:
    asked = ("--collect-only", "--seatrial-drills", "smoke", "--seatrial-transport")
    assert "seatrial::smoke" in pytest_in(tmp_path, *asked, "both").stdout
    refused = pytest_in(tmp_path, *asked, "pigeon")
    assert refused.returncode == 4
    assert "transport 'pigeon' does not exist; choose rest or grpc or both" in refused.stderr


def test_the_plugin_refuses_an_unknown_drill(tmp_path: Path) -> None:
    result = pytest_in(tmp_path, "--seatrial-drills", "smoek")
    assert result.returncode == 4
    assert "ERROR: --seatrial-drills: no drill 'smoek'; near it: smoke" in result.stderr
