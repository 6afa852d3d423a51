"""What the engine's role needs in the database, and no more. What is missing is named with the statement that gives it.

Two roles may share an installation: one owns the tables and migrates, the other runs the engine and can create nothing.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from windlass.errors import BootRefused
from windlass.schema_name import quoted
from windlass.store.driver import DRIVER_ERRORS, Connection, Row, may_lack_right
from windlass.store.queries import sql
from windlass.store.session import Session, SessionFailed

if TYPE_CHECKING:
    from windlass.store.database import Database

#: By table, for the statements of sql/*.sql that a running engine executes. Locking rows needs UPDATE; foreign keys
#: need nothing, since they are checked as the owner.
TABLES: Mapping[str, Sequence[str]] = {
    "schema_migrations": ("SELECT",),
    "windlass_migration": ("SELECT",),
    "workflow_definition": ("SELECT", "INSERT"),
    "workflow_instance": ("SELECT", "INSERT", "UPDATE"),
    "step_execution": ("SELECT", "INSERT", "UPDATE"),
    "job": ("SELECT", "INSERT", "UPDATE"),
    "user_task": ("SELECT", "INSERT", "UPDATE"),
    "boundary_event_schedule": ("SELECT", "INSERT", "UPDATE"),
    "audit_log": ("INSERT",),
    "dispatch_outbox": ("SELECT", "INSERT", "DELETE"),
    "windlass_node": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "windlass_worker": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "windlass_job_dispatch": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "windlass_leader": ("SELECT", "INSERT", "UPDATE"),
}
#: Besides, for those of retention.sql: with WINDLASS_RETENTION_DAYS, and for windlass prune. The last is another
#: engine's, if it is there.
REMOVAL: Mapping[str, Sequence[str]] = {
    "workflow_instance": ("DELETE",),
    "step_execution": ("DELETE",),
    "job": ("DELETE",),
    "user_task": ("DELETE",),
    "boundary_event_schedule": ("DELETE",),
    "audit_log": ("SELECT", "UPDATE", "DELETE"),
    "workflow_chain": ("SELECT", "DELETE"),
}


def pairs(*, removes: bool) -> Sequence[tuple[str, str]]:
    """Table and privilege, for an engine that also removes old rows, or does not."""
    kinds = (TABLES, REMOVAL) if removes else (TABLES,)
    return [(name, privilege) for kind in kinds for name in kind for privilege in kind[name]]


class MissingRight(NamedTuple):
    role: str
    privilege: str
    """As PostgreSQL calls it, or `ownership`, for which there is none."""
    kind: str
    """DATABASE, SCHEMA, TABLE or SEQUENCE."""
    object: str
    """Its name, as it is written in a statement."""
    remedy: str
    """The statement that gives the right."""

    @property
    def is_to_rows(self) -> bool:
        """The schema can be seen, and what is in it."""
        return self.kind in {"TABLE", "SEQUENCE"}

    def __str__(self) -> str:
        return f"the role {self.role} lacks {self.privilege} on {self.kind.lower()} {self.object}; run: {self.remedy}"


async def missing(
    source: Connection | Database, schema: str | None, *, removes: bool, role: str | None = None
) -> list[MissingRight]:
    """All that a role lacks to run the engine, None: the session's own; in the order in which it would be met."""
    names, privileges = zip(*pairs(removes=removes), strict=True)
    if schema is None:
        places = await source.fetch(sql("rights_place"))
        schema = places[0]["nspname"] if places else None
    rows = await source.fetch(sql("rights_missing"), role, schema, names, privileges)
    return [MissingRight(*row) for row in rows]


def _command(role: str) -> str:
    return f"windlass migrate --app-role {shlex.quote(role)}"


class Rights:
    """Of an engine that also removes old rows, or does not. Every method raises EngineError when the database cannot be
    asked.
    """

    def __init__(self, database: Database, *, removes: bool) -> None:
        self._database = database
        self._removes = removes

    async def first_missing(self) -> MissingRight | None:
        found = await self._missing(self._database)
        return found[0] if found else None

    async def check(self) -> None:
        """Raises BootRefused naming the first right that the engine's role lacks."""
        right = await self.first_missing()
        if right:
            raise BootRefused(
                f"{right}; or give it all that an engine needs: run {_command(right.role)} as the role that owns "
                f"the tables{', with WINDLASS_RETENTION_DAYS' if self._removes else ''}"
            )

    async def grant(self, role: str) -> int:
        """Gives a role what it lacks to run the engine; returns how many rights those were.

        Raises BootRefused for a role that there is not, and for a right that this session's role cannot give.
        """
        async with self._database.transaction() as connection:
            await connection.execute(sql("rights_lock"))
            await _require(connection, role)
            lacking = await self._missing(connection, role)
            for right in lacking:
                try:
                    await connection.execute(right.remedy)
                except DRIVER_ERRORS as err:
                    raise BootRefused(_not_given(right)) from err
            # Whoever owns nothing and may give nothing is only warned by PostgreSQL.
            for right in await self._missing(connection, role):
                raise BootRefused(_not_given(right))
        return len(lacking)

    async def _missing(self, source: Connection | Database, role: str | None = None) -> list[MissingRight]:
        return await missing(source, self._database.schema, removes=self._removes, role=role)

    async def require(self, role: str) -> None:
        """Raises BootRefused when there is no role of that name."""
        await _require(self._database, role)


async def _require(source: Connection | Database, role: str) -> None:
    (found,) = await source.fetch(sql("rights_role_exists"), role)
    if not found["is_there"]:
        raise BootRefused(
            f"--app-role: there is no role {found['quoted']} on this server; make it first, with CREATE ROLE "
            f"{found['quoted']} LOGIN and a password"
        )


def _not_given(right: MissingRight) -> str:
    return f"--app-role: {right}, as its owner: the role of WE_POSTGRES_DSN may not give that right"


async def explained(connection: Connection, schema: str | None) -> str:
    """The first right that this session's role lacks, with the remedy; empty when it has all, or cannot be asked."""
    with contextlib.suppress(*DRIVER_ERRORS):
        for right in await missing(connection, schema, removes=True):
            return str(right)
        if schema is not None:
            (found,) = await connection.fetch(sql("rights_schema_state"), schema)
            return "" if found["is_there"] else f"there is no schema {quoted(schema)}; run windlass migrate"
    return ""


def remedy_at_login(err: BaseException, url: str) -> str:
    """What a role needs that the server knows and does not let into the database; empty for any other error."""
    if not may_lack_right(err):
        return ""
    address = urlsplit(url)
    role = unquote(address.username or "") or "NAME"
    database = unquote(address.path.removeprefix("/")) or role
    return (
        f"GRANT CONNECT ON DATABASE {quoted(database)} TO {quoted(role)}, or {_command(role)}, as the owner"
    )


# -- migrations


async def make_schema(session: Session, schema: str | None) -> None:
    """Makes the schema when it is not there. Raises BootRefused without the right to, and SessionFailed."""
    if schema is None or (found := await _schema_state(session, schema))["is_there"]:
        return
    await require_to_migrate(session, schema)
    try:
        await session.execute(found["statement"])
    except SessionFailed:
        # Of two nodes that make it at one moment PostgreSQL refuses one.
        if not (await _schema_state(session, schema))["is_there"]:
            raise


async def _schema_state(session: Session, schema: str) -> Row:
    return await session.fetch_row(sql("rights_schema_state"), schema)


async def require_to_migrate(session: Session, schema: str | None) -> None:
    """Raises BootRefused naming the first right that this session's role lacks to change the tables."""
    if schema is None and (place := await session.fetch_row(sql("rights_place"))):
        schema = place["nspname"]
    row = schema and await session.fetch_row(sql("rights_missing_to_migrate"), schema, list(TABLES))
    if row:
        right = MissingRight(*row)
        raise BootRefused(
            f"the schema cannot be brought up to date: {right}; or run {_command(right.role)} as a role that may"
        )
