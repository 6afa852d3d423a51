"""The engine's environment of the compose files: one with the chart's, and only what the engine knows and takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from compose_env import OWN, PATH, chart_env, read_env, text
from compose_files import FILES, SMALL_CLUSTER, engines, filled
from overlay import OVERLAYS
from rendering import REPOSITORY

from windlass.config import settings_from_env, variables

ALL = pytest.mark.parametrize("name", FILES)
KNOWN = {variable.name: variable for variable in variables()}
SECRETS = {name for name, variable in KNOWN.items() if variable.secret}
#: what a compose file says otherwise than the chart -> why
DIFFERENT: Mapping[str, str] = {
    "WINDLASS_MIGRATE_ON_START": "the service bootstrap migrates",
    "WINDLASS_STRICT_SETTINGS": "no other program's names come into these containers",
    "WINDLASS_WAKE_BUS": "a Redis stands beside the servers",
}
DSN = "postgresql://windlass:trial@postgres/windlass"
ANSWERS = {"postgres_dsn": DSN, "migrate_dsn": DSN, "redis_url": "redis://redis:6379/0"}


def environments(name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """For each engine of the file all that it is given."""
    for each, service in engines(name).items():
        env: dict[str, str] = {}
        for file in service["env_file"]:
            env |= read_env(REPOSITORY / file)
        env |= {key: "" if value is None else str(value) for key, value in service["environment"].items()}
        yield each, env


def test_the_shared_file_is_what_the_chart_renders() -> None:
    assert PATH.read_text() == text(), "run python tests/chart/compose_env.py"


@ALL
def test_every_engine_is_given_the_shared_file(name: str) -> None:
    assert engines(name)
    for each, service in engines(name).items():
        assert service["env_file"] == [str(PATH.relative_to(REPOSITORY))], each


@ALL
def test_every_variable_is_the_engines(name: str) -> None:
    for each, env in environments(name):
        assert {
            key for key in env if key not in KNOWN and key.removesuffix("_FILE") not in SECRETS
        } == set(), each


@ALL
def test_what_chart_and_compose_both_set_has_one_default(name: str) -> None:
    charts: dict[str, set[str]] = {}
    for overlay in ("small-cluster.yaml", "kafka.yaml"):
        (path,) = (each for each in OVERLAYS if each.name == overlay)
        for key, value in chart_env(path).items():
            charts.setdefault(key, set()).add(value)
    # An overlay for a broker of the operator's own names its brokers and how to reach them.
    own = OWN | set(DIFFERENT) | {"WE_KAFKA_SEED_BROKERS", "WE_KAFKA_TRANSPORT"}
    for each, env in environments(name):
        for key in (set(env) & set(charts)) - own:
            assert env[key] in charts[key], f"{each}: {key}"


@ALL
def test_what_the_chart_leaves_to_the_engine_has_the_engines_default(name: str) -> None:
    chosen = {"WINDLASS_SERVER_ID", *DIFFERENT}
    for each, env in environments(name):
        for key in set(env) - set(chart_env()) - chosen:
            if key in KNOWN and KNOWN[key].default is not None:
                assert env[key] == KNOWN[key].default_text, f"{each}: {key}"


@ALL
def test_every_secret_comes_from_a_file(name: str) -> None:
    for each, env in environments(name):
        assert not SECRETS & set(env), each
        assert "WE_POSTGRES_DSN_FILE" in env, each


@ALL
def test_the_engine_takes_it(name: str, tmp_path: Path) -> None:
    for each, env in environments(name):
        settings = settings_from_env(_with_files(env, tmp_path), tmp_path / "none.yaml")
        assert settings.postgres_dsn == DSN, each
        assert settings.warnings == (), each
        assert settings.unknown_variables == (), each


def test_every_engine_has_a_name_of_its_own() -> None:
    names = [env["WINDLASS_SERVER_ID"] for _, env in environments(SMALL_CLUSTER)]
    assert names == list(engines(SMALL_CLUSTER))


def test_the_kafka_profile_is_taken_too(tmp_path: Path) -> None:
    service = filled(SMALL_CLUSTER, {"WE_DISPATCH_MODE": "kafka_outbox"})["services"]["server-a"]
    env = read_env(PATH) | {
        key: "" if value is None else str(value) for key, value in service["environment"].items()
    }
    settings = settings_from_env(_with_files(env, tmp_path), tmp_path / "none.yaml")
    assert settings.kafka is not None
    assert settings.kafka.seed_brokers == ("kafka:9092",)


def _with_files(env: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment of a container whose secrets are in this folder; YAML's booleans as compose writes them."""
    found = {key: value.lower() if value in {"True", "False"} else value for key, value in env.items()}
    for key, value in env.items():
        if value.startswith("/run/secrets/"):
            path = folder / value.rpartition("/")[2]
            path.write_text(ANSWERS.get(path.name, "something secret"))
            found[key] = str(path)
    return found
