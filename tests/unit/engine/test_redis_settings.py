"""The address of Redis and what goes with it: what is taken and refused, and that no word of ours shows a password."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.cluster.certificate import new_authority
from windlass.config import ConfigError, Settings, resolved, settings_from_env
from windlass.redis_address import Host, MalformedRedisUrl, RedisAddress, redis_address

NO_FILE = Path("/nonexistent/engine.yaml")
ENV = {"WE_POSTGRES_DSN": "postgresql://u:s3cret@db:5432/windlass", "WINDLASS_WAKE_BUS": "redis"}


def settings(url: str | None = "redis://cache", **more: str) -> Settings:
    return settings_from_env(ENV | ({"WINDLASS_REDIS_URL": url} if url else {}) | more, NO_FILE)


def problem(url: str | None = "redis://cache", **more: str) -> str:
    with pytest.raises(ConfigError) as refused:
        settings(url, **more)
    (found,) = refused.value.problems
    return found


# -- addresses


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", RedisAddress("server", False, (Host("cache", 6379),))),
        ("valkey://cache:7000/2", RedisAddress("server", False, (Host("cache", 7000),))),
        ("rediss://[::1]:7000", RedisAddress("server", True, (Host("::1", 7000),))),
        ("redis://:p%40ss@[::1]/", RedisAddress("server", False, (Host("::1", 6379),), "", "p@ss")),
        ("redis://me:p+ss@c", RedisAddress("server", False, (Host("c", 6379),), "me", "p+ss")),
        (
            "rediss+sentinel://:x@a,b:1/main/0",
            RedisAddress("sentinel", True, (Host("a", 26379), Host("b", 1)), "", "x", "main"),
        ),
        (
            "redis+cluster://a,b:1,c",
            RedisAddress("cluster", False, (Host("a", 6379), Host("b", 1), Host("c", 6379))),
        ),
    ],
)
def test_an_address_is_read(url: str, expected: RedisAddress) -> None:
    assert redis_address(url) == expected


@pytest.mark.parametrize(
    ("url", "gist"),
    [
        ("cache:6379", "does not begin with the scheme of a Redis address"),
        ("http://cache", "does not begin with the scheme of a Redis address"),
        ("redis+replicas://cache", "does not begin with the scheme of a Redis address"),
        ("redis://", "has no name as the host"),
        ("redis://a,b", "names several hosts, but neither Sentinels nor a cluster"),
        ("redis://a:port", "has something else than a number from 1 to 65535 as the port of the host"),
        ("redis://:p@ss@a", "has more than one @ before the host"),
        ("redis://:p/ss@a", "has an @ after the first / ? or #"),
        ("redis://:p%ss@a", "has a % at character 2 of the password without two hexadecimal digits after it"),
        ("redis://a/zero", "has something else than the number of a database after the host"),
        ("redis://a?ssl_cert_reqs=none", "has parameters, and none is known"),
        ("redis+sentinel://a,b", "has no name of a master after the hosts"),
        ("redis+cluster://a,/0", "has no name as host 2 of the list"),
        ("redis+cluster://a/1", "has something else than the number of a database after the host"),
        ("redis://a\n", "ends in a line end"),
    ],
)
def test_what_is_no_address_is_refused_with_the_form_of_one(url: str, gist: str) -> None:
    with pytest.raises(MalformedRedisUrl) as refused:
        redis_address(url)
    assert refused.value.fault.startswith(gist)
    if "line end" not in gist:
        assert "redis://:password@host:6379" in problem(url)
    assert problem(url).startswith(f"config: WINDLASS_REDIS_URL {gist}")


@given(st.text(min_size=3), st.sampled_from(["redis://", "redis+sentinel://", "rediss+cluster://", ""]))
def test_no_fault_shows_a_piece_of_the_password(secret: str, scheme: str) -> None:
    text = f"{scheme}:S3cretXQZ{secret}S3cretXQZ@host:x/y/z"
    with pytest.raises(MalformedRedisUrl) as refused:
        redis_address(text)
    assert "S3cretXQZ" not in refused.value.fault + refused.value.remedy


@given(st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_any_password_can_be_written(password: str) -> None:
    try:
        encoded = quote(password, safe="")
    except UnicodeEncodeError:
        return
    assert redis_address(f"redis://me:{encoded}@host").password == password


# -- variables


def test_the_address_is_needed_where_the_bus_is_redis_and_there_alone() -> None:
    assert problem(None).startswith("config: WINDLASS_REDIS_URL is required when WINDLASS_WAKE_BUS=redis; ")
    other = settings_from_env(
        {
            **ENV,
            "WINDLASS_WAKE_BUS": "none",
            "WINDLASS_REDIS_URL": "nonsense",
            "WINDLASS_REDIS_PASSWORD": "pw",
        },
        NO_FILE,
    )
    assert other.redis is None
    assert other.warnings == tuple(
        f"WINDLASS_REDIS_{name} is set, but WINDLASS_WAKE_BUS is none, so it is not used"
        for name in ("URL", "PASSWORD")
    )


def test_the_password_comes_by_one_variable_or_the_other() -> None:
    for found in (
        settings("redis://me:hunter2@c"),
        settings("redis://me@c", WINDLASS_REDIS_PASSWORD="hunter2"),
    ):
        assert found.redis is not None
        assert (found.redis.address.user, found.redis.address.password) == ("me", "hunter2")
        assert "hunter2" not in repr(found) + repr(found.redis.address)
        assert "hunter2" not in "".join(text for _, text in resolved(found))
    both = problem("redis://me:hunter2@c", WINDLASS_REDIS_PASSWORD="hunter3")
    assert both.startswith(
        "config: WINDLASS_REDIS_PASSWORD is set, and WINDLASS_REDIS_URL holds a password too; "
    )
    assert "hunter" not in both


def test_a_password_in_the_users_place_is_refused_unseen() -> None:
    """redis-cli and some libraries take it for the password."""
    found = problem("redis://hunter2@cache")
    assert found.startswith(
        "config: WINDLASS_REDIS_URL names a user without a password; a password alone has a colon"
    )
    assert "hunter2" not in found
    assert "ends in a line end" in problem("redis://me@c", WINDLASS_REDIS_PASSWORD="hunter2\n")


def test_a_ca_is_refused_where_nothing_is_encrypted_and_where_it_is_none(tmp_path: Path) -> None:
    path = str(new_authority("test").write(tmp_path / "ca.pem"))
    assert settings("rediss://c", WINDLASS_REDIS_TLS_CA_PATH=path).redis
    plain = problem("redis://c", WINDLASS_REDIS_TLS_CA_PATH=path)
    assert plain.startswith(
        "config: WINDLASS_REDIS_TLS_CA_PATH is set, but WINDLASS_REDIS_URL does not ask for TLS; "
    )
    assert "cannot read '/nonexistent/ca.pem'" in problem(
        "rediss://c", WINDLASS_REDIS_TLS_CA_PATH="/nonexistent/ca.pem"
    )


@pytest.mark.parametrize(
    ("mode", "bus", "gist"),
    [
        ("event_driven", "none", "WINDLASS_WAKE_BUS is none, but WINDLASS_WAKE_MODE=event_driven relies on"),
        ("polling", "redis", "WINDLASS_WAKE_BUS is redis, but WINDLASS_WAKE_MODE=polling uses none"),
    ],
)
def test_a_mode_and_a_bus_that_contradict_each_other_are_refused(mode: str, bus: str, gist: str) -> None:
    assert gist in problem(
        None if bus == "none" else "redis://c", WINDLASS_WAKE_MODE=mode, WINDLASS_WAKE_BUS=bus
    )


def test_every_other_combination_is_taken() -> None:
    for mode, bus in [
        ("hybrid", "none"),
        ("polling", "none"),
        ("polling", "postgres"),
        ("event_driven", "redis"),
    ]:
        url = "redis://c" if bus == "redis" else None
        found = settings(url, WINDLASS_WAKE_MODE=mode, WINDLASS_WAKE_BUS=bus)
        assert (found.wake_mode, found.wake_bus) == (mode, bus)


def test_the_client_is_imported_only_where_it_is_chosen() -> None:
    """It is large, and most engines wake each other by the database."""
    script = "import sys, windlass.app; sys.exit(any(name.split('.')[0] == 'redis' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
