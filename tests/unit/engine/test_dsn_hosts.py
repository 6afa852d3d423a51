"""Which hosts a DSN names, in every place where they may stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from windlass.config import ConfigError, settings_from_env
from windlass.dsn_hosts import hosts

NO_FILE = Path("/nonexistent/engine.yaml")


def named(dsn: str, **env: str) -> list[str]:
    return [
        str(host) for host in hosts(settings_from_env({"WE_POSTGRES_DSN": dsn, **env}, NO_FILE).postgres_dsn)
    ]


@pytest.mark.parametrize(
    ("dsn", "found"),
    [
        ("postgresql://u:p@a/d", ["a:5432"]),
        ("postgresql://u:p@a:1,b,[::1]:3/d", ["a:1", "b:5432", "[::1]:3"]),
        ("postgresql://u@a,b:7/d?port=6", ["a:6", "b:7"]),
        ("postgresql://u@/d?host=a,b&port=1,2", ["a:1", "b:2"]),
        ("host=a,b port=9 user=u", ["a:9", "b:9"]),
        ("host=::1,b port=1,2 user=u", ["[::1]:1", "b:2"]),
        ("host=/run/pg:x,b user=u", ["/run/pg:x:5432", "b:5432"]),
        ("postgresql://u@%2Frun%2Fpg:7,b/d", ["/run/pg:7", "b:5432"]),
        ("postgresql://u@[fe80::1%25lo]/d", ["[fe80::1%lo]:5432"]),
        ("postgresql:///d", []),
        ("dbname=d user=u", []),
    ],
)
def test_the_hosts_of_a_dsn(dsn: str, found: list[str]) -> None:
    assert named(dsn) == found


def test_what_the_dsn_leaves_out_comes_from_a_service_and_then_from_the_environment(tmp_path: Path) -> None:
    service = tmp_path / "services"
    service.write_text("[s]\nhost=c,e\ntarget_session_attrs=primary\n")
    env = {"PGHOST": "a,b", "PGPORT": "1,2", "PGTARGETSESSIONATTRS": "any"}
    assert named("dbname=d user=u", **env) == ["a:1", "b:2"]
    assert named("host=x,y user=u", **env) == ["x:1", "y:2"]
    assert named("postgresql://u@x:8,y/d", **env) == ["x:8", "y:2"]
    assert named("dbname=d service=s", **env, PGSERVICEFILE=str(service)) == ["c:1", "e:2"]
    dsn = "dbname=d service=s"
    kept = settings_from_env(
        {"WE_POSTGRES_DSN": dsn, **env, "PGSERVICEFILE": str(service)}, NO_FILE
    ).postgres_dsn
    assert "target_session_attrs=primary" in kept
    assert (
        "target_session_attrs=standby"
        in settings_from_env(
            {"WE_POSTGRES_DSN": "postgresql://u@h/d?target_session_attrs=standby", **env, "PGPORT": "1"},
            NO_FILE,
        ).postgres_dsn
    )


def test_ports_that_do_not_fit_the_hosts_are_refused() -> None:
    """The driver refused one port for two hosts at the first connection, with a text that quotes both lists."""
    with pytest.raises(ConfigError) as refused:
        named("host=a,b,c port=1,2 user=u")
    (problem,) = refused.value.problems
    assert "has 2 ports for 3 hosts; write one port for all of them, or one for each" in problem
