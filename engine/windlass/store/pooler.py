"""Sessions of one DSN, opened as whatever is on the way needs it: nothing, or a pooler in session or transaction mode.

A pooler answers a client at once and hands out server sessions later, so it invents the process id that the protocol
tells first; PostgreSQL's own differs from it. Without a pooler, or through a proxy that only forwards, they are equal.
This is looked at in every new session, since a name may move to a pooler and away from it.

Behind a pooler in transaction mode each transaction may run in another server session, which other clients use before
and after it. So settings are made in each transaction and for it alone, and statements have no names that could be
missing or taken there, unless the pooler keeps account of them itself (PgBouncer from 1.21, max_prepared_statements).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import asyncpg

from windlass.store.connect import Connector, NoHostTaken, SessionConnection
from windlass.store.queries import sql
from windlass.store.session_settings import (
    HAS_TRANSACTION_TIMEOUT,
    begin_with,
    set_all,
    without_settings,
)

#: Refusals of what a session asks for at its start: PgBouncer's protocol violation, RDS Proxy's unsupported feature.
_STARTUP_REFUSED = frozenset({"08P01", "0A000"})
_NAMES = secrets.token_hex(4)
"""Of this process: a name that another one has given is never taken for ours."""
CANCELLED_MAX = 5


class Way(Enum):
    """What is between the engine and the server; the values are shown to operators."""

    DIRECT = "direct"
    SESSION_POOLER = "session pooler"
    TRANSACTION_POOLER = "transaction pooler"


class EngineConnection(SessionConnection):
    """A connection that knows what its session can keep; as it is opened, nothing."""

    begin_text = "BEGIN"
    """Begins a transaction with the engine's settings."""
    is_shared = False
    """Each transaction may run in another server session: settings and locks end with it."""
    names_statements = False
    """Prepared statements are kept in the server, by name."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unnamed: dict[tuple[object, ...], Any] = {}

    def get_reset_query(self) -> str:
        """Nothing to reset between users: the engine leaves no state in a pooled session."""
        return ""

    async def _get_statement(
        self,
        query: str,
        timeout: float | None,  # noqa: ASYNC109  as the driver names it
        *,
        named: str | bool | None = False,
        **options: Any,
    ) -> Any:
        """Without names only types are kept: each execution parses the text again, in the same round trip.

        A type cannot change under it: no migration changes one while an engine runs that reads it.
        """
        if named or self.names_statements:
            if not named and self.is_shared:
                named = self._get_unique_id(f"windlass_{_NAMES}")
            return await super()._get_statement(query, timeout, named=named, **options)
        key = (query, *sorted(options.items(), key=lambda option: option[0]))
        statement = self._unnamed.get(key)
        if statement is None:
            unkept = options | {"use_cache": False}
            statement = await super()._get_statement(query, timeout, named="", **unkept)
            statement.mark_unprepared()
            self._unnamed[key] = statement
        return statement


@dataclass(frozen=True, slots=True)
class Found:
    way: Way
    maps_names: bool = False
    """The pooler keeps account of named statements."""
    is_shared: bool = False
    """Transactions of one client were seen in several server sessions, or those of two in one."""


class SessionOpener:
    """`claim` is what the operator says of the way: auto, none, session or transaction. `connect_s` is for all hosts of
    the URL together, `command_s` for each statement.

    `way` is what the last session showed. Methods raise the driver's errors.
    """

    def __init__(
        self,
        url: str,
        tls: ssl.SSLContext | None,
        *,
        connect_s: float,
        command_s: float,
        claim: str,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = url
        self._command_s = command_s
        self._claim = claim
        self._changed = changed
        pooled_url, self._in_url = without_settings(url)
        self._direct = Connector(url, tls, connect_s)
        self._pooled = Connector(pooled_url, tls, connect_s)
        self._found: Found | None = None
        self._finding = asyncio.Lock()
        self.way = Way.DIRECT

    def forget(self) -> None:
        """The next session asks again what is on the way: a statement's name was missing there, or taken."""
        self._found = None

    async def find(self, name: str) -> Found:
        """What is on the way, by asking sessions that set nothing but their application_name, and end again."""
        async with self._finding:
            if self._found is None:
                self._found = await self._find(name)
                self._went(self._found.way)
            return self._found

    async def _find(self, name: str) -> Found:
        if self._claim == "none":
            return Found(Way.DIRECT)
        first = await self._connect(self._pooled, {"application_name": name})
        second = None
        try:
            way = self._way_of(first, await _backend(first))
            if way is Way.DIRECT:
                return Found(way)
            second = await self._connect(self._pooled, {"application_name": name})
            is_shared = await _share_sessions(first, second)
            if is_shared:
                way = Way.TRANSACTION_POOLER
            return Found(way, await _maps_names(first), is_shared)
        finally:
            for connection in (first, second):
                if connection is not None:
                    await _end(connection)

    async def open(self, name: str, settings: Mapping[str, str], **options: Any) -> EngineConnection:
        """A session with these settings, or one whose `begin_text` makes them; `name` is its application_name."""
        found = self._found or await self.find(name)
        try:
            connection = await self._connect_by(found, name, settings, options)
        except (asyncpg.PostgresError, NoHostTaken) as err:
            if found.way is not Way.DIRECT or self._claim == "none" or not _is_refused_start(err):
                raise
            # Perhaps the name leads to a pooler now.
            self.forget()
            found = await self.find(name)
            if found.way is Way.DIRECT:
                raise
            connection = await self._connect_by(found, name, settings, options)
        try:
            await self._settle(connection, found, settings)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _connect_by(
        self, found: Found, name: str, settings: Mapping[str, str], options: Mapping[str, Any]
    ) -> EngineConnection:
        at_start = {"application_name": name}
        if found.way is Way.DIRECT:
            return await self._connect(self._direct, {**settings, **at_start}, **options)
        # Of what may be asked for at the start every pooler passes on no more than this.
        return await self._connect(self._pooled, at_start, **options)

    async def _connect(
        self, connector: Connector, at_start: Mapping[str, str], **options: Any
    ) -> EngineConnection:
        options = {"command_timeout": self._command_s, **options}
        return await connector.open(
            connection_class=EngineConnection, server_settings=dict(at_start), **options
        )

    async def _settle(self, connection: EngineConnection, found: Found, settings: Mapping[str, str]) -> None:
        way = Way.DIRECT if self._claim == "none" else self._way_of(connection, await _backend(connection))
        if way is Way.SESSION_POOLER and found.is_shared:
            way = Way.TRANSACTION_POOLER
        has_timeout = connection.get_server_version().major >= HAS_TRANSACTION_TIMEOUT
        newer = {"transaction_timeout": "0"} if has_timeout else {}
        if way is Way.TRANSACTION_POOLER:
            connection.begin_text = begin_with({**self._in_url, **settings, **newer})
            connection.is_shared = True
            connection.names_statements = found.maps_names
        else:
            missing = newer if found.way is Way.DIRECT else {**self._in_url, **settings, **newer}
            if missing:
                await connection.execute(set_all(missing))
            connection.names_statements = True
        if way is not found.way:
            self.forget()
            self._went(way)

    def _way_of(self, connection: EngineConnection, backend_pid: int) -> Way:
        if self._claim == "transaction":
            return Way.TRANSACTION_POOLER
        if backend_pid == connection.get_server_pid():
            return Way.DIRECT
        return Way.SESSION_POOLER if self._claim == "session" else Way.TRANSACTION_POOLER

    def _went(self, way: Way) -> None:
        if way is not self.way:
            self.way = way
            self._changed()


def _is_refused_start(err: BaseException) -> bool:
    if isinstance(err, asyncpg.PostgresError):
        return err.sqlstate in _STARTUP_REFUSED
    # Of several hosts only the texts are left.
    return "startup parameter" in str(err)


async def _backend(connection: EngineConnection) -> int:
    """Asked before the engine's settings are made, so a short time-out of the role's may cancel it."""
    for _ in range(CANCELLED_MAX):
        with contextlib.suppress(asyncpg.QueryCanceledError):
            return int(await connection.fetchval(sql("session_backend")))
    return int(await connection.fetchval(sql("session_backend")))


async def _share_sessions(first: EngineConnection, second: EngineConnection) -> bool:
    """Whether transactions were seen to share server sessions. True is certain, False only likely.

    A pooler gives out the session that was given back last, or first: in this order each of the two shows.
    """
    seen: dict[EngineConnection, set[int]] = {first: set(), second: set()}
    for connection in (first, first, second, first, second, second, first):
        seen[connection].add(await _backend(connection))
        if any(len(pids) > 1 for pids in seen.values()) or seen[first] & seen[second]:
            return True
    return False


async def _maps_names(connection: EngineConnection) -> bool:
    """Whether a statement has another name in the server than the one that was given to it."""
    name, text = f"windlass_{secrets.token_hex(8)}", sql("ping")
    await connection.execute("BEGIN")
    statement = await connection.prepare(text, name=name)
    names = {row["name"] for row in await connection.fetch(sql("session_statement_names"), text)}
    if name in names:
        await connection.execute(f"DEALLOCATE {name}")
    await connection.execute("COMMIT")
    del statement
    return bool(names) and name not in names


async def _end(connection: EngineConnection) -> None:
    """Without waiting for a server that does not answer."""
    try:
        await connection.close(timeout=1.0)
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
