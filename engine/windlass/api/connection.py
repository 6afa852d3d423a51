"""One connection: reads calls, answers them in order, and enforces the deadlines of each phase."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

import httptools

from windlass.api.call import STATUS_GONE, Request, Response, origin_form
from windlass.api.caller import address_of, certificate_of, has_gone
from windlass.api.head import HeadGate, carries_nothing, flaw_of, in_its_context
from windlass.api.message import LINE_BYTES, Message
from windlass.api.room import NO_ROOM, TOO_SLOW, BodyRoom
from windlass.api.router import Outcome
from windlass.api.upgrade import without_upgrade
from windlass.memory import SMALL_BYTES

if TYPE_CHECKING:
    from windlass.api.http import HttpServer

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """Stages of a call: head and body are read, it waits its turn, is served, and its answer is written."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._limits = server.limits
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self.idle_since_s = server.now_s
        #: its place is one of the last, for one call each
        self.is_spare = False
        self.is_refused = self.was_used = False

        self._message = Message()
        self.room = BodyRoom(server.memory, server.limits, self._room_found)
        #: of what the parser has got last
        self._fed_bytes = 0
        self._made_progress = False
        #: loop time at which the message being read began; 0 = none
        self._message_since_s = 0.0
        self._is_first = True
        #: nothing more is read: the last call of this connection has come
        self._deaf = False
        #: ... and it was a refusal, so that the caller may still be sending
        self._refused = False

        #: calls read but not yet served, and refused ones
        self._waiting: deque[Request] = deque()
        self._current: Request | None = None
        self._current_since_s = 0.0
        self._task: asyncio.Task[None] | None = None

        self._read_paused = self._write_paused = False
        #: loop time since which the caller has not read our bytes, or our close; 0 = it has
        self._stuck_since_s = 0.0
        #: the last answer, while a part of it may be unsent
        self._unsent: Response | None = None
        self._ending = False
        self._discard_until_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._peer = address_of(transport)
        if self.is_refused:
            self.refuse_now(503, f"all {self._limits.connections_max} connections are busy; try again")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        self._parser = None
        if self._write_paused and self._unsent is not None:
            self._unsent.drop()
        self._deaf = True
        self.room.release_all(self._waiting)
        self._message.chunks = []
        self.room.drop()
        self._server.forget(self)
        if self._current is not None:
            self._note(self._current, Response(STATUS_GONE))
            self.room.release(self._current)
            self._current = None
        self.room.sent()
        self._let_go()

    def data_received(self, data: bytes) -> None:
        unread: bytes | None = data
        while unread is not None and not self._deaf:
            unread = self._feed(unread)
        self._pump()

    def _feed(self, data: bytes) -> bytes | None:
        """Parse it; returns what has to be parsed instead of the rest when a call offered an upgrade."""
        self._fed_bytes = len(data)
        self._made_progress = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._refused:
                return self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError as error:
            self._refuse(400, f"malformed HTTP request: {error}")
        if self._message.is_in_head and not self._deaf:
            self._message.fed_bytes += self._fed_bytes
            if self._message.fed_bytes > self._limits.head_bytes_max:
                self._refuse(*self._limits.head_too_large)
        elif not self._made_progress:
            self._count_lines(self._fed_bytes)
        return None

    def pause_writing(self) -> None:
        self._write_paused = True
        self._stuck_since_s = self._server.now_s
        self._steer_reading()

    def resume_writing(self) -> None:
        self._write_paused = False
        self.room.sent()
        self._stuck_since_s = self._server.now_s if self._ending else 0.0
        self._pump()

    # httptools' side

    def on_message_begin(self) -> None:
        # Of a read that calls before it are in, nobody knows how much is its own; its lines are counted at its end.
        self._message = Message(fed_bytes=-self._fed_bytes if self._made_progress else 0, is_in_head=True)
        self._made_progress = True
        self._message_since_s = self._server.now_s

    def on_url(self, url: bytes) -> None:
        self._message.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        message = self._message
        if message.is_in_head:
            name = name.lower()
            message.hosts += name == b"host"
            message.headers.setdefault(name, value)
            message.line_bytes += len(name) + len(value) + LINE_BYTES
        else:
            # A trailer: it is ignored, so that no header can be added in this way.
            self._made_progress = True
            self._count_lines(len(name) + len(value) + LINE_BYTES)

    def on_headers_complete(self) -> None:
        message, self._made_progress = self._message, True
        message.is_in_head = False
        if self._deaf:
            return
        headers = message.headers
        if len(message.url) + message.line_bytes > self._limits.head_bytes_max:
            self._refuse(*self._limits.head_too_large)
            return
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._limits.body_bytes_max:
            self._refuse(*self._limits.body_too_large)
            return
        version = self._parser.get_http_version()
        flaw = flaw_of(message, version)
        if flaw is not None:
            self._refuse(*flaw)
            return
        if not message.url.startswith(b"/"):
            message.url = origin_form(message.url)
        if self._server.gate is not None and not self._is_admitted(self._server.gate):
            return
        # Behind other calls, 100 Continue would arrive before their answers; the caller then sends without it. A caller
        # of HTTP/1.0 does not know it.
        first = self._current is None and not self._waiting
        message.expects = (
            first and version != "1.0" and headers.get(b"expect", b"").lower() == b"100-continue"
        )
        if (length is None or self._draw(int(length))) and message.expects:
            self._continue()

    def _is_admitted(self, gate: HeadGate) -> bool:
        """Ask the gate, which needs no body; a call that it refuses is the connection's last."""
        request = self._request(self._method())
        request.certificate = certificate_of(self._transport)
        refusal = gate(request)
        self._message.principal = request.principal
        if refusal is not None:
            self._decline(request, refusal)
        return refusal is None

    def _continue(self) -> None:
        if self._message.expects and self._transport is not None:
            self._transport.write(_CONTINUE)
        self._message.expects = False

    def on_chunk_header(self) -> None:
        self._made_progress = True

    def on_body(self, chunk: bytes) -> None:
        self._made_progress = True
        if self._deaf:
            return
        message = self._message
        message.body_bytes += len(chunk)
        if message.body_bytes > self._limits.body_bytes_max:
            self._refuse(*self._limits.body_too_large)
            return
        message.chunks.append(chunk)
        if message.body_bytes > self.room.drawn_bytes and not self.room.waits:
            # Its size was not told: room for twice of what has come, so that it is not asked for often.
            wanted = min(max(2 * message.body_bytes, SMALL_BYTES), self._limits.body_bytes_max)
            self._draw(wanted - self.room.drawn_bytes)

    def on_message_complete(self) -> None:
        self._made_progress = True
        if self._deaf:
            return
        keep_alive = self._parser.should_keep_alive() and not self.is_spare
        message, method = self._message, self._method()
        body = message.chunks[0] if len(message.chunks) == 1 else b"".join(message.chunks)
        request = Request(method, message.url, message.headers, body, self._peer, keep_alive=keep_alive)
        message.chunks = []
        request.principal = message.principal
        self.room.hand_over(request)
        self._message_since_s = 0.0
        self._is_first = False
        self._deaf = not keep_alive
        self._waiting.append(request)

    def _method(self) -> str:
        return str(self._parser.get_method(), "ascii")

    def _request(self, method: str) -> Request:
        return Request(method, self._message.url, self._message.headers, peer=self._peer)

    def _without_upgrade(self, rest: bytes) -> bytes | None:
        """The call as plain HTTP/1.1, to be parsed again: the parser stopped before its body. None: it is refused."""
        request = self._waiting.pop()
        self._deaf = False
        if request.method == "CONNECT":
            self._refuse(400, "this is not a proxy: CONNECT is not supported")
            return None
        self._parser = httptools.HttpRequestParser(self)
        return without_upgrade(request, self._message.url) + rest

    def _draw(self, count: int) -> bool:
        """True: there is room now. Otherwise nothing more is read until there is, or the call is refused."""
        if self.room.drawn(count):
            return True
        self._server.is_full = True
        refusal = self.room.ask(count, self._server.loop.time())
        if refusal is not None:
            self._refuse(*refusal)
        else:
            self._steer_reading()
        return False

    def _room_found(self) -> None:
        if self._message_since_s:
            # The time in which it was not read does not count.
            self._message_since_s = self._server.loop.time()
            self._continue()
        self._steer_reading()
        self._pump()

    def is_slow(self, now_s: float) -> bool:
        """It holds room for a body that arrives too slowly to be waited for."""
        reading_s = now_s - self._message_since_s if self._message_since_s else 0.0
        return self.room.is_slow(self._message.body_bytes, reading_s) and not self._deaf

    def give_way(self) -> None:
        self.refuse_now(408, TOO_SLOW)

    def _count_lines(self, count: int) -> None:
        self._message.line_bytes += count
        if self._message_since_s and self._message.line_bytes > self._limits.head_bytes_max:
            self._refuse(*self._limits.head_too_large)

    def refuse_now(self, status: int, reason: str) -> None:
        self._refuse(status, reason)
        self._pump()

    def _refuse(self, status: int, reason: str) -> None:
        if self._deaf:
            return
        method = self._method()
        if not self._message.url and not (self._is_first and method == "HEAD"):
            # The parser did not reach the target, and may still have the method of the previous call.
            method = ""
        self._decline(self._request(method), self._server.handler.refuse(status, reason))

    def _decline(self, request: Request, response: Response) -> None:
        """Queue a last answer behind the others; whatever else arrives is discarded."""
        self._deaf = self._refused = True
        self._message_since_s = 0.0
        self._message.chunks = []
        self.room.drop()
        request.refusal = response
        self._waiting.append(request)

    # serving

    def _pump(self) -> None:
        """Serve the waiting calls in order, as far as possible without waiting."""
        while self._waiting and self._current is None and not self._write_paused and not self._ending:
            if self._waiting[0] is self.room.asked_for:
                break
            request = self._waiting.popleft()
            self._current = request
            self._current_since_s = self._server.now_s
            request.started_ns = time.perf_counter_ns()
            traces = self._server.traces if request.refusal is None else None
            if carries_nothing(request, traces):
                self._serve(request)
            else:
                in_its_context(request, self._serve, traces)
        if self._read_paused or len(self._waiting) >= self._limits.pipeline_max:
            self._steer_reading()

    def _serve(self, request: Request) -> None:
        if request.refusal is not None:
            self._finish(request, request.refusal)
            return
        weight = self._server.handler.weigh(request) if request.body else 0
        is_drawn = self.room.draw_to_serve(request, weight)
        outcome = self._handled(request) if is_drawn else self._when_there_is_room(request, weight)
        if isinstance(outcome, Response):
            self._finish(request, outcome)
            return
        self._task = asyncio.Task(self._wait(request, outcome), loop=self._server.loop, name="call")

    def _handled(self, request: Request) -> Outcome:
        try:
            outcome = self._server.handler.handle(request)
        except Exception as error:
            return self._server.broke(request, error)
        if request.early is not None and not isinstance(outcome, Response):
            self._server.waiting[self] = None
        return outcome

    async def _when_there_is_room(self, request: Request, weight: int) -> Response:
        refusal = await self.room.wait_to_serve(request, weight)
        if refusal is not None:
            return self._server.handler.refuse(*refusal)
        outcome = self._handled(request)
        return outcome if isinstance(outcome, Response) else await outcome

    async def _wait(self, request: Request, work: Coroutine[Any, Any, Response]) -> None:
        try:
            response = await work
        except asyncio.CancelledError:
            # Not cancelled by us (then nobody would wait for it): the engine is being shut down.
            response = self._server.handler.refuse(503, "the node is shutting down; try again")
        except Exception as error:
            response = self._server.broke(request, error)
        if len(response.body) > SMALL_BYTES:
            response = await self.room.answerable(request, response, self._server.handler.refuse)
        if self._current is request:
            self._task = None
            self._finish(request, response)
            self._pump()
        else:
            # Its caller left, or was answered 504, at the moment when it was ready.
            response.drop()

    def _finish(self, request: Request, response: Response) -> None:
        self._current = None
        self.was_used = True
        if request.early is not None:
            self._server.waiting.pop(self, None)
        self.room.release(request)
        self.idle_since_s = self._server.now_s
        self._server.rested(self)
        if self._message_since_s:
            # The next call's time to arrive does not count while it could not be read.
            self._message_since_s = self._server.now_s
        transport, untaken = self._transport, response.untaken
        if transport is None or transport.is_closing() or (untaken is not None and has_gone(transport)):
            response.drop()
            self.room.sent()
            self._note(request, Response(STATUS_GONE))
            return
        keep = request.keep_alive and not response.close and not self._server.draining
        transport.write(self._server.render(request, response, keep=keep))
        self._unsent = response if self._write_paused else None
        if not self._write_paused and self.room.unsent_bytes:
            self.room.sent()
        self._note(request, response)
        if not keep:
            self._end()

    def _note(self, request: Request, response: Response) -> None:
        self._server.handler.observe(request, response, time.perf_counter_ns() - request.started_ns)

    # ending

    def _end(self) -> None:
        """Close when the answer is sent; wait for a caller that is still sending, or it would not see the answer."""
        self._ending = self._deaf = True
        self.room.release_all(self._waiting)
        self.room.drop()
        self._stuck_since_s = self._server.now_s
        if self._transport is None:
            return
        if self._refused and self._transport.can_write_eof():
            self._transport.write_eof()
            self._discard_until_s = self._server.loop.time() + self._limits.discard_s
            self._steer_reading()
        else:
            self._transport.close()

    def _let_go(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        # It has begun: the loop calls us only after the first step of a task created before.
        task.cancel()
        self._server.overdue.add(task)
        task.add_done_callback(self._server.overdue.discard)

    def _steer_reading(self) -> None:
        """Read only while there is room: the caller reads its answers, and few calls wait."""
        want_pause = not self._ending and (
            self._write_paused or self.room.waits or len(self._waiting) >= self._limits.pipeline_max
        )
        if want_pause == self._read_paused or self._transport is None or self._transport.is_closing():
            return
        self._read_paused = want_pause
        if want_pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    @property
    def idle(self) -> bool:
        """Nothing is being read, waiting or served."""
        return self._current is None and not self._waiting and not self._message_since_s and not self._ending

    def is_idle_since(self, until_s: float) -> bool:
        """Its own time may be as old as the interval of the checks."""
        return self.idle and self.idle_since_s + self._limits.look_interval_s <= until_s

    def end_early(self) -> None:
        """Have the call that waits answered as if its time were over, and close: the place is needed."""
        request = self._current
        if request is not None and request.early is not None:
            request.keep_alive = False
            request.early()

    def close(self) -> None:
        self._ending = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def meet_deadlines(self, now_s: float) -> None:
        limits = self._limits
        if self._discard_until_s:
            if now_s > self._discard_until_s:
                self.abort()
        elif self._stuck_since_s:
            if now_s - self._stuck_since_s > limits.write_s:
                self.abort()
        elif self._current is not None:
            if now_s - self._current_since_s > limits.request_s:
                self._give_up(self._current)
        elif self.room.waits:
            if self.room.is_overdue(now_s):
                self._give_up_asking()
        elif self._message_since_s:
            if now_s - self._message_since_s > limits.read_s:
                self.refuse_now(408, f"the request did not arrive within {limits.read_s:g} s")
        elif self.idle and now_s > self._server.idle_deadline_s(self.idle_since_s):
            self.close()

    def _give_up_asking(self) -> None:
        request = self.room.asked_for
        if request is None:
            self._refuse(503, NO_ROOM)
        else:
            self.room.release(request)
            request.refusal = self._server.handler.refuse(503, NO_ROOM)
        self._steer_reading()
        self._pump()

    def _give_up(self, request: Request) -> None:
        """Answer 504 with an empty body (contract 1.2) whatever the unfinished work does."""
        self._finish(request, Response(504))
        self._let_go()
        self._pump()
