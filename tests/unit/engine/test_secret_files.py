"""Secrets that come as files: NAME_FILE in place of NAME (contract 7)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from windlass.__main__ import main
from windlass.config import ConfigError, Settings, settings_from_env, variables
from windlass.secret_files import CONTENT_BYTES_MAX

NO_FILE = Path("/nonexistent/engine.yaml")
DSN = "postgresql://u:S3cretXQZ@db:5432/windlass"
SASL = {
    "WE_POSTGRES_DSN": DSN,
    "WE_DISPATCH_MODE": "kafka_outbox",
    "WE_KAFKA_SEED_BROKERS": "k:9092",
    "WE_KAFKA_TRANSPORT": "sasl_scram_tls",
    "WE_KAFKA_SASL_USERNAME": "me",
}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return tmp_path / "secret"


def settings(env: dict[str, str], yaml: Path = NO_FILE) -> Settings:
    return settings_from_env(env, yaml)


def problems(env: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings_from_env(env, NO_FILE)
    assert "S3cretXQZ" not in str(caught.value)
    return caught.value.problems


def test_every_secret_has_a_file_and_nothing_else_has() -> None:
    names = {variable.file_name for variable in variables() if variable.file_name}
    assert names == {f"{variable.name}_FILE" for variable in variables() if variable.secret}
    assert {
        "WE_POSTGRES_DSN_FILE",
        "WINDLASS_POSTGRES_SESSION_DSN_FILE",
        "WE_KAFKA_SASL_PASSWORD_FILE",
    } <= names
    assert not names & {variable.name for variable in variables()}


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_value_is_the_content_without_its_line_end(secret: Path, end: str) -> None:
    secret.write_bytes(f"{DSN}{end}".encode())
    found = settings({"WE_POSTGRES_DSN_FILE": str(secret)})
    assert found.postgres_dsn == DSN
    assert found.secret_files == {"WE_POSTGRES_DSN": str(secret)}
    assert found.warnings == ()


def test_the_file_beats_yaml_and_an_empty_name_counts_as_unset(secret: Path, tmp_path: Path) -> None:
    yaml = tmp_path / "engine.yaml"
    yaml.write_text("postgresDSN: postgresql://y@h/d\n")
    secret.write_text(DSN)
    assert settings({"WE_POSTGRES_DSN_FILE": str(secret), "WE_POSTGRES_DSN": ""}, yaml).postgres_dsn == DSN
    assert settings({"WE_POSTGRES_DSN_FILE": "", "WE_POSTGRES_DSN": DSN}).secret_files == {}
    assert settings({"WE_POSTGRES_DSN_FILE": ""}, yaml).postgres_dsn == "postgresql://y@h/d"


def test_the_broker_s_password_comes_from_a_file_too(secret: Path) -> None:
    secret.write_text("hunter2\n")
    kafka = settings(SASL | {"WE_KAFKA_SASL_PASSWORD_FILE": str(secret)}).kafka
    assert kafka is not None
    assert kafka.sasl_password == "hunter2"


def test_a_value_and_a_file_together_are_refused(secret: Path) -> None:
    secret.write_text(DSN)
    assert problems({"WE_POSTGRES_DSN": DSN, "WE_POSTGRES_DSN_FILE": str(secret)}) == [
        "config: WE_POSTGRES_DSN and WE_POSTGRES_DSN_FILE are both set; unset one of the two"
    ]


@pytest.mark.parametrize(
    ("content", "gist"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"S3cretXQZ\xff", "whose byte 10 is not UTF-8"),
        (b"S3cretXQZ\0", "holds a zero byte"),
        (b"S3cretXQZ" * CONTENT_BYTES_MAX, f"has more than {CONTENT_BYTES_MAX} bytes"),
    ],
)
@pytest.mark.parametrize(
    ("name", "others"), [("WE_POSTGRES_DSN_FILE", {}), ("WE_KAFKA_SASL_PASSWORD_FILE", SASL)]
)
def test_a_file_of_no_use_is_one_problem_with_its_path(
    secret: Path, content: bytes | None, gist: str, name: str, others: dict[str, str]
) -> None:
    if content is not None:
        secret.write_bytes(content)
    (problem,) = problems({**others, name: str(secret)})
    assert problem.startswith(f"config: {name} names {str(secret)!r}, wh")
    assert gist in problem
    assert "; " in problem


def test_what_is_not_a_file_is_refused_without_waiting_for_it(secret: Path) -> None:
    os.mkfifo(secret)
    for path in (secret, secret.parent):
        (problem,) = problems({"WE_POSTGRES_DSN_FILE": str(path)})
        assert f"names {str(path)!r}, which is not a file" in problem


def test_a_file_that_this_user_may_not_read(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read any file, so the operating system's answer is made here."""
    secret.write_text(DSN)

    opened = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == secret:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    (problem,) = problems({"WE_POSTGRES_DSN_FILE": str(secret)})
    assert "cannot be read: Permission denied; mount it there and let this user read it" in problem


@pytest.mark.parametrize("value", ["S3cretXQZ", DSN, f"/{DSN}", "/S3cretXQZ\n"])
def test_a_secret_in_place_of_a_path_is_not_shown(value: str) -> None:
    (problem,) = problems({"WE_POSTGRES_DSN_FILE": value})
    assert problem.startswith("config: WE_POSTGRES_DSN_FILE must be the absolute path of a file")


def test_the_end_of_a_value_is_judged_as_in_the_environment(secret: Path) -> None:
    secret.write_text("hunter2\n\n")
    (problem,) = problems(SASL | {"WE_KAFKA_SASL_PASSWORD_FILE": str(secret)})
    assert problem.startswith("config: WE_KAFKA_SASL_PASSWORD ends in a line end")


def test_check_config_says_where_a_secret_comes_from(
    secret: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret.write_text(f"{DSN}\n")
    monkeypatch.setenv("WE_POSTGRES_DSN_FILE", str(secret))
    monkeypatch.delenv("WE_POSTGRES_DSN", raising=False)
    assert main(["check-config"]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line == f"WE_POSTGRES_DSN=postgresql://u:***@db:5432/windlass  (from file {secret})"
