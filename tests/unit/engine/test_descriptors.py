"""Who gets how many open files, and what is said when they do not suffice for all."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.config import Settings
from windlass.descriptors import BEING_ACCEPTED, FOR_BROKER, OWN, shared_out
from windlass.errors import BootRefused
from windlass.kafka_settings import KafkaSettings

KAFKA = KafkaSettings(seed_brokers=("k:9092",), transport="plaintext")


def settings(**more: Any) -> Settings:
    return Settings(**{"postgres_dsn": "postgresql:///d", "db_max_conns": 8, "node_name": "n", **more})


@pytest.mark.parametrize("limit", [1 << 20, 1 << 30])
def test_a_high_limit_changes_nothing(limit: int) -> None:
    given_ = settings()
    assert shared_out(given_, limit, doors=2) is given_


def test_a_low_limit_is_told_once_with_its_remedy() -> None:
    found = shared_out(settings(warnings=("before",)), 256, doors=2)
    before, warning = found.warnings
    assert before == "before"
    for gist in (
        "WINDLASS_CONNECTIONS_MAX is 2000",
        "only 256 files",
        f"take {found.connections_max} connections each",
        f"metrics {found.metrics_connections_max}",
        "ulimit -Hn",
        "LimitNOFILE=",
    ):
        assert gist in warning


@given(
    limit=st.integers(1, 6000),
    pool=st.integers(1, 300),
    wanted=st.integers(1, 3000),
    doors=st.sampled_from([1, 2]),
    kafka=st.sampled_from([None, KAFKA]),
)
def test_what_the_engine_needs_is_never_given_away(
    limit: int, pool: int, wanted: int, doors: int, kafka: KafkaSettings | None
) -> None:
    asked = settings(db_max_conns=pool, connections_max=wanted, kafka=kafka)
    own = OWN + pool + (FOR_BROKER if kafka else 0) + BEING_ACCEPTED * doors
    try:
        found = shared_out(asked, limit, doors=doors)
    except BootRefused:
        assert limit - own < 4 * (doors + 1)
        return
    taken = own + doors * found.connections_max + found.metrics_connections_max
    assert taken <= limit
    assert 0 < found.connections_max <= wanted
    assert 0 < found.metrics_connections_max <= 100
    if found != asked:
        spare = limit - taken
        is_all_used = spare <= doors or found.connections_max == wanted
        assert is_all_used, f"{spare} files are left to nobody"


def test_a_limit_that_leaves_nothing_for_callers_refuses_the_boot() -> None:
    with pytest.raises(
        BootRefused, match=r"may open 64 files.*pool of 8.*raise the hard limit.*DB_MAX_CONNS"
    ):
        shared_out(settings(), 64, doors=2)


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    script = (
        "import resource\n"
        "from windlass.descriptors import raise_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200))\n"
        "print(raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["200", "200"]
