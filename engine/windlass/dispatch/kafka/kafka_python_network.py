"""How kafka-python connects to a broker: TLS for one name, bounded in time, and failed sockets are closed.

The client by itself reports only in its log why a connection was lost, waits for ever for a peer that sends nothing,
and leaves sockets that failed to connect to the garbage collector: one for each attempt during an outage.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from kafka import errors as client
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket, create_connection
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaSSLTransport

from windlass.dispatch.kafka import publisher as kafka
from windlass.dispatch.kafka.publisher import CONNECT_WITHIN_S


class Network:
    """What a client has its connections made by: as its `kafka_client` it is called with the client's settings."""

    def __init__(self, lost: Callable[[Exception], None]) -> None:
        self._lost = lost
        self._connections: _Connections | None = None
        self._client: Any = None
        self.last_loss = ""

    def __call__(self, **settings: Any) -> Any:
        net = NetworkSelector(**settings)
        within_ms = int(CONNECT_WITHIN_S * 1000)
        self._connections = _Connections(
            net,
            self._lost,
            **settings,
            socket_connection_setup_timeout_ms=within_ms,
            socket_connection_setup_timeout_max_ms=within_ms,
        )
        self._client = KafkaNetClient(net=net, manager=self._connections, **settings)
        return self._client

    def give_up(self) -> None:
        """Ends the wait for a first answer."""
        if self._connections is not None:
            self._connections.close()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


class _Dialling(KafkaNetSocket):  # type: ignore[misc]  # it comes without types
    """Closes a socket that is not connected. The client finds it by its scheme, as it finds its proxies."""

    SCHEMES = ("windlass",)

    async def sock_connect(self, net: Any, sock: socket.socket, *rest: Any, **more: Any) -> Any:
        try:
            return await super().sock_connect(net, sock, *rest, **more)
        except BaseException:
            sock.close()
            raise


class _TlsTransport(KafkaSSLTransport):  # type: ignore[misc]
    async def handshake(self) -> None:
        """As the client's own, but bounded in time, and it closes a socket that fails."""
        until_s = time.monotonic() + CONNECT_WITHIN_S
        try:
            while True:
                try:
                    self._sock.do_handshake()
                except ssl.SSLWantReadError:
                    await self._net.wait_read(self._sock, timeout_at=until_s)
                except ssl.SSLWantWriteError:
                    await self._net.wait_write(self._sock, timeout_at=until_s)
                else:
                    return
        except BaseException:
            self._sock.close()
            raise


class _Connections(KafkaConnectionManager):  # type: ignore[misc]
    """Reports why a connection was lost, which the client only logs, and ends one that is never established."""

    def __init__(self, net: Any, lost: Callable[[Exception], None], **settings: Any) -> None:
        super().__init__(net, **settings)
        self._lost = lost
        self._watched: WeakSet[Any] = WeakSet()
        # The producer's setting of this name does not reach its requests (3.0.12).
        self.cluster.config["allow_auto_create_topics"] = False

    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> _TlsTransport:
        made = await create_connection(
            self._net, node.host, node.port, self.config["socket_options"],
            proxy_url=f"{_Dialling.SCHEMES[0]}://", timeout_at=timeout_at,
        )  # fmt: skip
        transport = _TlsTransport(self._net, made, host=node.host, ssl_context=self.config["ssl_context"])
        try:
            await transport.handshake()
        except Exception as err:
            raise client.KafkaConnectionError(f"no TLS handshake: {err}")  # noqa: B904  # its context is looked at
        return transport

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        connection = super().get_connection(*arguments, **options)
        if connection not in self._watched:
            self._watched.add(connection)
            connection.close_future.add_errback(self._lost)
            # The client would wait for ever for a peer that accepts the connection and sends nothing.
            self._net.call_later(CONNECT_WITHIN_S, lambda: _end_unless_made(connection))
        return connection


def _end_unless_made(connection: Any) -> None:
    if connection.initializing:
        connection.close(client.KafkaTimeoutError(f"no handshake within {CONNECT_WITHIN_S:g} s"))


def loss_of(error: Exception) -> tuple[str, str]:
    """Name and text of a lost connection's cause."""
    # A peer that does not prove itself by SCRAM is told as ValueError.
    if isinstance(
        error, client.SaslAuthenticationFailedError | client.UnsupportedSaslMechanismError | ValueError
    ):
        return kafka.AUTHENTICATION, text_of(error)
    # Only what TLS says is kept as the context of another.
    if isinstance(error.__context__, OSError):
        return kafka.TLS, str(error.__context__)
    return kafka.TRANSPORT, text_of(error)


def text_of(error: BaseException) -> str:
    if error.args and error.args[0]:
        return str(error.args[0])
    return str(getattr(error, "description", type(error).__name__))
