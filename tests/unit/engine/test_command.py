"""The command line as an operator types it: real processes, exit codes and words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from windlass.config import variables

DSN = {"WE_POSTGRES_DSN": "postgresql://u:hunter2@db:5432/windlass"}


def windlass(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Nothing of this process's own configuration leaks in."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("WE_", "DB_", "WINDLASS_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "windlass", *words],
        capture_output=True,
        text=True,
        env=kept | (env or {}),
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("words", [("version",), ("--version",)])
def test_version(words: tuple[str, ...]) -> None:
    done = windlass(*words)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"windlass {version('windlass')}\n", "")


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("help",), ("serve", "--help")])
def test_help_names_every_command_and_shows_examples(words: tuple[str, ...]) -> None:
    done = windlass(*words)
    assert (done.returncode, done.stderr) == (0, "")
    for word in (
        "serve",
        "api",
        "scheduler",
        "migrate",
        "prune",
        "check-config",
        "topics",
        "version",
        "examples:",
    ):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [(("server",), "'server'"), (("serve", "now"), "'now'"), (("--port=1",), "'--port=1'")],
)
def test_an_unknown_word_is_one_line_and_exit_2(words: tuple[str, ...], named: str) -> None:
    done = windlass(*words, env=DSN)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [(), ("serve",), ("api",), ("scheduler",), ("migrate",)])
def test_a_bad_configuration_ends_every_command_with_all_problems(words: tuple[str, ...]) -> None:
    done = windlass(*words, env={"WE_REST_PORT": "x", "WE_AUDIT_LOG_ENABLED": "maybe"})
    assert done.returncode == 1
    (line,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (line["level"], line["msg"]) == ("ERROR", "engine: fatal")
    assert line["err"] + "\n" == done.stderr
    assert [problem.split()[1] for problem in done.stderr.splitlines()] == [
        "WE_POSTGRES_DSN",
        "WE_REST_PORT",
        "WE_AUDIT_LOG_ENABLED",
    ]


def test_check_config_prints_the_settings_in_force_without_secrets() -> None:
    done = windlass("check-config", env=DSN | {"WINDLASS_LANES": "3", "WINDLASS_LANE": "9"})
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert "WE_POSTGRES_DSN=postgresql://u:***@db:5432/windlass" in lines
    assert "WINDLASS_LANES=3" in lines
    assert "WE_REST_PORT=8080  (default)" in lines
    names = [line.split("=")[0] for line in lines]
    assert names == [
        v.name for v in variables() if not any(word in v.name for word in ("KAFKA", "OUTBOX", "REDIS", "JWT"))
    ]
    assert "did you mean WINDLASS_LANES?" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_check_config_prints_all_problems_and_exits_1() -> None:
    done = windlass("check-config", env={"WE_REST_PORT": "x", "WINDLASS_LANES": "0"})
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.split()[1] for line in done.stderr.splitlines()] == [
        "WE_POSTGRES_DSN",
        "WE_REST_PORT",
        "WINDLASS_LANES",
    ]


def definition(*job_types: str) -> str:
    steps = [
        {"id": f"s{n}", "name": "s", "type": "SERVICE_TASK", "jobType": job_type, "nextStep": f"s{n + 1}"}
        for n, job_type in enumerate(job_types)
    ]
    end = {"id": f"s{len(job_types)}", "name": "end", "type": "END"}
    return json.dumps({"id": "d", "name": "d", "steps": [*steps, end]})


def test_topics_are_printed_for_definitions_without_a_broker(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(definition("send-email", "bill"))
    (tmp_path / "two.json").write_text(definition("bill", "ship.it"))
    done = windlass("topics", "--definitions", *map(str, sorted(tmp_path.iterdir())), "--partitions", "4")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "workflow.jobs.bill  partitions=4 replication-factor=3",
        "workflow.jobs.send-email  partitions=4 replication-factor=3",
        "workflow.jobs.ship.it  partitions=4 replication-factor=3",
    ]


def test_topics_says_which_file_will_not_do(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(definition("a"))
    for text, gist in (
        ('{"id": "d"}', "validation error"),
        ("{", "parse error"),
        (definition("send email"), "cannot be a topic"),
    ):
        bad.write_text(text)
        done = windlass("topics", "--definitions", str(good), str(bad))
        assert (done.returncode, done.stdout) == (1, "")
        assert str(bad) in done.stderr
        assert gist in done.stderr
    missing = windlass("topics", "--definitions", str(tmp_path / "none.json"))
    assert "cannot be read: No such file" in missing.stderr


def test_topics_applies_only_with_brokers_named(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text(definition("a"))
    done = windlass("topics", "--definitions", str(path), "--apply")
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.split()[1] for line in done.stderr.splitlines()] == [
        "WE_KAFKA_SEED_BROKERS",
        "WE_KAFKA_TRANSPORT",
    ]


@pytest.mark.parametrize("words", [(), ("--definitions",), ("--definitions", "x", "--partitions", "0")])
def test_topics_misused_exits_2(words: tuple[str, ...]) -> None:
    done = windlass("topics", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "windlass topics" in done.stderr
    assert "--apply" in windlass("topics", "--help").stdout


@pytest.mark.parametrize(
    ("words", "gist"),
    [
        ((), "the following arguments are required: --older-than"),
        (("--older-than", "30"), "must be a number with its unit d, h, m or s, as 30d or 12h, got '30'"),
        (("--older-than", "1w"), "got '1w'"),
        (("--older-than=-3d",), "got '-3d'"),
        (("--older-than", "0d"), "must be more than 0 and at most 36500d, got '0d'"),
        (("--older-than", "99999d"), "at most 36500d, got '99999d'"),
        (("--older-than", "1d", "--dryrun"), "unrecognized arguments: --dryrun"),
    ],
)
def test_prune_refuses_what_it_cannot_read(words: tuple[str, ...], gist: str) -> None:
    done = windlass("prune", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert gist in done.stderr


def test_prune_without_a_database_is_refused_as_other_commands_are() -> None:
    done = windlass("prune", "--older-than", "30d")
    assert done.returncode == 1
    assert "WE_POSTGRES_DSN is required" in done.stderr


def test_the_help_of_prune_needs_no_environment() -> None:
    done = windlass("prune", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "windlass prune --older-than 30d --dry-run" in done.stdout
