"""The HTTP server over real sockets, on both event loops; its handler is a few lines of the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct

import pytest
import uvloop
from caller import get, post
from http_site import on_both_loops, serving

from patience import eventually
from windlass.api.call import Limits
from windlass.api.http import HttpServer
from windlass.errors import BootRefused


@on_both_loops
async def test_a_connection_serves_many_calls() -> None:
    async with serving() as site:
        caller = await site.connect()
        site.echo.gate.set()
        for n in range(3):
            status, headers, body = await caller.call(post(f"/a/{n}?q=1", b"hello"))
            assert status == 200
            assert json.loads(body) == {"method": "POST", "path": f"/a/{n}", "query": "q=1", "body": "hello"}
            assert headers["content-type"] == "application/json"
            assert headers["x-site"] == "1"
            assert headers["date"].endswith("gmt")
            assert "connection" not in headers
            assert (await caller.call(get("/wait")))[0] == 200
        assert (await caller.call(get("/nothing")))[:2][0] == 204
        assert [status for _, status in site.echo.seen] == [200] * 6 + [204]


@on_both_loops
async def test_pipelined_calls_are_answered_in_order() -> None:
    async with serving() as site:
        caller = await site.connect()
        await caller.send(get("/wait/1") + get("/b") + get("/wait/2") + get("/c"))
        await eventually(lambda: site.echo.served)
        assert site.echo.served == ["/wait/1"]
        site.echo.gate.set()
        bodies = [(await caller.answer())[2] for _ in range(4)]
        assert bodies[0] == b"/wait/1"
        assert json.loads(bodies[1])["path"] == "/b"
        assert bodies[2] == b"/wait/2"
        assert json.loads(bodies[3])["path"] == "/c"


@on_both_loops
async def test_a_long_pipeline_loses_nothing() -> None:
    async with serving(pipeline_max=4) as site:
        caller = await site.connect()
        site.echo.gate.set()
        sending = asyncio.ensure_future(caller.send(b"".join(get(f"/wait/{n}") for n in range(2000))))
        for n in range(2000):
            assert (await caller.answer())[2] == f"/wait/{n}".encode()
        await sending


@on_both_loops
async def test_a_head_that_is_cut_by_the_end_of_a_read_is_not_charged_for_the_calls_before_it() -> None:
    async with serving(head_bytes_max=4096) as site:
        caller = await site.connect()
        call = get("/h", "X: " + "y" * 1000)
        await caller.send(call * 8 + call[:500])
        assert [(await caller.answer())[0] for _ in range(8)] == [200] * 8
        await caller.send(call[500:])
        assert (await caller.answer())[0] == 200
        # One that goes on past the limit is as large as ever.
        await caller.send(call * 8 + call[:500])
        assert [(await caller.answer())[0] for _ in range(8)] == [200] * 8
        await caller.send(b"y" * 5000)
        assert (await caller.answer())[0] == 431


@on_both_loops
async def test_bytes_may_come_one_at_a_time_and_in_chunks() -> None:
    async with serving() as site:
        caller = await site.connect()
        for byte in post("/slow", b"abc"):
            await caller.send(bytes([byte]))
        assert json.loads((await caller.answer())[2])["body"] == "abc"
        head = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
        assert json.loads((await caller.call(head + chunks))[2])["body"] == "abcde"


@on_both_loops
async def test_a_caller_that_asks_first_is_told_to_go_on() -> None:
    async with serving(body_bytes_max=10) as site:
        caller = await site.connect()
        await caller.send(b"POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert (await caller.answer())[0] == 100
        assert json.loads((await caller.call(b"abc"))[2])["body"] == "abc"
        await caller.send(
            b"POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await caller.answer())[0] == 413


@on_both_loops
async def test_head_gets_the_head_only() -> None:
    async with serving() as site:
        caller = await site.connect()
        await caller.send(b"HEAD /h HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers, _ = await caller.answer(head_only=True)
        assert status == 200
        assert int(headers["content-length"]) > 0
        assert (await caller.call(get("/next")))[0] == 200


@on_both_loops
async def test_a_body_past_the_cap_is_refused_while_it_is_still_being_sent() -> None:
    async with serving(body_bytes_max=1000) as site:
        announced = await site.connect()
        sending = asyncio.ensure_future(announced.send(post("/big", b"x" * 3_000_000)))
        status, headers, body = await announced.answer()
        assert status == 413
        assert headers["connection"] == "close"
        assert "larger than 1000 bytes" in json.loads(body)["reason"]
        sending.cancel()
        unannounced = await site.connect()
        head = b"POST /big HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        await unannounced.send(head + b"".join(b"64\r\n" + b"x" * 100 + b"\r\n" for _ in range(20)))
        assert (await unannounced.answer())[0] == 413
        assert site.echo.served == []
        fits = await site.connect()
        assert (await fits.call(post("/fits", b"x" * 1000)))[0] == 200


@on_both_loops
async def test_a_refused_caller_that_sends_everything_first_can_still_read_why() -> None:
    def send_then_read(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(post("/big", b"x" * 8_000_000))
            return raw.recv(65536)

    async with serving(body_bytes_max=1000) as site:
        answer = await asyncio.to_thread(send_then_read, site.port)
        assert answer.startswith(b"HTTP/1.1 413 ")


@on_both_loops
async def test_a_head_past_the_cap_is_refused() -> None:
    async with serving(head_bytes_max=1024) as site:
        whole = await site.connect()
        assert (await whole.call(get("/h", "X-Long: " + "y" * 2000)))[0] == 431
        assert await whole.closed() == b""
        endless = await site.connect()
        await endless.send(b"GET /h HTTP/1.1\r\nX-Long: ")
        for _ in range(20):
            await endless.send(b"y" * 100)
        assert (await endless.answer())[0] == 431
        long_body = await site.connect()
        assert (await long_body.call(post("/b", b"z" * 5000)))[0] == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"NONSENSE / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT other:443 HTTP/1.1\r\nHost: other\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_400_after_the_calls_before_it(garbage: bytes) -> None:
    async def scenario() -> None:
        async with serving() as site:
            caller = await site.connect()
            await caller.send(get("/good") + garbage)
            assert json.loads((await caller.answer())[2])["path"] == "/good"
            status, headers, _ = await caller.answer()
            assert (status, headers["connection"]) == (400, "close")
            assert await caller.closed() == b""

    asyncio.run(scenario())


@on_both_loops
async def test_http_1_0_and_connection_close_end_the_connection() -> None:
    async with serving() as site:
        old = await site.connect()
        status, headers, _ = await old.call(b"GET /old HTTP/1.0\r\n\r\n")
        assert (status, headers["connection"]) == (200, "close")
        assert await old.closed() == b""
        kept = await site.connect()
        for _ in range(2):
            answer = await kept.call(b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert answer[1]["connection"] == "keep-alive"
        last = await site.connect()
        assert (await last.call(get("/x", "Connection: close")))[1]["connection"] == "close"
        assert await last.closed() == b""


@on_both_loops
async def test_an_offered_upgrade_is_declined_and_the_call_served() -> None:
    offer = (
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk",
    )
    async with serving() as site:
        caller = await site.connect()
        assert json.loads((await caller.call(post("/up", b'{"a":1}', *offer)))[2])["body"] == '{"a":1}'
        assert json.loads((await caller.call(get("/up2", *offer) + get("/next")))[2])["path"] == "/up2"
        assert json.loads((await caller.answer())[2])["path"] == "/next"
        whole = post("/up3", b"split", *offer)
        await caller.send(whole[:-3])
        assert json.loads((await caller.call(whole[-3:]))[2])["body"] == "split"


@on_both_loops
async def test_many_offered_upgrades_in_one_piece_are_all_declined() -> None:
    """Each is parsed again as a plain call, whatever their number."""
    count = 2_000
    async with serving() as site:
        caller = await site.connect()
        offers = get("/up", "Connection: Upgrade", "Upgrade: h2c") * count
        sending = asyncio.create_task(caller.send(offers))
        for _ in range(count):
            assert (await caller.answer())[0] == 200
        await sending
        assert site.lines() == []


@on_both_loops
async def test_a_target_may_be_in_absolute_form() -> None:
    async with serving() as site:
        caller = await site.connect()
        for target, path, query in (
            ("http://x/a/b?c=d", "/a/b", "c=d"),
            ("HTTPS://user@[::1]:80/", "/", ""),
            ("http://x", "/", ""),
            ("http://x?c", "/", "c"),
        ):
            told = json.loads((await caller.call(get(target)))[2])
            assert (told["path"], told["query"]) == (path, query)


@pytest.mark.parametrize(
    ("call", "status", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"no Host header"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400, b"2 Host headers"),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, b"2 Host headers"),
        (post("/", b"\x1f\x8b", "Content-Encoding: GZIP"), 415, b"Content-Encoding 'gzip'"),
        (post("/", b"{}", "Content-Encoding: identity, br"), 415, b"Content-Encoding 'identity, br'"),
        (b"GET / HTTP/1.0\r\n\r\n", 200, b""),
        (post("/", b"{}", "Content-Encoding: Identity"), 200, b""),
    ],
)
def test_what_http_asks_of_a_head(call: bytes, status: int, reason: bytes) -> None:
    @on_both_loops
    async def scenario() -> None:
        async with serving() as site:
            got, _, body = await (await site.connect()).call(call)
            assert got == status
            assert reason in body

    for loop in (asyncio.new_event_loop, uvloop.new_event_loop):
        scenario(loop)


@on_both_loops
async def test_a_caller_of_http_1_0_is_not_told_to_continue() -> None:
    async with serving() as site:
        caller = await site.connect()
        head = b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        assert (await caller.call(head + b"{}"))[0] == 200


@on_both_loops
async def test_a_handler_that_breaks_costs_its_caller_500_and_nobody_else() -> None:
    async with serving() as site:
        caller = await site.connect()
        for path in ("/raise", "/raise-later"):
            status, headers, body = await caller.call(get(path))
            assert (status, body, "content-type" in headers) == (500, b"", False)
        assert (await caller.call(get("/fine")))[0] == 200
        errors = [line for line in site.lines() if line["level"] == "ERROR"]
        assert [line["path"] for line in errors] == ["/raise", "/raise-later"]
        assert "hunter2" not in json.dumps(errors)
        assert "raise_later" in errors[1]["stack"]


@on_both_loops
async def test_a_call_that_takes_too_long_gets_504_and_is_cancelled() -> None:
    async with serving(request_s=0.1) as site:
        caller = await site.connect()
        status, headers, body = await caller.call(get("/wait"))
        assert (status, body, "content-type" in headers) == (504, b"", False)
        await eventually(lambda: site.echo.cancelled == ["/wait"])
        assert (await caller.call(get("/fine")))[0] == 200
        assert site.echo.seen == [("/wait", 504), ("/fine", 200)]


@on_both_loops
async def test_a_caller_that_goes_away_cancels_its_call() -> None:
    async with serving() as site:
        caller = await site.connect()
        await caller.send(get("/wait/gone") + get("/never"))
        await eventually(lambda: site.echo.served)
        await caller.close()
        await eventually(lambda: site.echo.cancelled == ["/wait/gone"])
        await eventually(lambda: site.echo.seen == [("/wait/gone", 499)])
        assert site.echo.served == ["/wait/gone"]


@on_both_loops
async def test_callers_that_reset_at_once_leave_nothing_behind() -> None:
    """Also when the call and its end arrive together, before its work began."""
    async with serving() as site:
        for n in range(30):
            raw = socket.create_connection(("127.0.0.1", site.port))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", n % 2, 0))
            raw.sendall(get("/wait/reset"))
            raw.close()
        caller = await site.connect()
        assert (await caller.call(get("/fine")))[0] == 200
        await eventually(lambda: len(site.server.connections) == 1 and not site.server.overdue)


@on_both_loops
async def test_a_call_must_arrive_in_time_and_an_idle_connection_ends() -> None:
    async with serving(read_s=0.1, idle_s=0.3) as site:
        slow = await site.connect()
        await slow.send(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
        assert (await slow.answer())[0] == 408
        idle = await site.connect()
        assert (await idle.call(get("/once")))[0] == 200
        assert await idle.closed() == b""
        assert site.echo.served == ["/once"]


@on_both_loops
async def test_a_call_behind_a_slow_one_has_its_whole_time_to_arrive() -> None:
    async with serving(request_s=0.4, read_s=0.3) as site:
        caller = await site.connect()
        behind = post("/behind", b"abc")
        await caller.send(get("/wait") + behind[:-1])
        assert (await caller.answer())[0] == 504
        (connection,) = site.server.connections
        connection.meet_deadlines(site.server.now_s)
        assert json.loads((await caller.call(behind[-1:]))[2])["body"] == "abc"


@on_both_loops
async def test_a_drain_answers_what_is_under_way_and_closes() -> None:
    async with serving() as site:
        busy, idle = await site.connect(), await site.connect()
        assert (await idle.call(get("/before")))[0] == 200
        await busy.send(get("/wait"))
        await eventually(lambda: "/wait" in site.echo.served)
        draining = asyncio.ensure_future(site.server.drain(10))
        await eventually(lambda: site.server.draining)
        with pytest.raises(OSError, match=r"[Cc]onnect|111"):
            await site.connect()
        status, headers, _ = await idle.call(get("/during"))
        assert (status, headers["connection"]) == (200, "close")
        assert await idle.closed() == b""
        site.echo.gate.set()
        status, headers, _ = await busy.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await draining == 0


@on_both_loops
async def test_a_drain_closes_connections_that_stay_idle() -> None:
    async with serving() as site:
        idle = await site.connect()
        assert (await idle.call(get("/before")))[0] == 200
        assert await site.server.drain(10) == 0
        assert await idle.closed() == b""


@on_both_loops
async def test_what_outlives_the_grace_is_cut_and_counted() -> None:
    async with serving() as site:
        caller = await site.connect()
        await caller.send(get("/wait"))
        await eventually(lambda: site.echo.served)
        assert await site.server.drain(0.05) == 1
        with contextlib.suppress(ConnectionResetError):
            assert await caller.closed() == b""
        await eventually(lambda: site.echo.cancelled == ["/wait"])


@on_both_loops
async def test_a_caller_that_does_not_read_is_not_served_ahead_and_is_cut_in_the_end() -> None:
    async with serving(write_s=0.3) as site:
        caller = await site.connect()
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await caller.send(b"".join(get("/large") for _ in range(30)))
        await eventually(lambda: site.echo.served)
        await eventually(lambda: not site.server.connections)
        assert len(site.echo.served) < 30
        reads = await site.connect()
        assert len((await reads.call(get("/large")))[2]) == 4_000_000


@on_both_loops
async def test_a_port_in_use_is_named_with_its_remedy() -> None:
    async with serving() as site:
        other = HttpServer(
            site.echo, site.log, Limits(), site.server.memory, name="REST", variable="WE_REST_PORT"
        )
        with pytest.raises(BootRefused, match=f"127.0.0.1:{site.port}.*in use.*WE_REST_PORT"):
            await other.start("127.0.0.1", site.port)


@on_both_loops
async def test_lines_of_a_traced_call_carry_its_header_and_others_do_not() -> None:
    async with serving() as site:
        caller = await site.connect()
        await caller.call(get("/log", "Traceparent: 00-abc-def-01"))
        await caller.call(get("/log"))
        said = [(line["msg"], line.get("traceparent")) for line in site.lines()]
        assert said == [
            ("said", "00-abc-def-01"),
            ("said later", "00-abc-def-01"),
            ("said", None),
            ("said later", None),
        ]


@on_both_loops
async def test_an_answer_is_not_written_to_a_caller_whose_end_has_arrived() -> None:
    """Also when the loop learns of it after the answer is ready."""
    async with serving() as site:
        with socket.socket() as own:
            own.connect(("127.0.0.1", site.port))
            own.sendall(get("/wait"))
            await eventually(lambda: site.echo.served)
        site.echo.gate.set()
        await eventually(lambda: site.echo.untaken == ["/wait"])
        assert site.echo.seen == [("/wait", 499)]
