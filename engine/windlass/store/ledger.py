"""What a database shows of the schema, and what follows: the migrations that are missing, or a refusal by name.

Two numbers and the catalog must agree. `schema_migrations` counts the steps that this engine shares with another one;
`windlass_migration`, the ledger, counts our own. Nothing here writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from windlass.errors import BootRefused
from windlass.store.driver import Row
from windlass.store.queries import sql
from windlass.store.shape import (
    FORMER,
    LEDGER,
    OWN,
    SCHEMA_MIGRATIONS,
    SHARED,
    SHARED_KNOWN,
    SHARED_MADE_HERE,
    Columns,
    Shape,
)

_FILE = re.compile(r"^(\d{4})_(\w+)\.sql$")
_KINDS = {"r": "table", "p": "table", "v": "view", "m": "view", "i": "index", "I": "index", "S": "sequence"}
OTHERS = "give this engine a schema or a database of its own (WINDLASS_SCHEMA, WE_POSTGRES_DSN)"
FetchRow = Callable[..., Awaitable[Row | None]]


class Migration(NamedTuple):
    version: int
    name: str
    text: str
    is_own: bool

    @property
    def label(self) -> str:
        """Its file, for people: both kinds count from 0001."""
        return f"own/{self.name}" if self.is_own else self.name


def migrations() -> Sequence[Migration]:
    """All, in the order in which they are applied: the shared ones first. A gap in the numbers is a ValueError."""
    return (*_read("migrations", is_own=False), *_read("migrations/own", is_own=True))


@cache
def _read(folder: str, *, is_own: bool) -> Sequence[Migration]:
    found = []
    for file in resources.files("windlass.store").joinpath(folder).iterdir():
        match = _FILE.match(file.name)
        if match:
            name, text = file.name.removesuffix(".sql"), file.read_text(encoding="utf-8")
            found.append(Migration(int(match[1]), name, text, is_own))
    found.sort()
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations are not numbered 1..n: {[m.name for m in found]}")
    return tuple(found)


def newest() -> int:
    """Of our own migrations."""
    return migrations()[-1].version


_MADE = re.compile(r"^CREATE (?:TABLE|(?:UNIQUE )?INDEX) (\w+)", re.MULTILINE)


@cache
def _names() -> Sequence[str]:
    """Of all that this engine makes or knows."""
    found = {"schema_migrations", "windlass_migration"}
    for shape in (*SHARED.values(), *OWN.values()):
        found |= {*shape.tables, *shape.indexes}
    for migration in migrations():
        found |= {*_MADE.findall(migration.text)}
    return sorted(found)


# -- what is found


class Relation(NamedTuple):
    kind: str
    of: str | None
    """The table of an index."""
    columns: Mapping[str, tuple[str, bool]]
    """The type of each, and whether an insert must give it."""


class Numbers(NamedTuple):
    rows: int
    version: int
    dirty: bool


class Found(NamedTuple):
    """One consistent look at a database."""

    schema: str | None
    """Where tables are made; None if the search path names no schema that exists."""
    relations: Mapping[str, Relation]
    """By name, those alone that this engine knows."""
    shared: Numbers | None
    """None without a table of that shape."""
    own: Sequence[int] | None
    state: Row
    """As `schema_state` gives it."""


async def look(fetch_row: FetchRow) -> Found:
    """In a transaction whose statements see one snapshot, or under the migrations' lock."""
    state = await fetch_row(sql("schema_state"), _names())
    assert state is not None
    relations = {
        name: Relation(
            _KINDS.get(each["kind"], "relation"),
            each["of"],
            {column: tuple(shown) for column, shown in each["columns"].items()},
        )
        for name, each in json.loads(state["relations"]).items()
    }
    shared = own = None
    if _has_shape(relations, "schema_migrations", SCHEMA_MIGRATIONS):
        row = await fetch_row(sql("schema_shared"))
        assert row is not None
        shared = Numbers(row["rows"], row["version"], row["dirty"])
    if _has_shape(relations, "windlass_migration", LEDGER):
        row = await fetch_row(sql("schema_ledger"))
        assert row is not None
        own = row["versions"]
    return Found(state["schema"], relations, shared, own, state)


def _has_shape(relations: Mapping[str, Relation], name: str, columns: Columns) -> bool:
    relation = relations.get(name)
    return relation is not None and relation.kind == "table" and not _differences(relation, columns)


def _differences(relation: Relation, columns: Columns, more: Columns | None = None) -> list[str]:
    """How a table differs from one that has these columns, and perhaps `more` of ours."""
    told = []
    for name, kind in columns.items():
        if name not in relation.columns:
            told.append(f"has no column {name}")
        elif relation.columns[name][0] != kind:
            told.append(f"has a column {name} of type {relation.columns[name][0]}, not {kind}")
    told += [
        f"has a column {name} that every insert must give"
        for name, (_, must_be_given) in relation.columns.items()
        if must_be_given and name not in columns and name not in (more or {})
    ]
    return told


# -- what follows


class Standing(NamedTuple):
    """A schema that this engine may use, or bring up to date."""

    shared: int
    """The number in schema_migrations once `set_back_to` is done."""
    own: int
    """Our newest migration there, 0 for none; higher than this release's in a database that a later one has seen."""
    missing: Sequence[Migration]
    set_back_to: int | None
    """Our own steps stand in schema_migrations, as they did before there was a ledger: it is to say this instead."""

    @property
    def is_current(self) -> bool:
        return not self.missing and self.set_back_to is None


def judge(found: Found) -> Standing:
    """Raises BootRefused, naming what was found, where, and the remedy, if it is not this engine's or in disorder."""
    if found.schema is None:
        raise BootRefused(
            "the search path of this role names no schema that exists; create one, or set WINDLASS_SCHEMA"
        )
    for name, columns in (("schema_migrations", SCHEMA_MIGRATIONS), ("windlass_migration", LEDGER)):
        _require_ours(found, name, columns)
    shared = found.shared or Numbers(0, 0, dirty=False)
    _require_our_numbers(found, shared)
    _require_no_stranger(found)
    shown = _shown(found)
    own = found.own or ()
    set_back_to = None
    if shared.version in FORMER and shared.version > shown >= SHARED_MADE_HERE:
        former = FORMER[shared.version]
        if not _lacks(found, former):
            set_back_to = shown
    if set_back_to is None:
        _require_agreement(found, shared.version, shown)
    for version in own:
        for lack in _lacks(found, OWN.get(version, Shape())):
            raise BootRefused(
                f"{found.schema}.windlass_migration says that {version} was applied, but {lack}; restore it, or the "
                "database from a backup"
            )
    at = shown if set_back_to is not None else shared.version
    missing = [
        each for each in migrations() if (each.version not in own if each.is_own else each.version > at)
    ]
    _require_room(found, missing)
    return Standing(at, max(own, default=0), missing, set_back_to)


def _require_ours(found: Found, name: str, columns: Columns) -> None:
    relation = found.relations.get(name)
    if relation is not None and not _has_shape(found.relations, name, columns):
        shown = ", ".join(f"{column} {kind}" for column, (kind, _) in relation.columns.items())
        raise BootRefused(
            f"the {relation.kind} {found.schema}.{name} is another application's: it has the columns ({shown}); "
            f"{OTHERS}"
        )


def _require_our_numbers(found: Found, shared: Numbers) -> None:
    where = f"{found.schema}.schema_migrations"
    if shared.version > SHARED_KNOWN and not any(
        name in found.relations for shape in SHARED.values() for name in shape.tables
    ):
        raise BootRefused(
            f"{where} is at version {shared.version} and there is no table of this engine's in that schema: it is "
            f"another application's; {OTHERS}"
        )
    if shared.rows > 1:
        raise BootRefused(
            f"{where} has {shared.rows} rows where one is meant: it is another application's; {OTHERS}"
        )
    if shared.dirty:
        raise BootRefused(
            f"{where}: version {shared.version} is marked dirty; repair that migration by hand, then set dirty = false"
        )


def _require_no_stranger(found: Found) -> None:
    """A table by one of our names must be of our kind, whatever the numbers say."""
    more: dict[str, dict[str, str]] = {}
    for shape in OWN.values():
        for table, columns in shape.columns.items():
            more.setdefault(table, {}).update(columns)
    for shape in (*SHARED.values(), *OWN.values()):
        for name, columns in shape.tables.items():
            relation = found.relations.get(name)
            if relation is None:
                continue
            ours = {column: kind for column, kind in more.get(name, {}).items() if column in relation.columns}
            told = [] if relation.kind == "table" else [f"is a {relation.kind}"]
            told += _differences(relation, {**columns, **ours})
            if told:
                raise BootRefused(
                    f"{found.schema}.{name} is not this engine's table of that name: it {'; '.join(told)}; {OTHERS}"
                )
        for name, table in shape.indexes.items():
            relation = found.relations.get(name)
            if relation is not None and relation.of != table:
                raise BootRefused(
                    f"{found.schema}.{name} is not this engine's index on {table}, but {_described(relation)}; "
                    f"rename it, or {OTHERS}"
                )


def _described(relation: Relation) -> str:
    return f"an index on {relation.of}" if relation.of else f"a {relation.kind}"


def _shown(found: Found) -> int:
    """The shared number whose result the catalog shows; 8 is not seen apart from 7."""
    shown = 0
    for version, shape in sorted(SHARED.items()):
        if shape != Shape() and _lacks(found, shape):
            break
        shown = version
    return shown


def _lacks(found: Found, shape: Shape) -> list[str]:
    told = [
        f"there is no table {found.schema}.{name}" for name in shape.tables if name not in found.relations
    ]
    told += [
        f"there is no index {found.schema}.{name}" for name in shape.indexes if name not in found.relations
    ]
    for table, columns in shape.columns.items():
        there = found.relations[table].columns if table in found.relations else {}
        told += [f"{found.schema}.{table} has no column {name}" for name in columns if name not in there]
    return told


def _require_agreement(found: Found, version: int, shown: int) -> None:
    where = f"{found.schema}.schema_migrations"
    if version > SHARED_KNOWN:
        raise BootRefused(
            f"{where} is at version {version}, but this release knows the other engine's migrations up to "
            f"{SHARED_KNOWN}: take the database over with a newer release, or go back to {SHARED_KNOWN} with the "
            "engine that made it"
        )
    for number, shape in SHARED.items():
        lacks = _lacks(found, shape) if number <= version else ()
        if lacks:
            raise BootRefused(
                f"{where} is at version {version}, but {lacks[0]}: it is another application's, or was changed by "
                f"hand; {OTHERS}, or restore what is missing"
            )
    at = f"{where} is at version {version}" if found.shared else f"there is no table {where}"
    for number, shape in SHARED.items():
        there = [name for name in (*shape.tables, *shape.indexes) if name in found.relations]
        if number > version and there:
            raise BootRefused(
                f"{found.schema}.{there[0]} is there, which migration {number} makes, but {at}: if nobody else uses "
                f"it, give that table the row that it lost (the catalog shows {shown}), or {OTHERS}"
            )


def _require_room(found: Found, missing: Sequence[Migration]) -> None:
    """Shared migrations say CREATE without IF NOT EXISTS; what is in the way is told before the first of them."""
    for migration in missing:
        for name in () if migration.is_own else _MADE.findall(migration.text):
            relation = found.relations.get(name)
            if relation is not None:
                raise BootRefused(
                    f"{found.schema}.{name}, {_described(relation)}, is in the way of {migration.name}; rename it, or "
                    f"{OTHERS}"
                )
