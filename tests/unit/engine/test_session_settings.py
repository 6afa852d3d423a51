"""How the engine's settings are written where a pooler is in between, and what a DSN adds to them."""

from __future__ import annotations

import pytest

from windlass.store.session_settings import begin_with, set_all, without_settings


@pytest.mark.parametrize(
    ("query", "kept", "found"),
    [
        ("", "", {}),
        ("?sslmode=disable", "?sslmode=disable", {}),
        ("?search_path=a%2Cb&sslmode=disable", "?sslmode=disable", {"search_path": "a,b"}),
        ("?role=app&tcp_keepalives_idle=5", "", {"role": "app", "tcp_keepalives_idle": "5"}),
        (
            "?options=-c%20work_mem%3D5MB%20--search-path%3Da%5C%20b%20-cjit%3Don",
            "",
            {"work_mem": "5MB", "search_path": "a b", "jit": "on"},
        ),
        # As a pooler for many tenants reads it: not a setting, and left for the pooler.
        ("?options=reference%3Dtenant", "?options=reference%3Dtenant", {}),
    ],
)
def test_what_a_dsn_sets_in_a_session_is_taken_out_of_it(
    query: str, kept: str, found: dict[str, str]
) -> None:
    assert without_settings(f"postgresql://u:p@h/d{query}") == (f"postgresql://u:p@h/d{kept}", found)


def test_a_transaction_begins_with_its_settings_and_no_default_for_the_next_one() -> None:
    settings = {
        "jit": "off",
        "default_transaction_isolation": "read committed",
        "idle_session_timeout": "0",
        "lock_timeout": "0",
    }
    assert begin_with(settings) == (
        "BEGIN ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE; SET LOCAL jit = 'off'; SET LOCAL lock_timeout = '0'"
    )


def test_no_value_of_a_dsn_leaves_its_quotes_and_a_list_stays_a_list() -> None:
    assert set_all({"search_path": 'My, "A, b""c", "$user"', "work_mem": "5MB"}) == (
        "SET search_path = 'my', 'A, b\"c', '$user'; SET work_mem = '5MB'"
    )
    assert set_all({"search_path": "", "x.y": "o'a, b"}) == "SET search_path = ''; SET x.y = 'o''a, b'"
    assert begin_with({"x.y": "a\\'b"}).endswith("; SET LOCAL x.y = E'a\\\\''b'")
