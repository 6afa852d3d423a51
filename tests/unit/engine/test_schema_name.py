"""The schema of the engine's tables: how it is named, and what a session searches then."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from windlass.config import ConfigError, Settings, settings_from_env
from windlass.schema_name import search_path

NO_FILE = Path("/nonexistent/engine.yaml")


def settings(dsn: str, **env: str) -> Settings:
    return settings_from_env({"WE_POSTGRES_DSN": dsn, **env}, NO_FILE)


def problems(dsn: str, **env: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        settings(dsn, **env)
    return refused.value.problems


@pytest.mark.parametrize(
    "parameter", ["schema=My-Schema", "currentSchema=My-Schema&schema=", "schema=My%2DSchema"]
)
def test_a_schema_may_be_named_in_the_words_of_another_driver(parameter: str) -> None:
    """`schema=` (Prisma) and `currentSchema=` (JDBC) were refused, but for `public`."""
    found = settings(f"postgresql://u@h/d?{parameter}&sslmode=require")
    assert (found.postgres_dsn, found.schema) == ("postgresql://u@h/d?sslmode=require", "My-Schema")
    assert found.warnings == ()
    assert settings("host=h schema=public", WINDLASS_SCHEMA="public").schema == "public"
    assert settings("host=h").schema is None


@pytest.mark.parametrize(
    ("parameter", "gist"),
    [
        (
            "schema=a",
            "config: WINDLASS_SCHEMA is 'b' and WE_POSTGRES_DSN names another schema; name it only once",
        ),
        (
            "search_path=a",
            "config: WE_POSTGRES_DSN sets the search path with search_path, which WINDLASS_SCHEMA al",
        ),
        (
            "options=-c%20Search_Path%3Da",
            "sets the search path with options, which WINDLASS_SCHEMA already decides",
        ),
    ],
)
def test_a_schema_is_named_once(parameter: str, gist: str) -> None:
    (problem,) = problems(f"postgresql://u@h/d?{parameter}", WINDLASS_SCHEMA="b")
    assert gist in problem
    (problem,) = problems("postgresql://u@h/d?schema=a&currentSchema=b")
    assert "names more than one schema" in problem
    (problem,) = problems("postgresql://u@h/d?schema=a&search_path=a")
    assert "sets the search path with search_path, which its schema already decides" in problem


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("x" * 64, "is longer than 63 bytes"),
        ("é" * 32, "is longer than 63 bytes"),
        ("pg_orders", "is one of PostgreSQL's own"),
        ("information_schema", "is one of PostgreSQL's own"),
        ("orders,public", "has a comma in it; name one schema"),
        ('"Orders"', "has quotes around it; write the name as it is"),
        ("orders\n", "ends in a line end"),
        ("ord\0ers", "has a zero byte"),
    ],
)
def test_a_name_that_no_schema_can_have_is_refused(name: str, fault: str) -> None:
    (problem,) = problems("host=h", WINDLASS_SCHEMA=name)
    assert problem.startswith(f"config: WINDLASS_SCHEMA {fault}")
    if not name.isprintable():
        return
    (problem,) = problems(f"postgresql://h/d?schema={quote(name)}")
    assert problem.startswith(f"config: WE_POSTGRES_DSN names a schema that {fault}")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("orders", '"orders", pg_temp'),
        ("My-Schema", '"My-Schema", pg_temp'),
        ('a"b', '"a""b", pg_temp'),
        ("é" * 31, f'"{"é" * 31}", pg_temp'),
        ("PG_x", '"PG_x", pg_temp'),
    ],
)
def test_nothing_but_the_schema_is_searched(name: str, path: str) -> None:
    schema = settings("host=h", WINDLASS_SCHEMA=name).schema
    assert schema == name
    assert search_path(schema) == path
