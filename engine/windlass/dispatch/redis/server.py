"""Connections to the server that an address means: the one it names, a Sentinel's master, or any node of a cluster.

Publications reach every node of a cluster, so one that answers is enough; no other command depends on the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from redis.asyncio import Connection, SSLConnection
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from windlass.dispatch.bus import BusLost
from windlass.redis_address import Host, RedisAddress
from windlass.redis_settings import RedisSettings

CONNECT_WITHIN_S = 1.5
_NOT_IN_A_NAME = re.compile(r"[^!-~]")

#: The client's own, and those of the socket.
_ERRORS = (RedisError, OSError, TimeoutError)


class RedisServers:
    """`name` is what CLIENT LIST shows."""

    def __init__(self, settings: RedisSettings, name: str) -> None:
        self._address: RedisAddress = settings.address
        self._ca_path = settings.redis_tls_ca_path
        self._name = _NOT_IN_A_NAME.sub("_", name)
        self._sentinels = list(self._address.hosts)

    async def find(self) -> Host:
        """Where to connect to. Raises BusLost."""
        if self._address.kind == "sentinel":
            return await self._master()
        hosts = list(self._address.hosts)
        random.shuffle(hosts)
        if len(hosts) == 1:
            return hosts[0]
        causes = []
        for host in hosts:
            try:
                async with asyncio.timeout(CONNECT_WITHIN_S), self._connected(host):
                    return host
            except (BusLost, TimeoutError) as err:
                causes.append(str(err) or f"{host}: no answer in time")
        raise BusLost("; ".join(causes))

    async def connect(self, host: Host) -> Connection:
        """A connection that is logged in. Raises BusLost; the caller disconnects it."""
        connection = self._connection(host, self._address.user, self._address.password)
        with told(host):
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                # A user who may only publish and subscribe has no name.
                with contextlib.suppress(ResponseError):
                    await ask(connection, "CLIENT", "SETNAME", self._name)
            except BaseException:
                await disconnect(connection)
                raise
        return connection

    async def is_still(self, host: Host) -> bool:
        """Whether `find` would give it again, as far as anybody can tell. A master that was replaced still answers."""
        if self._address.kind != "sentinel":
            return True
        with contextlib.suppress(BusLost, TimeoutError):
            return await self._master() == host
        return True

    @contextlib.asynccontextmanager
    async def _connected(self, host: Host) -> AsyncIterator[Connection]:
        connection = await self.connect(host)
        try:
            yield connection
        finally:
            await disconnect(connection)

    async def _master(self) -> Host:
        """As the first Sentinel that knows it says; that one is asked first the next time."""
        causes = []
        for host in tuple(self._sentinels):
            try:
                async with asyncio.timeout(CONNECT_WITHIN_S):
                    found = await self._asked(host)
            except (BusLost, TimeoutError) as err:
                causes.append(str(err) or f"{host}: no answer in time")
                continue
            if found:
                self._sentinels.sort(key=host.__ne__)
                return Host(str(found[0]), int(found[1]))
            causes.append(f"{host} knows no master {self._address.master!r}; name it as Sentinel does")
        raise BusLost(f"no Sentinel tells the master: {'; '.join(causes)}")

    async def _asked(self, host: Host) -> Sequence[Any] | None:
        """Many Sentinels have no password, and refuse one; others have the server's."""
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.master)
        with told(host):
            connection = self._connection(host, "", "")
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                try:
                    found: Sequence[Any] | None = await ask(connection, *command)
                except AuthenticationError:
                    await ask(connection, "AUTH", self._address.password)
                    found = await ask(connection, *command)
            finally:
                await disconnect(connection)
        return found

    def _connection(self, host: Host, user: str, password: str) -> Connection:
        options: dict[str, Any] = {
            "host": host.name,
            "port": host.port,
            "username": user or None,
            "password": password or None,
            "socket_timeout": None,
            "socket_connect_timeout": CONNECT_WITHIN_S,
            "decode_responses": True,
            "encoding_errors": "replace",
            # What RESP 3 has more is not used, and older servers do not speak it.
            "protocol": 2,
        }
        if not self._address.tls:
            return Connection(**options)
        return SSLConnection(**options, ssl_ca_certs=self._ca_path, ssl_min_version=ssl.TLSVersion.TLSv1_2)


async def ask(connection: Connection, *words: str) -> Any:
    await connection.send_command(*words)
    return await connection.read_response()


async def disconnect(connection: Connection) -> None:
    """Without waiting for the server, and whatever state it is in."""
    with contextlib.suppress(*_ERRORS):
        await connection.disconnect(nowait=True)


@contextlib.contextmanager
def told(host: Host) -> Iterator[None]:
    """Every error of the client becomes BusLost with the server's address and, where it helps, what to do."""
    try:
        yield
    except _ERRORS as err:
        raise BusLost(f"{host}: {_text(err)}{_remedy(err)}") from err


def _text(err: BaseException) -> str:
    if isinstance(err, TimeoutError):
        return "no answer in time"
    kind = type(err).__name__
    return f"{kind}: {err}" if str(err) else kind


def _remedy(err: BaseException) -> str:
    if isinstance(err, NoPermissionError):
        return "; allow the user +publish and +subscribe on the channels windlass:*"
    if isinstance(err, AuthenticationError):
        return "; check the user and the password of WINDLASS_REDIS_URL or WINDLASS_REDIS_PASSWORD"
    if isinstance(err.__cause__ or err.__context__ or err, ssl.SSLCertVerificationError):
        return "; check WINDLASS_REDIS_TLS_CA_PATH and the names in the server's certificate"
    return ""
