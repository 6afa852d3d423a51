"""The rights that an engine's role gets: enough for every statement, and none that no statement needs."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from nodes import CHAIN_TABLE

import windlass
from lesser_role import Role, lesser_role
from seatrial.cluster.postgres import PostgresServer
from windlass.config import settings_from_env
from windlass.errors import BootRefused, Defect
from windlass.store.database import Database
from windlass.store.queries import load
from windlass.store.rights import Rights, pairs

pytestmark = pytest.mark.asyncio(loop_scope="session")

STORE = Path(windlass.__file__).parent / "store"
#: What only these ask is asked by the role that migrates.
OF_MIGRATIONS = {STORE / "migrate.py", STORE / "takeover.py"}
#: Numbers that rows get by themselves, with a statement that uses one. That of dispatch_outbox is an identity, for
#: which nobody needs a right.
SEQUENCES: Mapping[str, tuple[Any, ...]] = {
    "audit_log_id_seq": ("definition_audit", "d", 1, "operator"),
    "workflow_definition_pk_seq": ("definition_insert", "d", "d", None, "{}", "[]", None, "{}"),
}
RIGHTS = pairs(removes=True)


def engines_statements() -> dict[str, str]:
    """Those that an engine runs when it has nothing to migrate; a SET needs no right and cannot be explained."""
    asked = {
        path: set(re.findall(r'\bsql\(\s*"(\w+)"\s*\)', path.read_text()))
        for path in STORE.parent.rglob("*.py")
    }
    others = set().union(*(names for path, names in asked.items() if path not in OF_MIGRATIONS))
    migrations = set().union(*(asked[path] for path in OF_MIGRATIONS)) - others
    texts = {name: query.text for name, query in load().items() if name not in migrations}
    return {name: text for name, text in texts.items() if not text.startswith("SET ")}


class Explainer:
    """Plans every statement as the engine's role; PostgreSQL checks rights then, without executing it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._calls: dict[str, str] = {}

    async def prepare(self) -> None:
        for name, text in engines_statements().items():
            await self._connection.execute(f"PREPARE s_{name} AS {text}")
            (count,) = await self._connection.fetchrow(
                "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = $1", f"s_{name}"
            )
            self._calls[name] = f"s_{name} ({', '.join(['NULL'] * count)})" if count else f"s_{name}"

    async def refused(self) -> AsyncIterator[str]:
        for name, call in self._calls.items():
            try:
                await self._connection.execute(f"EXPLAIN EXECUTE {call}")
            except asyncpg.InsufficientPrivilegeError:
                yield name


@pytest_asyncio.fixture(loop_scope="session")
async def role(server: PostgresServer, dsn: str) -> AsyncIterator[Role]:
    async with lesser_role(server, dsn, 'an "engine\'s" role') as role:
        yield role


async def test_nothing_is_missing_and_nothing_is_too_much(role: Role, superuser: Any, one: Any) -> None:
    quoted = await superuser.fetchval("SELECT quote_ident($1)", role.name)
    await superuser.execute(f"SET ROLE windlass; {CHAIN_TABLE}; RESET ROLE")
    rights = Rights(one.database, removes=True)
    count = len(RIGHTS) + len({"CONNECT", "USAGE"}) + len(SEQUENCES)
    without = len(pairs(removes=True)) - len(pairs(removes=False))
    assert await Rights(one.database, removes=False).grant(role.name) == count - without
    connection = await asyncpg.connect(role.dsn)
    explainer = Explainer(connection)
    await explainer.prepare()
    refused = {name async for name in explainer.refused()}
    assert refused
    assert all(name.startswith("retention_") for name in refused), refused
    assert await rights.grant(role.name) == without
    assert await rights.grant(role.name) == 0
    assert [name async for name in explainer.refused()] == []
    for table, privilege in RIGHTS:
        await superuser.execute(f"REVOKE {privilege} ON {table} FROM {quoted}")
        assert [name async for name in explainer.refused()], f"no statement needs {privilege} on {table}"
        assert await rights.grant(role.name) == 1

    for sequence, (name, *values) in SEQUENCES.items():
        await connection.fetch(load()[name].text, *values)
        await superuser.execute(f"REVOKE USAGE ON SEQUENCE {sequence} FROM {quoted}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=sequence):
            await connection.fetch(load()[name].text, *values)
        assert await rights.grant(role.name) == 1

    # It can create nothing, neither for good nor for a while, and change nothing that is there.
    for statement in (
        "CREATE TABLE t ()",
        "CREATE TEMP TABLE t ()",
        "CREATE SCHEMA s",
        "ALTER TABLE job ADD COLUMN c text",
        "TRUNCATE job",
        "UPDATE schema_migrations SET dirty = true",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def test_the_first_right_that_is_missing_is_named_with_its_grant(
    role: Role, superuser: Any, one: Any
) -> None:
    quoted = await superuser.fetchval("SELECT quote_ident($1)", role.name)
    rights = Rights(one.database, removes=False)
    await rights.grant(role.name)
    settings = settings_from_env({"WE_POSTGRES_DSN": role.dsn, "DB_MAX_CONNS": "2"}, Path("/none.yaml"))
    database = Database(settings)
    await database.open()
    theirs = Rights(database, removes=False)
    await theirs.check()
    for privilege, what, statement in (
        ("INSERT", "TABLE public.job", "EXPLAIN INSERT INTO job DEFAULT VALUES"),
        ("SELECT", "TABLE public.workflow_definition", load()["definition_job_types"].text),
        ("USAGE", "SEQUENCE public.audit_log_id_seq", "SELECT nextval('audit_log_id_seq')"),
        ("USAGE", "SCHEMA public", load()["outbox_backlog"].text),
    ):
        await superuser.execute(f"REVOKE {privilege} ON {what} FROM {quoted}")
        kind, name = what.split()
        told = f"lacks {privilege} on {kind.lower()} {name}; run: GRANT {privilege} ON {what} TO {quoted}"
        with pytest.raises(BootRefused) as refused:
            await theirs.check()
        assert told in refused.value.reason
        assert """windlass migrate --app-role 'an "engine'"'"'s" role'""" in refused.value.reason
        with pytest.raises(Defect) as broken:
            await database.fetch(statement)
        assert told in broken.value.reason
        assert await rights.grant(role.name) == 1
    await database.close()


async def test_what_the_owner_may_not_give_is_refused_by_name(role: Role, superuser: Any, one: Any) -> None:
    rights = Rights(one.database, removes=False)
    # One table is another's: without any right in it PostgreSQL refuses, with some it only warns.
    await superuser.execute("ALTER TABLE job OWNER TO postgres")
    for also in ("REVOKE ALL ON job FROM windlass", "GRANT SELECT ON job TO windlass"):
        await superuser.execute(also)
        with pytest.raises(
            BootRefused, match=r"lacks SELECT on table public\.job; run: GRANT SELECT ON TABLE"
        ) as told:
            await rights.grant(role.name)
        assert "may not give that right" in told.value.reason
        assert not await superuser.fetchval(
            "SELECT has_table_privilege($1, 'workflow_instance', 'SELECT')", role.name
        )
    with pytest.raises(BootRefused, match=r'there is no role "nobody\'s"'):
        await rights.require("nobody's")
