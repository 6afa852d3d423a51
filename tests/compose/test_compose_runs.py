"""Whole runs on compose as a user starts them: interrupted, on a project that runs already, by digest."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from drill_image import ROOT, built

from seatrial.cluster.compose.project import default_file
from seatrial.deadline import until_blocking

pytestmark = pytest.mark.slow
STARTED_WITHIN_S = 120.0
ENDED_WITHIN_S = 60.0
RUN_WITHIN_S = 240.0
SEATRIAL = [sys.executable, "-m", "seatrial"]


def docker(*words: str, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        ["docker", *words], check=False, capture_output=True, text=True, env=env, timeout=RUN_WITHIN_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def left_over(text: str) -> Sequence[str]:
    """Containers, networks and volumes of the projects that the output names."""
    projects = re.findall(r"compose project (seatrial-\w+) is started", text)
    assert projects, text
    kinds = (["ps", "--all", "--format", "{{.Names}}"], ["network", "ls", "--format", "{{.Name}}"],
             ["volume", "ls", "--format", "{{.Name}}"])  # fmt: skip
    names = [name for words in kinds for name in docker(*words).split()]
    return [name for name in names if name.startswith(tuple(projects))]


def run_drill(
    folder: Path, *words: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SEATRIAL, "run", "--backend", "compose", "--seed", "7", "--report", str(folder), *words],
        check=False, capture_output=True, text=True, timeout=RUN_WITHIN_S, env=env,
    )  # fmt: skip


def test_engines_ask_for_the_token_of_the_run_and_nothing_shows_it(tmp_path: Path) -> None:
    built()
    token, file, folder = "wdl_" + secrets.token_hex(20), tmp_path / "admin.token", tmp_path / "report"
    file.write_text(f"{token}\n")
    done = run_drill(folder, "smoke", "--transport", "both", "--token-file", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    for server in ("server-a", "server-b", "server-c"):
        assert '"principal":"seatrial"' in (folder / f"smoke/logs/{server}.log").read_text()
    shown = [path for path in folder.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert shown == []
    assert token not in done.stdout + done.stderr
    assert left_over(done.stdout + done.stderr) == []


@pytest.mark.parametrize("during", ["start", "load"])
def test_ctrl_c_leaves_nothing(during: str, tmp_path: Path) -> None:
    """While the project starts, and in the middle of the drill."""
    built()
    out, history = tmp_path / "out.txt", tmp_path / "L5" / "history.jsonl"
    with out.open("w") as file:
        process = subprocess.Popen(
            [*SEATRIAL, "run", "--backend", "compose", "L5", "--report", str(tmp_path)],
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def has_come() -> bool:
        if during == "start":
            return "is started" in out.read_text() and bool(left_over(out.read_text()))
        return history.exists() and '"start"' in history.read_text()

    try:
        until_blocking(
            has_come, within_s=STARTED_WITHIN_S, every_s=0.2,
            otherwise=lambda: AssertionError(f"not in time: {during}"),
        )  # fmt: skip
        assert left_over(out.read_text())
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(ENDED_WITHIN_S) == 130, out.read_text()
    finally:
        process.kill()
    assert "interrupted; everything is healed and removed" in out.read_text()
    assert left_over(out.read_text()) == []
    assert list((tmp_path / "L5").glob("compose/secrets/*")) == []


@contextmanager
def running_project(folder: Path) -> Iterator[str]:
    """As an operator starts it, with a sweep as drills ask for."""
    name = f"operators-{secrets.token_hex(4)}"
    subprocess.run(["sh", str(ROOT / "compose/secrets.sh"), str(folder)], check=True, capture_output=True)
    overlay = folder / "sweeps.json"
    sweeps = {"environment": {"WINDLASS_LEASE_SWEEP_SECONDS": "1", "WINDLASS_TIMER_SWEEP_SECONDS": "1"}}
    overlay.write_text(json.dumps({"services": dict.fromkeys(("server-a", "server-b", "scheduler"), sweeps)}))
    env = {**os.environ, "WINDLASS_IMAGE": built(), "WINDLASS_SECRETS": str(folder), "WINDLASS_PORT": "0",
           "WINDLASS_GRPC_PORT": "0"}  # fmt: skip
    compose = ("compose", "--project-name", name, "--file", str(default_file()), "--file", str(overlay))
    try:
        docker(*compose, "up", "--detach", "--wait", env=env)
        yield name
    finally:
        docker(*compose, "down", "--volumes", "--timeout", "2", env=env)


def test_a_project_that_runs_already_is_used_and_left(tmp_path: Path) -> None:
    with running_project(tmp_path / "secrets") as name:
        before = docker("ps", "--quiet", "--filter", f"name={name}").split()
        for drill in ("smoke", "C1"):
            done = run_drill(tmp_path / drill, drill, "--project", name, "--file", str(default_file()))
            assert done.returncode == 0, done.stdout + done.stderr
        assert set(docker("ps", "--quiet", "--filter", f"name={name}").split()) == set(before)
        done = run_drill(tmp_path / "another", "smoke", "--project", "no-such-project")
        assert done.returncode == 2
        assert "no compose project 'no-such-project' runs; there are: " in done.stderr
        assert name in done.stderr


@pytest.fixture
def registry() -> Iterator[str]:
    """The address of a real registry on this machine."""
    built()
    wanted = os.environ.get("SEATRIAL_REGISTRY_IMAGE") or "registry:2"
    started = docker("run", "--detach", "--rm", "--publish", "127.0.0.1::5000", wanted).strip()
    yield docker("port", started, "5000").strip()
    docker("stop", "--time", "1", started)


def test_published_images_run_by_digest_and_the_report_names_them(registry: str, tmp_path: Path) -> None:
    """Each is pulled from the registry by its digest, not taken from this machine by its tag."""
    sources = {"windlass": built()}
    for name, usual in (("postgres", "postgres:15-bookworm"), ("redis", "redis:7"), ("nginx", "nginx:1")):
        sources[name] = os.environ.get(f"{name.upper()}_IMAGE") or usual
    digests: dict[str, str] = {}
    for name, source in sources.items():
        target = f"{registry}/trial/{name}:published"
        docker("tag", source, target)
        docker("push", "--quiet", target)
        shown = json.loads(docker("inspect", "--format", "{{json .RepoDigests}}", target))
        digests[name] = next(each for each in shown if each.startswith(f"{registry}/trial/{name}@"))
        docker("rmi", target)
    path = tmp_path / "digests.json"
    path.write_text(json.dumps({"windlass": digests["windlass"]}))
    refused = run_drill(tmp_path / "refused", "smoke", "--images", str(path))
    assert refused.returncode == 2
    assert "runs by digest only, and the compose file also uses" in refused.stderr
    path.write_text(json.dumps(digests))
    done = run_drill(tmp_path / "out", "smoke", "--images", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    header = json.loads((tmp_path / "out/smoke/history.jsonl").read_text().splitlines()[0])["value"]
    assert set(header["images"].values()) == set(digests.values())
    page = (tmp_path / "out/report.html").read_text()
    assert all(digest in page for digest in digests.values())
    assert "image of server-a (replica-0)" in page
    assert left_over(done.stdout) == []
