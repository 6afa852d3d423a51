"""Opens one session: on the host that a DSN of several hosts is about, and on a socket that notices silence.

The driver tries the hosts and the addresses of a name in turn, with one time-out for all, so that a first one that
drops packets leaves nothing to the second. Here each begins `APART_S` after the one before it at the latest, without
ending it, and the first that is as `target_session_attrs` asks wins (as RFC 8305 does for the addresses of a name).
Names are looked up for every session: one that moves is followed by the next session.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import asyncpg

from windlass.dsn_hosts import Host, hosts
from windlass.store.driver import DRIVER_ERRORS, describe

APART_S = 1.0
SILENCE_MAX_S = 3.0
"""A server that acknowledges nothing for so long is given up by the kernel, and with it the session."""
IDLE_PROBE_S = 5
"""Without traffic the kernel asks so often whether the other side still knows the session."""
STANDBY_SESSION_MAX_S = 1.0
"""A session on a standby is not used any longer than that, so that reads follow a name that moves."""
CLOSE_S = 1.0
ANY, PREFER_STANDBY, STANDBY = "any", "prefer-standby", "standby"
SEVERAL_HOSTS_DEFAULT = "read-write"
"""Of several hosts the one that takes writes is meant, as the engine can do nothing on another; libpq takes any."""
_REASON_CHARACTERS_MAX = 120

T = TypeVar("T")
Address = tuple[int, Any]
"""A socket's family, and what it connects to."""
Opened: TypeAlias = "tuple[SessionConnection, Host, Address | None]"


class SessionConnection(asyncpg.Connection):  # type: ignore[misc]
    opened_s = 0.0
    """When its opening began, in monotonic time."""

    def __init__(self, protocol: Any, transport: Any, loop: Any, *rest: Any) -> None:
        # The driver asks asyncio for what is known of a loop, so it has to be the real one from here on.
        super().__init__(protocol, transport, loop.real if isinstance(loop, _SocketsTo) else loop, *rest)

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  as the driver names it
        """Politely, unless the other side does not take part: the pool replaces sessions that may be dead."""
        with contextlib.suppress(*DRIVER_ERRORS):
            await super().close(timeout=min(timeout or CLOSE_S, CLOSE_S))

    @property
    def is_on_standby(self) -> bool:
        """As the server has told last, without being asked; a pooler may repeat what it was told at its own start."""
        return getattr(self.get_settings(), "in_hot_standby", "off") == "on"

    @property
    def is_spent(self) -> bool:
        """On a standby, and for longer than such a session may be used."""
        return self.is_on_standby and time.monotonic() - self.opened_s > STANDBY_SESSION_MAX_S


class NoHostTaken(ConnectionError):
    """No host could be used; the text says for each what happened."""


class _AllFailed(Exception):
    def __init__(self, errors: Sequence[BaseException]) -> None:
        super().__init__()
        self.errors = errors


class Connector:
    """`timeout_s` is for all hosts together."""

    def __init__(self, url: str, tls: ssl.SSLContext | None, timeout_s: float) -> None:
        self._url = url
        self._tls = tls
        self._timeout_s = timeout_s
        self._hosts = hosts(url)
        asked = dict(parse_qsl(url.partition("?")[2])).get("target_session_attrs")
        self._attribute = asked or (SEVERAL_HOSTS_DEFAULT if len(self._hosts) > 1 else ANY)
        self._last: tuple[Host, Address | None] | None = None

    async def open(
        self,
        _dsn: None = None,
        *,
        connection_class: type[SessionConnection] = SessionConnection,
        **options: Any,
    ) -> SessionConnection:
        """`options` are the driver's. Raises one of DRIVER_ERRORS; with several hosts a NoHostTaken."""
        options["connection_class"] = connection_class
        options["loop"] = asyncio.get_running_loop()
        preferred = [STANDBY, ANY] if self._attribute == PREFER_STANDBY else [self._attribute]
        within_s = self._timeout_s / len(preferred)
        began_s = time.monotonic()
        for attribute in preferred[:-1]:
            with contextlib.suppress(*DRIVER_ERRORS):
                return await self._open(attribute, within_s, began_s, options)
        return await self._open(preferred[-1], within_s, began_s, options)

    async def _open(
        self, attribute: str, within_s: float, began_s: float, options: dict[str, Any]
    ) -> SessionConnection:
        if not self._hosts:
            # Without a host the driver looks for a server on this machine.
            local: SessionConnection = await asyncpg.connect(
                self._url, ssl=self._tls, timeout=within_s, target_session_attrs=attribute, **options
            )
            local.opened_s = began_s
            return local
        ordered = sorted(self._hosts, key=lambda host: self._last is None or host != self._last[0])
        deadline_s = time.monotonic() + within_s

        def to(host: Host) -> Callable[[], Awaitable[Opened]]:
            return lambda: self._open_on(host, attribute, deadline_s, options)

        try:
            connection, host, address = await _first([to(host) for host in ordered], deadline_s, _discard)
        except _AllFailed as failed:
            errors = [_told(error, attribute, self._timeout_s) for error in failed.errors]
            if len(errors) == 1:
                raise errors[0] from None
            reasons = zip(ordered, errors, strict=True)
            raise NoHostTaken("; ".join(f"{host}: {_reason(error)}" for host, error in reasons)) from None
        self._last = host, address
        connection.opened_s = began_s
        return connection

    async def _open_on(
        self, host: Host, attribute: str, deadline_s: float, options: dict[str, Any]
    ) -> Opened:
        """Raises one of DRIVER_ERRORS: of several addresses the errors of all, each once."""
        loop = options["loop"]

        def to(address: Address | None) -> Callable[[], Awaitable[Opened]]:
            async def attempt() -> Opened:
                sockets = loop if address is None else _SocketsTo(loop, address, self._silence_max_s)
                connection = await asyncpg.connect(
                    self._url,
                    host=host.name,
                    port=host.port,
                    ssl=self._tls,
                    timeout=max(0.01, deadline_s - time.monotonic()),
                    target_session_attrs=attribute,
                    **options | {"loop": sockets},
                )
                return connection, host, address

            return attempt

        addresses: list[Address | None] = [None]
        if not host.name.startswith("/"):
            found = await loop.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
            addresses.sort(key=lambda address: (host, address) != self._last)
        try:
            return await _first([to(address) for address in addresses], deadline_s, _discard)
        except _AllFailed as failed:
            reasons = {_reason(_told(error, attribute, self._timeout_s)): error for error in failed.errors}
            if len(reasons) == 1:
                raise failed.errors[0] from None
            raise NoHostTaken(" and ".join(reasons)) from None

    @property
    def _silence_max_s(self) -> float:
        return min(SILENCE_MAX_S, self._timeout_s / 2)


def _discard(opened: Opened) -> None:
    opened[0].terminate()


def _told(error: BaseException, attribute: str, timeout_s: float) -> BaseException:
    """The error, in words where the driver's say nothing about one host."""
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        what = "takes no writes" if attribute == "read-write" else f"is not {attribute}"
        told: BaseException = asyncpg.TargetServerAttributeNotMatched(
            f"{what}, and target_session_attrs is {attribute}"
        )
        return told
    if isinstance(error, TimeoutError) and not str(error):
        return TimeoutError(f"no answer in {timeout_s:g} s")
    return error


def _reason(error: BaseException) -> str:
    return describe(error)[:_REASON_CHARACTERS_MAX]


async def _first(
    attempts: Sequence[Callable[[], Awaitable[T]]], deadline_s: float, discard: Callable[[T], None]
) -> T:
    """The result of the attempt that succeeds first; the others are cancelled, and their results discarded.

    Each begins when the one before has failed, or after `APART_S`, sooner if the time is short. `deadline_s` in
    monotonic time. Raises _AllFailed with the error of each, TimeoutError for those that are not over by then.
    """
    apart_s = min(APART_S, (deadline_s - time.monotonic()) / (len(attempts) + 1))
    tasks: list[asyncio.Task[T]] = []
    winner: asyncio.Task[T] | None = None
    try:
        while winner is None:
            if len(tasks) < len(attempts):
                tasks.append(asyncio.ensure_future(attempts[len(tasks)]()))
            left_s = deadline_s - time.monotonic()
            pending = [task for task in tasks if not task.done()]
            if left_s <= 0 or (not pending and len(tasks) == len(attempts)):
                break
            wait_s = left_s if len(tasks) == len(attempts) else min(left_s, apart_s)
            if pending:
                await asyncio.wait(pending, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            winner = next((task for task in tasks if _has_result(task)), None)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if task is not winner and _has_result(task):
                discard(task.result())
    if winner is not None:
        return winner.result()
    errors = [task.exception() if not task.cancelled() else None for task in tasks]
    errors += [None] * (len(attempts) - len(tasks))
    for error in errors:
        if error is not None and not isinstance(error, DRIVER_ERRORS):
            raise error
    raise _AllFailed([error or TimeoutError() for error in errors])


def _has_result(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


class _SocketsTo:
    """The running loop, but that it connects to one address only, with a socket that notices silence.

    The driver takes neither an address beside the host's name, which TLS needs, nor a socket.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, address: Address, silence_max_s: float) -> None:
        self.real = loop
        self._family, self._address = address
        self._silence_max_s = silence_max_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def create_connection(
        self, factory: Callable[[], Any], host: str, _port: int, *, ssl: ssl.SSLContext | None = None
    ) -> Any:
        opened = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            opened.setblocking(False)
            await self.real.sock_connect(opened, self._address)
            _watch(opened, self._silence_max_s)
            return await self.real.create_connection(
                factory, sock=opened, ssl=ssl, server_hostname=host if ssl else None
            )
        except BaseException:
            opened.close()
            raise


def _watch(opened: socket.socket, silence_max_s: float) -> None:
    """What a system does not have is left out: then only the time-out of a statement tells."""
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in {
        "TCP_KEEPIDLE": IDLE_PROBE_S,
        "TCP_KEEPINTVL": 1,
        "TCP_KEEPCNT": max(1, round(silence_max_s)),
        "TCP_USER_TIMEOUT": round(silence_max_s * 1000),
    }.items():
        if hasattr(socket, name):
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
