"""What input may cost: each limit at its edge, and what it is for."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import msgspec
import pytest
from caller import Caller, get, post
from door import opened
from grpc_door import opened as grpc_opened
from http_site import on_both_loops, serving

from patience import eventually
from windlass import advance
from windlass.api import bounds, message_room
from windlass.config import settings_from_env
from windlass.definition import expression
from windlass.definition.document import compile_definition, parse_upload
from windlass.definition.validation import JOB_TYPE_BYTES_MAX
from windlass.dispatch import polling
from windlass.dispatch.polling import PollingSettings, WaitingPolls
from windlass.errors import InvalidDefinition
from windlass.memory import MIB, Budget, Use
from windlass.store import definitions
from windlass.store.jobs import Claim

CHUNKED = b"POST /t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


# -- the wire


@on_both_loops
async def test_trailers_count_as_a_head_and_are_no_headers() -> None:
    async with serving(head_bytes_max=1024) as site:
        caller = await site.connect()
        few = CHUNKED + b"1\r\nx\r\n0\r\nContent-Type: application/xml\r\n\r\n"
        assert json.loads((await caller.call(few))[2])["body"] == "x"
        again = await site.connect()
        assert (await again.call(get("/h", *["X: y"] * 300)))[0] == 431
        many = CHUNKED + b"1\r\nx\r\n0\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200))
        assert (await caller.call(many))[0] == 431
        assert await caller.closed() == b""


@on_both_loops
async def test_a_trailer_or_an_extension_without_end_is_refused() -> None:
    async with serving(head_bytes_max=1024) as site:
        for opening in (b"1\r\nx\r\n0\r\nX-Endless: ", b"1;endless="):
            caller = await site.connect()
            await caller.send(CHUNKED + opening)
            for _ in range(20):
                await caller.send(b"y" * 100)
                await asyncio.sleep(0)
            assert (await caller.answer())[0] == 431


@on_both_loops
async def test_a_malformed_head_call_gets_no_body() -> None:
    async with serving() as site:
        caller = await site.connect()
        await caller.send(b"HEAD no-target HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await caller.answer(head_only=True))[0] == 400
        assert await caller.closed() == b""


@on_both_loops
async def test_a_long_body_in_small_chunks_is_no_long_head() -> None:
    async with serving(head_bytes_max=1024) as site:
        caller = await site.connect()
        await caller.send(CHUNKED)
        for _ in range(400):
            await caller.send(b"1\r\nx\r\n")
        assert json.loads((await caller.call(b"0\r\n\r\n"))[2])["body"] == "x" * 400


@on_both_loops
async def test_an_upgrade_behind_a_refused_call_does_not_take_its_answer() -> None:
    async with serving(head_bytes_max=1024) as site:
        caller = await site.connect()
        upgrade = get("/second", "Connection: Upgrade", "Upgrade: h2c")
        await caller.send(get("/first", "X-Long: " + "y" * 2000) + upgrade)
        assert (await caller.answer())[0] == 431
        assert await caller.closed() == b""
        assert site.echo.served == []


@on_both_loops
async def test_what_bodies_hold_is_given_back_whatever_becomes_of_them() -> None:
    memory = Budget(160 * MIB, idle_bytes=0)
    async with serving(memory=memory, room_s=0.2) as site:
        waits = await site.connect()
        await waits.send(post("/wait", b"x" * 600))
        await eventually(lambda: site.echo.served)
        assert (memory.used(Use.BODY), memory.used(Use.PARSED)) == (600, 600)
        half = await site.connect()
        await half.send(post("/half", b"x" * 300)[:-1])
        await eventually(lambda: memory.used(Use.BODY) == 900)
        await half.close()
        await eventually(lambda: memory.used(Use.BODY) == 600)
        malformed = await site.connect()
        assert (await malformed.call(CHUNKED + b"5\r\nxxxxx\r\nnonsense"))[0] == 400
        assert memory.used(Use.BODY) == 600
        site.echo.gate.set()
        assert (await waits.answer())[0] == 200
        again = await site.connect()
        await again.send(post("/a", b"x" * 300) + post("/b", b"y" * 300))
        assert [(await again.answer())[0] for _ in range(2)] == [200, 200]
        assert (await again.call(CHUNKED + b"5\r\nxxxxx\r\n0\r\n\r\n"))[0] == 200
        assert all(memory.used(use) == 0 for use in Use)


@on_both_loops
async def test_a_large_body_waits_for_room_and_is_refused_in_the_end() -> None:
    memory = Budget(20 * MIB, idle_bytes=0)
    large = memory.most(Use.BODY) - MIB
    async with serving(memory=memory, room_s=0.4, slow_body_s=60) as site:
        first = await site.connect()
        await first.send(post("/wait", b"x" * large))
        await eventually(lambda: site.echo.served)
        second, third = await site.connect(), await site.connect()
        small = await site.connect()
        head = post("/second", b"x" * large, "Expect: 100-continue")[:-large]
        await second.send(head)
        assert (await small.call(post("/small", b"x")))[0] == 200, "small ones do not wait"
        assert not site.echo.served.count("/second")
        site.echo.gate.set()
        assert (await first.answer())[0] == 200
        assert (await second.answer())[0] == 100, "it was not told to send before"
        await third.send(post("/third", b"x" * large))
        status, headers, _ = await third.answer()
        assert (status, headers["connection"]) == (503, "close")
        await second.close()
        await eventually(lambda: memory.used(Use.BODY) == 0)
        huge = await site.connect()
        status, _, body = await huge.call(post("/huge", b"x" * (large + 2 * MIB)))
        assert status == 413
        assert b"WINDLASS_MEMORY_BYTES_MAX" in body


@on_both_loops
async def test_who_holds_room_and_sends_too_little_gives_way_to_newcomers() -> None:
    memory = Budget(20 * MIB, idle_bytes=0)
    size = memory.most(Use.BODY) // 3
    async with serving(memory=memory, room_s=10, slow_body_s=0.2) as site:
        slow = [await site.connect() for _ in range(3)]
        for caller in slow:
            await caller.send(post("/slow", b"x" * size)[:-1])
        await eventually(lambda: memory.used(Use.BODY) == 3 * size)
        newcomer = await site.connect()
        assert (await newcomer.call(post("/new", b"x" * size)))[0] == 200
        assert {(await caller.answer())[0] for caller in slow} == {408}
        assert memory.used(Use.BODY) == 0


async def test_the_settings_reach_the_door() -> None:
    async with opened(read_timeout_s=0.1, head_bytes_max=4096, memory_bytes=160 * MIB) as door:
        slow = await Caller.connect(door.rest.port)
        await slow.send(b"GET /healthz HTTP/1.1\r\n")
        assert (await slow.answer())[0] == 408
        assert (await door.whole("GET", "/healthz", None, "X: " + "y" * 5000))[0] == 431
        held = await Caller.connect(door.rest.port)
        status, _, body = await held.call(post("/v1/jobs/poll", b"," * 3 * MIB))
        await slow.close()
        await held.close()
        assert (status, json.loads(body)["error"]) == (413, "too-large")
        assert all(door.memory.used(use) == 0 for use in Use)


async def test_a_grpc_connection_that_is_not_set_up_is_ended_and_past_the_cap_turned_away() -> None:
    async with grpc_opened(read_timeout_s=0.2, connections_max=2) as door:
        silent = await Caller.connect(door.app.port)
        await silent.closed()
        kept = [await Caller.connect(door.app.port) for _ in range(2)]
        over = await Caller.connect(door.app.port)
        assert await over.closed() == b""
        for caller in (silent, over, *kept):
            await caller.close()


async def test_grpc_metadata_past_the_cap_is_refused() -> None:
    async with grpc_opened(head_bytes_max=4096) as door:
        large = (("x", "y" * 5000),)
        assert (await door.dial.refusal("GetInstance", id="i", metadata=large))[0] == "RESOURCE_EXHAUSTED"
        await door.dial.call("GetInstance", id="i", metadata=(("x", "y" * 3000),))


def test_bodies_that_could_never_get_in_are_told_at_boot() -> None:
    env = {
        "WE_POSTGRES_DSN": "postgresql://u@db/w",
        "WINDLASS_BODY_BYTES_MAX": str(64 * MIB),
        "WINDLASS_MEMORY_BYTES_MAX": str(160 * MIB),
    }
    (warning,) = settings_from_env(env).warnings
    assert warning.startswith(
        "WINDLASS_BODY_BYTES_MAX is 67108864, but WINDLASS_MEMORY_BYTES_MAX (167772160) leaves"
    )


# -- fields


@pytest.mark.parametrize("wait", [10**400, 1e300, 2**64])
async def test_an_endless_wait_is_the_longest_there_is(wait: float) -> None:
    async with opened(long_poll_s_max=0.01) as door:
        body = {"workerId": "w", "jobTypes": ["t"], "waitMs": wait, "leaseSeconds": wait, "maxJobs": 10**400}
        assert await door.call("POST", "/v1/jobs/poll", body) == (200, {"jobs": []})
        assert door.asked()[1]["wait_s"] == 0.01


async def test_a_poll_asks_for_so_many_types_at_most() -> None:
    types = [f"t{n}" for n in range(bounds.JOB_TYPES_MAX + 1)]
    async with opened() as door:
        body: dict[str, Any] = {"workerId": "w", "jobTypes": types}
        status, told = await door.call("POST", "/v1/jobs/poll", body)
        assert (status, "got 1001" in told["reason"]) == (400, True)
        assert (await door.call("POST", "/v1/jobs/poll", body | {"jobTypes": types[1:]}))[0] == 200
    async with grpc_opened() as door:
        assert (await door.dial.refusal("PollJobs", worker_id="w", job_types=types))[0] == "INVALID_ARGUMENT"


async def test_a_business_key_must_fit_into_an_index() -> None:
    most = bounds.BUSINESS_KEY_BYTES_MAX
    async with opened() as door:
        status, told = await door.call(
            "POST", "/v1/instances", {"definitionId": "d", "businessKey": "é" * most}
        )
        assert (status, f"{2 * most} bytes" in told["reason"]) == (400, True)
        assert (await door.call("POST", "/v1/instances", {"definitionId": "d", "businessKey": "k" * most}))[
            0
        ] == 201
    async with grpc_opened() as door:
        refusal = await door.dial.refusal("StartInstance", definition_id="d", business_key="k" * (most + 1))
        assert refusal[0] == "INVALID_ARGUMENT"


def test_a_job_type_must_fit_into_an_index() -> None:
    def document(job_type: str) -> bytes:
        service = {"id": "s", "name": "s", "type": "SERVICE_TASK", "jobType": job_type, "nextStep": "e"}
        return json.dumps(
            {"id": "d", "name": "d", "steps": [service, {"id": "e", "name": "e", "type": "END"}]}
        ).encode()

    parse_upload(document("t" * JOB_TYPE_BYTES_MAX))
    with pytest.raises(InvalidDefinition, match="jobType has 2050 bytes, at most 2048"):
        parse_upload(document("é" * 1025))


# -- memory


def test_compiled_expressions_are_kept_by_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression, "_compiled", kept := expression._Compiled())
    monkeypatch.setattr(expression, "COMPILED_CHARS_MAX", 2_000)
    texts = ["1" + "+1" * 50 + f"+{n}" for n in range(50)]
    for text in texts:
        expression.evaluate(text, {})
    assert expression.compile_expression(texts[-1]) is expression.compile_expression(texts[-1])
    assert sum(map(len, kept._kept)) <= expression.COMPILED_CHARS_MAX
    assert 10 < len(kept._kept) < 20


async def test_definitions_are_kept_by_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    class Connection:
        reads = 0

        async def fetchrow(self, _query: str, name: str, _version: int) -> dict[str, str]:
            self.reads += 1
            return {"source": json.dumps({"name": name * 1000, "steps": [{"id": "e", "type": "END"}]})}

    monkeypatch.setattr(definitions, "DEFINITION_BYTES_KEPT_MAX", 5_000)
    connection, cache = Connection(), definitions.DefinitionCache()
    for name in "abcdefg":
        assert (await cache.load(connection, [(name, 1)]))[name, 1].name == name * 1000
    await cache.load(connection, [("g", 1), ("f", 1)])
    assert connection.reads == 7
    await cache.load(connection, [("a", 1)])
    assert connection.reads == 8


async def test_job_types_that_nobody_waits_for_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in wake mode event_driven, where no look at the waiting polls comes round."""

    class Nothing:
        async def claim(self, *_: object, **__: object) -> Claim:
            return Claim([], is_cut=False)

    monkeypatch.setattr(polling, "TYPES_KEPT_MAX", 50)
    polls = WaitingPolls(
        Nothing(),  # type: ignore[arg-type]
        PollingSettings(0.25, 1.0, lambda: False, 1_000_000),
        claimed=print,
        refused=print,
        passed_over=print,
        cut=print,
    )
    poll = {"worker_id": "w", "jobs_max": 1, "lease_s": 1.0}
    waiting = asyncio.ensure_future(polls.poll(**poll, job_types=["kept"], wait_s=10))  # type: ignore[arg-type]
    await eventually(lambda: polls.parked == 1)
    for number in range(1_000):
        assert await polls.poll(**poll, job_types=[f"t{number}"], wait_s=0) == []  # type: ignore[arg-type]
    assert len(polls._types) < 200
    assert polls._types["kept"].parked
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    polls.stop()


# -- time


ROW = list(range(100_000))
COSTLY: list[tuple[str, dict[str, Any]]] = [
    ("a == b && " * 900 + "true", {"a": ROW, "b": list(ROW)}),
    ("contains(a, -1) || " * 500 + "true", {"a": ROW}),
    ("[" + "a, " * 3_000 + "1]", {"a": [[[1] * 50] * 50]}),
    ("s" + " + s" * 2_400, {"s": "x" * 6_000}),
    ("contains(s, t) || " * 500 + "true", {"s": "ab" * 4_000_000, "t": "ba" * 500 + "c"}),
    ("s == t && " * 900 + "true", {"s": "x" * 8_000_000, "t": "".join(["x" * 7_999_999, "x"])}),
    ("s >= t && " * 900 + "true", {"s": "x" * 8_000_000, "t": "".join(["x" * 7_999_999, "w"])}),
]


@pytest.mark.parametrize(("text", "variables"), COSTLY, ids=[text[:14] for text, _ in COSTLY])
def test_an_expression_computes_so_much_and_no_more(text: str, variables: dict[str, Any]) -> None:
    """One event loop serves all callers: an expression that takes minutes would be an outage."""
    with pytest.raises(expression.ExpressionError, match="too much"):
        expression.evaluate(text, variables)


def test_one_event_s_expressions_share_what_they_may_compute() -> None:
    steps: list[dict[str, Any]] = [
        {
            "id": "d",
            "type": "DECISION",
            "conditionalNextSteps": {f"a == [{n}]": "e" for n in range(200)} | {"true": "e"},
        },
        {"id": "e", "type": "END"},
    ]
    cheap = start(steps, b"[1,2]")
    assert cheap.status == "COMPLETED"
    big = json.dumps([ROW]).encode()
    steps[0]["conditionalNextSteps"] = {f"a == [a[0], {n}] || [a[0]] != a": "e" for n in range(2_000)}
    failed = start(steps, big)
    assert failed.status == "FAILED"
    assert "compute too much" in (failed.failure_reason or "")


def test_steps_in_a_row_write_so_much_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand steps that each keep a copy of large variables would not fit into any memory."""
    monkeypatch.setattr(advance, "EVENT_BYTES_MAX", 100_000)
    loop: list[dict[str, Any]] = [
        {"id": f"t{n}", "type": "DECISION", "conditionalNextSteps": {"true": f"t{n + 1}"}} for n in range(30)
    ]
    end = {"id": "t30", "type": "END"}
    assert start([*loop, end], json.dumps("x" * 1_000).encode()).status == "COMPLETED"
    failed = start([*loop, end], json.dumps("x" * 10_000).encode())
    assert failed.status == "FAILED"
    assert "more than 100000 bytes" in (failed.failure_reason or "")
    digits = {"v": [1e300] * 400}
    written: list[dict[str, Any]] = [
        {"id": "t", "type": "TRANSFORMATION", "nextStep": "t30", "transformations": digits},
        end,
    ]
    failure = start(written, b"1").failure_reason
    assert "larger than 100000 bytes" in (failure or ""), "as the database writes them"
    many = {f"v{n}": "${a}" for n in range(20)}
    swollen: list[dict[str, Any]] = [
        {"id": "t", "type": "TRANSFORMATION", "nextStep": "t30", "transformations": many},
        end,
    ]
    assert "larger than 100000 bytes" in (
        start(swollen, json.dumps("x" * 10_000).encode()).failure_reason or ""
    )


def start(steps: list[dict[str, Any]], a: bytes) -> Any:
    """The instance after its first event, with the one variable `a`."""
    named = [{"name": step["id"], **step} for step in steps]
    definition = compile_definition("d", 1, json.dumps({"id": "d", "name": "d", "steps": named}).encode())
    numbers = itertools.count()
    around = advance.Surroundings(lambda: f"id-{next(numbers)}", lambda: "2026-01-02T03:04:05Z")
    return advance.start(definition, "i", {"a": msgspec.Raw(a)}, None, around).instance


# -- gRPC messages


async def test_small_grpc_calls_pass_beside_callers_that_hold_all_room() -> None:
    """Callers that begin a call and never send its message hold the room that a large one might need."""
    never = asyncio.Event()

    async def nothing() -> AsyncIterator[bytes]:
        await never.wait()
        yield b""

    async with grpc_opened(memory_bytes=160 * MIB, body_bytes_max=4 * MIB) as door:
        begin: Any = door.dial.channel.stream_unary("/workflow.v1.WorkflowEngine/GetInstance")
        silent = [begin(nothing()) for _ in range(6)]
        await eventually(lambda: sum(call.done() for call in silent) == 4)
        assert {(await call.code()).name for call in silent if call.done()} == {"UNAVAILABLE"}
        for _ in range(20):
            await door.dial.call("GetInstance", id="i")
        assert door.memory.used(Use.BODY) == 2 * 4 * MIB, "those that fit are waited for"
        await asyncio.sleep(message_room.SLOW_S)
        assert sum(call.done() for call in silent) == 4, "for as long as nobody else needs it"
        late = begin(nothing())
        await eventually(lambda: sum(call.done() for call in silent) == 5)
        for call in (*silent, late):
            call.cancel()
        await eventually(lambda: door.memory.used(Use.BODY) == 0)


async def test_a_grpc_call_without_a_message_is_refused_and_one_that_never_fits_names_the_remedy() -> None:
    async with grpc_opened(memory_bytes=160 * MIB, body_bytes_max=16 * MIB) as door:
        begin: Any = door.dial.channel.stream_unary("/workflow.v1.WorkflowEngine/GetInstance")
        call = begin([])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        status, text = await door.dial.refusal("CancelInstance", id="i", reason="x" * 4 * MIB)
        assert status == "RESOURCE_EXHAUSTED"
        assert "WINDLASS_MEMORY_BYTES_MAX" in text
        assert all(door.memory.used(use) == 0 for use in Use)
