"""The settings that every session of the engine has, and how they are written where a pooler is in between."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote

from windlass.config import Settings
from windlass.dsn_parameters import SESSION
from windlass.schema_name import search_path

#: They win over what ALTER ROLE and ALTER DATABASE say; not default_transaction_read_only, by which an operator may
#: want to stop all writes.
SESSION_SETTINGS = {
    # Prepared statements with array parameters: planning each batch again costs more than a better plan would save.
    "plan_cache_mode": "force_generic_plan",
    # Frequent statements must use their indexes, even when planned while the table was still empty.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "timezone": "UTC",
    # A node that is lost in a transaction holds rows that calls at the other nodes need, and with them all calls of the
    # same batches; the server ends it. Between two statements a node computes for milliseconds, but for large batches:
    # those ask for more time.
    "idle_in_transaction_session_timeout": "1500",
    "idle_session_timeout": "0",
    # Row locks and their order are made for it (contract 5.3).
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # A wait for a lock ends with its statement.
    "lock_timeout": "0",
}
TIME_OUTS = frozenset({"statement_timeout", "lock_timeout", "idle_session_timeout"})
"""In the DSN they are meant for this engine, and count; but not for migrations."""
STATEMENT_GRACE_S = 1.0
"""The client gives up first; the server ends what a client has left behind that is gone."""
HAS_TRANSACTION_TIMEOUT = 17
"""The first PostgreSQL with that setting. An older one would refuse a session that asks for it."""

#: In a transaction these say nothing: they concern the time between two, or the pooler's own connection.
_OF_THE_CONNECTION = frozenset(
    {"idle_session_timeout", "tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval"}
)
#: A transaction takes these from its BEGIN, since the defaults are for the next one.
_OF_BEGIN = frozenset({"default_transaction_isolation", "default_transaction_deferrable"})
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE"
#: A literal is one name of these, also if it contains commas.
_LISTS = frozenset({"search_path", "temp_tablespaces"})
_LIST_ITEM = re.compile(r'"(?P<quoted>(?:[^"]|"")*)"|(?P<bare>[^\s,"]+)')
_OPTION = re.compile(r"(?:-c\s*|--)(?P<name>[A-Za-z_][\w.-]*)=(?P<value>(?:[^\s\\]|\\.)*)(?:\s+|$)")


def application_name(settings: Settings, purpose: str) -> str:
    return f"windlass/{settings.node_name}/{purpose}"[:63]


def session_settings(settings: Settings, url: str, purpose: str) -> dict[str, str]:
    """Of a session for that purpose, by the names of PostgreSQL's settings; what `url` decides is left out."""
    ours = dict(SESSION_SETTINGS)
    if settings.schema:
        ours["search_path"] = search_path(settings.schema)
    if purpose == "migrate":
        return ours | {"statement_timeout": "0"}
    limit_s = settings.database_timeout_s + STATEMENT_GRACE_S
    ours["statement_timeout"] = str(math.ceil(limit_s * 1000))
    in_dsn = dict(parse_qsl(url.partition("?")[2]))
    return {setting: value for setting, value in ours.items() if setting not in TIME_OUTS & in_dsn.keys()}


def without_settings(url: str) -> tuple[str, dict[str, str]]:
    """The URL without what it sets in a session, which poolers refuse or ignore, and those settings.

    `options` that are not settings stay in it: some poolers read them.
    """
    base, _, query = url.partition("?")
    kept, found = [], {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        options = _settings_of(value) if name == "options" else None
        if options is not None:
            found.update(options)
        elif name.lower() in SESSION and name != "options":
            found[name] = value
        else:
            kept.append((name, value))
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in kept)
    return base + ("?" + query if query else ""), found


def _settings_of(options: str) -> dict[str, str] | None:
    """None when it holds anything but settings."""
    found, position = {}, 0
    text = options.strip()
    while position < len(text):
        match = _OPTION.match(text, position)
        if match is None:
            return None
        found[match["name"].replace("-", "_")] = re.sub(r"\\(.)", r"\1", match["value"])
        position = match.end()
    return found


def begin_with(settings: Mapping[str, str]) -> str:
    """Begins a transaction that has these settings; nothing of them is left when it ends."""
    local = [
        _statement(name, value, is_local=True)
        for name, value in settings.items()
        if name not in _OF_THE_CONNECTION | _OF_BEGIN
    ]
    return "; ".join([_BEGIN, *local])


def set_all(settings: Mapping[str, str]) -> str:
    """Sets them until the session ends."""
    return "; ".join(_statement(name, value, is_local=False) for name, value in settings.items())


def _statement(name: str, value: str, *, is_local: bool) -> str:
    # Not by set_config: a query would take the transaction's snapshot, after which it cannot be made to read one.
    values = _listed(value) if name.lower() in _LISTS else [value]
    return f"SET {'LOCAL ' if is_local else ''}{name} = {', '.join(map(_literal, values))}"


def _listed(text: str) -> list[str]:
    """The names in a list as PostgreSQL reads them in its configuration file."""
    return [
        match["quoted"].replace('""', '"') if match["quoted"] is not None else match["bare"].lower()
        for match in _LIST_ITEM.finditer(text)
    ] or [""]


def _literal(text: str) -> str:
    """Whatever standard_conforming_strings is."""
    doubled = text.replace("'", "''")
    return "E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in text else f"'{doubled}'"
