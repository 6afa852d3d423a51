"""The name of the database schema that holds the engine's tables: what it may be, and how a session is led there."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.dsn import encoding_fault, stray_fault

BYTES_MAX = 63
"""PostgreSQL cuts longer names silently."""


def name_fault(name: str) -> tuple[str, str]:
    """What is wrong with it, and the remedy; both empty when nothing is. Neither contains the name."""
    fault = stray_fault(name) or encoding_fault(name)
    if fault:
        return fault, "write the name alone"
    if name[:1] == '"' and name[-1:] == '"':
        return "has quotes around it", "write the name as it is, without them"
    if "," in name:
        return "has a comma in it", "name one schema; no other is searched"
    if len(name.encode()) > BYTES_MAX:
        return f"is longer than {BYTES_MAX} bytes", "PostgreSQL keeps no more of a name: choose a shorter one"
    if name.startswith("pg_") or name == "information_schema":
        return "is one of PostgreSQL's own", "choose a name that does not begin with pg_"
    return "", ""


def search_path(schema: str) -> str:
    """Of that schema alone. Temporary tables come last: unless named they come first, and could hide ours."""
    return f"{quoted(schema)}, pg_temp"


def quoted(name: str) -> str:
    """As an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def leads_elsewhere(parameters: Sequence[tuple[str, str]]) -> str:
    """The parameter of a DSN that sets a search path of its own; empty when there is none."""
    for name, value in parameters:
        if name == "search_path" or (name == "options" and "search_path" in value.lower()):
            return name
    return ""
