"""The gRPC server (contract 2): the calls of `rpcs.py` on grpc.aio, with health and reflection. Messages are decoded
and encoded here and not by the library, so that an unreadable one gets the right status.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection

from windlass.api import faults
from windlass.api.address import ANY_IPV4, ANY_IPV6, bound, cannot_listen, written
from windlass.api.aside import IN_LOOP_BYTES_MAX, Aside
from windlass.api.engine_port import EnginePort
from windlass.api.gate import ask_for_grpc
from windlass.api.gen import workflow_pb2  # noqa: F401 - reflection tells clients of what is loaded
from windlass.api.grpc_health import HealthCalls
from windlass.api.grpc_tls import credentials
from windlass.api.message_room import MessageRoom, MessageRooms
from windlass.api.rpcs import SERVICE, Message, Rpc, Rpcs
from windlass.api.streams import Streams
from windlass.auth.gate import Gate
from windlass.config import Settings
from windlass.early_end import EarlyEnd
from windlass.errors import BadRequest, Defect, EngineError, OutOfScope
from windlass.memory import SMALL_BYTES, Budget
from windlass.telemetry.events import Event
from windlass.telemetry.log import TRACEPARENT, Log, stack_of
from windlass.telemetry.metrics import Metrics
from windlass.tls.watch import CertificateWatch
from windlass.trace_context import TRACE, CallTraces, Span, exemplar_of, trace_of

#: Time for streams that never end by themselves (health watchers, reflection) during a shutdown.
LAST_MOMENT_S = 1.0
#: A vanished caller is noticed this soon, and its waiting poll gives back what it was about to get.
KEEPALIVE_S, KEEPALIVE_ANSWER_S, PING_INTERVAL_S_MIN = 60, 20, 10
DEADLINE_WAY_S_MAX, DEADLINE_WAY_PART = 0.5, 0.25
"""How long before the caller's deadline a poll is answered: the answer's way to him, at most this part of the time."""
#: A connection that is as old as it may be takes no new calls. Those in progress, long polls too, end by themselves
#: within the longest time of a call; what is cut would be a lost answer, so there is a little more.
AGE_GRACE_S = 5.0
_TRACEPARENT_CHARS_MAX = 256
_TRACE_KEYS = frozenset({"traceparent", "tracestate"})
COPIES = 10
VALUE_BYTES = 200
"""Of one value: the library's object, ours, and the place in its array."""


class _Overdue(Exception):
    pass


_Trailer = tuple[tuple[str, str], ...]


class GrpcApp:
    """Serves `engine` on one port, as `RestApp` does."""

    def __init__(
        self,
        engine: EnginePort,
        settings: Settings,
        metrics: Metrics,
        log: Log,
        memory: Budget,
        gate: Gate | None = None,
        tls: CertificateWatch | None = None,
        traces: CallTraces | None = None,
    ) -> None:
        self._gate = gate
        self._tls = tls
        self._traces = traces
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        self._log = log
        self._aside = Aside("gRPC messages")
        self._rpcs = Rpcs(engine, settings, log, self._aside, draining=lambda: self.draining)
        self._server: Any = None
        self._rooms = MessageRooms(memory, settings.body_bytes_max)
        self._health = HealthCalls(self._rooms)
        self._streams = Streams(settings.grpc_streams_max, metrics.polls_ended_early("grpc").inc)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        #: calls already answered, or cancelled by their caller, whose work has not ended yet
        self._overdue: set[asyncio.Task[Message]] = set()
        self.draining = False
        #: the port listened on, once started
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listens, on `self.port`; BootRefused names the cause when that fails."""
        _probe(host, port)
        server = grpc.aio.server(
            options=[
                # Otherwise a second engine could share the port unnoticed and take half of the calls.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", self._settings.body_bytes_max),
                ("grpc.max_send_message_length", -1),
                # Without reading, a call may send no more than this; otherwise fast callers are let send megabytes.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", SMALL_BYTES),
                # Both, or the library refuses only some of the calls whose size is between the two.
                ("grpc.max_metadata_size", self._settings.head_bytes_max),
                ("grpc.absolute_max_metadata_size", self._settings.head_bytes_max),
                ("grpc.max_allowed_incoming_connections", self._settings.connections_max),
                ("grpc.max_concurrent_streams", self._settings.grpc_streams_max),
                # It refuses calls at random while the objects of ended ones are not freed yet, which is no overload:
                # clients keep to the limit by themselves, and wait.
                ("grpc.http.overload_protection", 0),
                ("grpc.server_handshake_timeout_ms", round(self._settings.read_timeout_s * 1000)),
                ("grpc.max_connection_idle_ms", round(self._settings.idle_timeout_s * 1000)),
                *_age(self._settings),
                ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
                ("grpc.keepalive_timeout_ms", KEEPALIVE_ANSWER_S * 1000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_INTERVAL_S_MIN * 1000),
            ]
        )
        handlers: dict[str, Any] = {
            # As a stream of one message: the handler runs before the message is read, and reads it when there is room.
            rpc.method.rpartition("/")[2]: grpc.stream_unary_rpc_method_handler(self._handler(rpc))
            for rpc in self._rpcs.all()
        }
        own = grpc.method_handlers_generic_handler(SERVICE, handlers)
        server.add_generic_rpc_handlers((own, self._health.handler()))
        if self._gate is None:
            # It has no gate of its own, and clients have the .proto file.
            services = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(services, server)
        try:
            with _ipv6_kept_from(host, port) as free_port:
                where = written(host, free_port)
                if self._tls is None:
                    self.port = server.add_insecure_port(where)
                else:
                    self.port = server.add_secure_port(where, credentials(self._tls))
        except RuntimeError as error:
            raise cannot_listen("gRPC", "WE_GRPC_PORT", host, port, OSError(str(error))) from error
        for name in ("", SERVICE):
            await self._health.service.set(name, health_pb2.HealthCheckResponse.SERVING)
        await server.start()
        self._server = server

    async def drain(self, grace_s: float) -> None:
        """Answers calls in progress, then closes; calls that outlive `grace_s` are cut and counted in the log."""
        if self._server is None:
            return
        self.draining = True
        await self._health.service.enter_graceful_shutdown()
        # From now on connections are told to go elsewhere and new calls are refused. The second stop comes first: when
        # both graces end together the library dereferences what the other has freed.
        until_s = time.monotonic() + grace_s
        stopping = asyncio.create_task(self._server.stop(grace_s + LAST_MOMENT_S), name="stop gRPC")
        try:
            await asyncio.wait_for(self._idle.wait(), grace_s)
        except TimeoutError:
            if self._under_way:
                self._log.warning(Event.GRPC_CUT, calls=self._under_way)
        await self._server.stop(max(0.0, min(LAST_MOMENT_S, until_s - time.monotonic())))
        await stopping

    # -- a call

    def _handler(self, rpc: Rpc) -> Any:
        async def handle(messages: Any, context: Any) -> bytes:
            status, text, trailer, answer = await self._handle(rpc, context)
            if status != "OK":
                try:
                    await context.abort(grpc.StatusCode[status], text, trailer)
                except grpc.aio.AbortError as error:
                    # The library keeps it with the call. If a frame of its traceback had the call in turn, all that was
                    # received would stay until the garbage collector comes by.
                    error.__traceback__ = None
                    del messages, context
                    raise
            return answer

        return handle

    async def _handle(self, rpc: Rpc, context: Any) -> tuple[str, str, _Trailer, bytes]:
        """Its status, the text and the metadata of an error, and the answer."""
        started_ns = time.perf_counter_ns()
        self._under_way += 1
        self._idle.clear()
        status, text, answer = "CANCELLED", "the caller cancelled the call", b""
        trailer: _Trailer = ()
        span: Span | None = None
        room = MessageRoom(self._rooms)
        peer, early = context.peer(), EarlyEnd() if rpc.waits else None
        self._streams.enter(peer, early)
        ending = None if early is None else _end_in_time(context, early)
        try:
            trace = _trace_of_caller(context)
            if self._gate is not None:
                ask_for_grpc(self._gate, rpc.call, context)
            if self._traces is not None:
                parent, trace = trace, self._traces.below(trace)
                span = parent, trace
            TRACE.set(trace)
            if rpc.is_shed:
                # Before the message is read, and when it is known how large it is.
                self._engine.admit(0)
            message = await room.read(context)
            if not isinstance(message, bytes):
                raise BadRequest(f"the call of {rpc.method} has no message; send one")
            if rpc.is_shed:
                self._engine.admit(len(message))
            await room.draw_to_serve(_weight_of(message))
            answer = await self._answer(rpc, message, early)
            status, text = "OK", ""
        except _Overdue:
            _, status = faults.OVERDUE
            text = f"the call took longer than {self._settings.request_timeout_s:g} s"
        except Exception as error:
            status, text = self._fault(rpc, error)
            retry_after_s = faults.retry_after_s(error)
            if retry_after_s is not None:
                trailer = ((faults.PUSHBACK, str(1000 * retry_after_s)),)
        finally:
            room.close()
            if ending is not None:
                ending.cancel()
            self._streams.leave(peer, early)
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
            duration_ns = time.perf_counter_ns() - started_ns
            self._observe(rpc, status, text, duration_ns, span, is_told=bool(trailer))
        return status, text, trailer, answer

    async def _answer(self, rpc: Rpc, data: bytes, early: EarlyEnd | None) -> bytes:
        try:
            if len(data) > IN_LOOP_BYTES_MAX:
                request = await self._aside.run(rpc.read, data)
            else:
                request = rpc.read(data)
        except DecodeError as error:
            raise BadRequest(f"the message is not a readable request of {rpc.method}: {error}") from None
        task = asyncio.ensure_future(rpc.serve(request) if early is None else rpc.serve(request, early))
        try:
            done, _ = await asyncio.wait((task,), timeout=self._settings.request_timeout_s)
        except asyncio.CancelledError:
            self._let_go(rpc, task)
            raise
        if not done:
            self._let_go(rpc, task)
            raise _Overdue
        try:
            answer = task.result()
        finally:
            # Its error has this frame in its traceback, and would keep the call, and so itself.
            del task, done
        if rpc.untaken is not None:
            try:
                # A cancellation that has arrived is heard before the answer goes out. One that comes later is not told
                # apart from a caller that has its answer.
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                rpc.untaken(answer)
                raise
        return answer.SerializeToString()

    def _let_go(self, rpc: Rpc, task: asyncio.Task[Message]) -> None:
        """Cancel the work without waiting: giving jobs back may need the database, and the caller has no time."""
        if task.done():
            if rpc.untaken is not None and not task.cancelled() and task.exception() is None:
                rpc.untaken(task.result())
            return
        task.cancel()
        self._overdue.add(task)
        task.add_done_callback(self._wound_up)

    def _wound_up(self, task: asyncio.Task[Message]) -> None:
        self._overdue.discard(task)
        if not task.cancelled():
            task.exception()

    def _fault(self, rpc: Rpc, error: Exception) -> tuple[str, str]:
        """Status and text; of an internal error the log gets everything and the caller a short text."""
        if not isinstance(error, EngineError):
            error = Defect(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__)
        if isinstance(error, OutOfScope):
            self._metrics.auth_refused(error.limit).inc()
        if faults.status_of(error)[0] == 500:
            self._log.error(
                Event.GRPC_HANDLER_BROKE, method=rpc.method, err=error.reason, stack=stack_of(error)
            )
        return faults.grpc_answer(error)

    def _observe(
        self, rpc: Rpc, status: str, text: str, duration_ns: int, span: Span | None, *, is_told: bool
    ) -> None:
        """`is_told`: the engine tells of this call, together with others."""
        observer = rpc.observers.get(status)
        if observer is None:
            observer = rpc.observers[status] = self._metrics.grpc_duration(rpc.method, status).observe
        exemplar = None
        if span is not None and self._traces is not None and not rpc.quiet:
            self._traces.grpc_call(*span, rpc.method, status, duration_ns)
            exemplar = exemplar_of(span[1])
        observer(duration_ns / 1e9, exemplar)
        if is_told or (rpc.quiet and status in {"OK", "CANCELLED"}):
            return
        if status == "OK":
            self._log.info(Event.GRPC_REQUEST, method=rpc.method, code=status, duration=duration_ns)
        else:
            self._log.warning(
                Event.GRPC_REQUEST, method=rpc.method, code=status, duration=duration_ns, err=text
            )


def _end_in_time(context: Any, early: EarlyEnd) -> asyncio.TimerHandle | None:
    """A poll whose caller gives up sooner than it would end is answered before that: with the jobs that it has got,
    which nobody would take otherwise, or none.
    """
    remaining_s = context.time_remaining()
    if remaining_s is None:
        return None
    way_s = min(DEADLINE_WAY_S_MAX, remaining_s * DEADLINE_WAY_PART)
    return asyncio.get_running_loop().call_later(max(0.0, remaining_s - way_s), early)


def _age(settings: Settings) -> Iterator[tuple[str, int]]:
    """The library spreads the ages by 10 %, or callers that came together would come together again (gRFC A9)."""
    if settings.grpc_connection_age_s:
        grace_s = settings.request_timeout_s + AGE_GRACE_S
        yield "grpc.max_connection_age_ms", round(settings.grpc_connection_age_s * 1000)
        yield "grpc.max_connection_age_grace_ms", round(grace_s * 1000)


def _trace_of_caller(context: Any) -> str | None:
    """The call is a task of its own: this context and all its lines carry the header."""
    headers = {key: str(value) for key, value in context.invocation_metadata() or () if key in _TRACE_KEYS}
    traceparent = headers.get("traceparent", "")[:_TRACEPARENT_CHARS_MAX]
    if not traceparent:
        return None
    TRACEPARENT.set(traceparent)
    return trace_of(traceparent, headers.get("tracestate"))


def _weight_of(message: bytes) -> int:
    """Bytes that parsing and serving it takes at most; each value in it begins with the byte of a line end."""
    return COPIES * len(message) + VALUE_BYTES * message.count(b"\n")


def _probe(host: str, port: int) -> None:
    """Bind and close again: the library only says that it cannot listen, the system says why."""
    if not port:
        return
    try:
        with contextlib.closing(bound(host, port)) as probe:
            probe.listen()
    except OSError as error:
        raise cannot_listen("gRPC", "WE_GRPC_PORT", host, port, error) from error


@contextlib.contextmanager
def _ipv6_kept_from(host: str, port: int) -> Iterator[int]:
    """The library takes 0.0.0.0 for every address of both families, and listens on IPv4 alone only if the IPv6 port is
    taken: so it is, until the library listens. Yields the port to listen on.
    """
    if host != ANY_IPV4:
        yield port
        return
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            holder = stack.enter_context(contextlib.closing(bound(ANY_IPV6, port, is_shared=False)))
            holder.listen()
            port = holder.getsockname()[1]
        yield port
