"""The gate in both doors over real sockets: what is refused before its body is read, and what brute force meets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import pytest
from caller import Caller, get, post
from dial import Dial
from door import Door
from grpc_health.v1 import health_pb2, health_pb2_grpc

from windlass import wire
from windlass.access_settings import AccessSettings
from windlass.api.grpc import GrpcApp
from windlass.api.metrics import MetricsApp
from windlass.api.rest import RestApp
from windlass.auth import attempts, calls
from windlass.auth.attempts import Attempts, counted_address
from windlass.auth.gate import Gate, Refusal
from windlass.auth.principal import Principal, Role
from windlass.auth.tokens import digest_of
from windlass.errors import TooManyAttempts, Unauthenticated
from windlass.memory import Use
from windlass.trace_context import TRACE
from windlass_client import Client, Forbidden
from windlass_client import Unauthenticated as ClientUnauthenticated

NOW_S = 1_000_000.0
WHO: Mapping[str, Principal] = {
    **{role.value: Principal(name=f"the-{role}", roles=frozenset({role})) for role in Role},
    "old": Principal(name="the-old", roles=frozenset({Role.ADMIN}), expires_at_s=NOW_S),
    "young": Principal(name="the-young", roles=frozenset({Role.ADMIN}), expires_at_s=NOW_S + 1),
}


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


class Guarded(Door):
    """Both doors and the metrics port behind one gate; the token of each role is the role's name."""

    def __init__(self, **access: Any) -> None:
        super().__init__(access=AccessSettings(tokens_file="/nowhere", **access))
        self.refused: list[Refusal] = []
        self.clock_s = 0.0
        self.gate = Gate(
            {digest_of(token): principal for token, principal in WHO.items()},
            self.refused.append,
            wall_s=lambda: NOW_S,
            attempts=Attempts(lambda: self.clock_s),
        )
        parts = self.service, self.settings, self.metrics, self.log, self.memory
        self.rest = RestApp(*parts, gate=self.gate)
        self.grpc = GrpcApp(*parts, self.gate)
        self.metrics_app = MetricsApp(self.metrics, self.settings, self.log, self._length, self.gate)

    async def _length(self, _: str) -> int:
        return 7

    async def once(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """On a connection of its own."""
        caller = await Caller.connect(self.rest.port)
        try:
            return await caller.call(data)
        finally:
            await caller.close()


@contextlib.asynccontextmanager
async def guarded(**settings: Any) -> AsyncIterator[tuple[Guarded, Dial]]:
    door = Guarded(**settings)
    await door.rest.start("127.0.0.1", 0)
    await door.grpc.start("127.0.0.1", 0)
    await door.metrics_app.start("127.0.0.1", 0)
    dial = Dial(door.grpc.port)
    try:
        yield door, dial
    finally:
        await dial.close()
        await door.rest.drain(0)
        await door.grpc.drain(0)
        await door.metrics_app.drain(0)


async def test_without_a_token_a_call_ends_at_its_head() -> None:
    """Nothing of the body is asked for: no 100 Continue, no room, no decoding; the connection ends."""
    async with guarded() as (door, dial):
        for data in (
            get("/v1/instances/i"),
            post("/v1/instances", b"{}"),
            post("/v1/instances", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 1000000"),
            post("/v1/instances", b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"),
            get("/nowhere"),
            get("/v1/instances/%FF"),
            get("/v1/instances").replace(b"GET", b"PATCH"),
        ):
            caller = await Caller.connect(door.rest.port)
            status, headers, body = await caller.call(data)
            assert status == 401, data
            assert headers["www-authenticate"] == 'bearer realm="windlass"'
            assert b'"error":"unauthenticated"' in body
            assert await caller.closed() == b""
            await caller.close()
        code, text = await dial.refusal("StartInstance", definition_id="d")
        assert (code, "needs a token" in text) == ("UNAUTHENTICATED", True)
        # A message that nobody could read is not looked at either.
        code, _ = await dial.refusal("StartInstance", b"\xff\xff\xff")
        assert code == "UNAUTHENTICATED"
        assert door.service.asked == []
        assert set(door.refused) == {Refusal.MISSING}


@pytest.mark.parametrize(
    ("header", "refusal", "is_invalid"),
    [
        ("", Refusal.MISSING, False),
        ("Authorization: ", Refusal.MISSING, False),
        ("Authorization: Basic Y2xpZW50OmNsaWVudA==", Refusal.MISSING, False),
        ("Authorization: Bearer", Refusal.MISSING, False),
        ("Authorization: Bearer ", Refusal.MISSING, False),
        ("Authorization: client", Refusal.MISSING, False),
        ("Authorization: Bearer  wrong", Refusal.UNKNOWN, True),
        ("Authorization: Bearer client admin", Refusal.UNKNOWN, True),
        ("Authorization: Bearer clien", Refusal.UNKNOWN, True),
        ("Authorization: Bearer " + "x" * 20_000, Refusal.UNKNOWN, True),
        ("Authorization: Bearer caf\u00e9", Refusal.UNKNOWN, True),
        ("Authorization: Bearer wrong\r\nAuthorization: Bearer admin", Refusal.UNKNOWN, True),
        ("Authorization: Bearer old", Refusal.EXPIRED, True),
    ],
)
async def test_what_is_no_good_token(header: str, refusal: Refusal, is_invalid: bool) -> None:
    async with guarded() as (door, _):
        status, headers, _ = await door.once(get("/v1/instances/i", *([header] if header else [])))
        assert status == 401
        assert ("invalid_token" in headers["www-authenticate"]) == is_invalid
        assert door.refused == [refusal]
        assert door.service.asked == []


async def test_a_good_token_passes_however_its_scheme_is_written() -> None:
    async with guarded() as (door, dial):
        for header in (
            "Authorization: Bearer client",
            "AUTHORIZATION:bearer client",
            "authorization: BEARER  young ",
        ):
            assert (await door.once(get("/v1/instances/i", header)))[0] == 200
        await dial.call("GetInstance", id="i", metadata=(("authorization", "bearer client"),))
        assert door.refused == []


async def test_the_role_decides_and_is_named() -> None:
    async with guarded() as (door, dial):
        status, headers, body = await door.once(post("/v1/instances", b"{}", bearer("worker")))
        assert status == 403
        assert "insufficient_scope" in headers["www-authenticate"]
        assert b"'the-worker' has the role worker, which may not start instances" in body
        assert b"admin, client" in body
        metadata = (("authorization", "Bearer worker"),)
        code, text = await dial.refusal("StartInstance", metadata=metadata, definition_id="d")
        assert code == "PERMISSION_DENIED"
        assert "'the-worker' has the role worker, which may not start instances" in text
        assert door.service.asked == []
        assert door.refused == [Refusal.ROLE] * 2


async def test_each_call_of_a_connection_is_judged_by_itself() -> None:
    async with guarded() as (door, _):
        caller = await Caller.connect(door.rest.port)
        await caller.send(get("/v1/instances/a", bearer("client")) + get("/healthz") + get("/v1/instances/b"))
        assert [(await caller.answer())[0] for _ in range(3)] == [200, 200, 401]
        assert [arguments["id"] for _, arguments in door.service.asked] == ["a"]
        await caller.close()


async def test_a_call_sent_ahead_carries_nothing_of_the_one_before() -> None:
    """The second is served where the first has ended: in the context of that one's task."""
    traceparent = f"traceparent: 00-{'a' * 32}-{'b' * 16}-01"
    async with guarded() as (door, _):
        traces: list[str | None] = []
        get_instance = door.service.get_instance

        async def slow(instance_id: str) -> wire.InstanceView:
            traces.append(TRACE.get())
            await asyncio.sleep(0.02)
            return await get_instance(instance_id)

        door.service.get_instance = slow  # type: ignore[method-assign]
        caller = await Caller.connect(door.rest.port)
        await caller.send(
            get("/v1/instances/a", bearer("client"), traceparent)
            + get("/v1/instances/b", bearer("admin"))
            + get("/health")
            + get("/v1/instances/c")
        )
        assert [(await caller.answer())[0] for _ in range(4)] == [200, 200, 200, 401]
        await caller.close()
        assert [trace is not None for trace in traces] == [True, False]
        said = [(line.get("principal"), "traceparent" in line) for line in door.lines()]
        assert said == [("the-client", True), ("the-admin", False), (None, False), (None, False)]


async def test_an_offered_upgrade_does_not_lead_around_the_gate() -> None:
    async with guarded() as (door, _):
        upgrade = "Connection: Upgrade", "Upgrade: h2c"
        assert (await door.once(get("/v1/instances/i", *upgrade)))[0] == 401
        assert door.service.asked == []
        assert (await door.once(get("/v1/instances/i", bearer("client"), *upgrade)))[0] == 200


async def test_strangers_do_not_learn_which_paths_there_are() -> None:
    async with guarded() as (door, _):
        assert (await door.once(get("/nowhere", bearer("metrics"))))[0] == 404
        assert (await door.once(get("/v1/jobs/poll", bearer("metrics"))))[0] == 405
        assert (await door.once(get("/v1/instances/%FF", bearer("metrics"))))[0] == 400


async def test_health_is_open_and_reflection_is_not_there() -> None:
    async with guarded() as (door, dial):
        for path in ("/healthz", "/health", "/ready", "/readyz", "/api/health", "/api/ready"):
            assert (await door.once(get(path)))[0] == 200
        stub: Any = health_pb2_grpc.HealthStub(dial.channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        reflection: Any = dial.channel.stream_stream(method)
        asked = reflection(iter([b""]))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await asked.read()
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("GET /healthz", "Content-Length: 1000000"),
        ("HEAD /ready", "Transfer-Encoding: chunked"),
        ("OPTIONS /v1/instances", "Access-Control-Request-Method: POST\r\nContent-Length: 1000000"),
        ("GET /healthz", "Expect: 100-continue\r\nContent-Length: 1000000"),
    ],
)
async def test_what_is_open_has_no_body_either(head: str, body: str) -> None:
    """Strangers would fill the room for bodies with calls that need no token."""
    async with guarded() as (door, _):
        caller = await Caller.connect(door.rest.port)
        await caller.send(f"{head} HTTP/1.1\r\nHost: x\r\n{body}\r\n\r\n".encode())
        assert (await caller.answer(head_only=head.startswith("HEAD")))[0] == 401
        await caller.close()
        assert door.memory.used(Use.BODY) == 0


async def test_probes_may_say_that_they_have_no_body() -> None:
    async with guarded() as (door, _):
        assert (await door.once(get("/healthz", "Content-Length: 0")))[0] == 200
        assert (await door.once(get("/healthz", "Content-Length: 2", bearer("client")) + b"{}"))[0] == 200


@pytest.mark.parametrize("rpc", ["Check", "Watch"])
async def test_strangers_keep_no_memory_by_asking_for_health(rpc: str) -> None:
    async with guarded() as (_, dial):
        ask: Any = dial.channel.unary_stream(f"/grpc.health.v1.Health/{rpc}")
        name = health_pb2.HealthCheckRequest(service="x" * 1_000_000).SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await ask(name, timeout=10).read()
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_metrics_port_asks_too() -> None:
    async with guarded() as (door, _):
        caller = await Caller.connect(door.metrics_app.port)
        assert (await caller.call(get("/metrics", bearer("metrics"))))[0] == 200
        assert (await caller.call(get("/metrics/t", bearer("operator"))))[2] == b'{"queue_length":7}\n'
        assert (await caller.call(get("/metrics", bearer("client"))))[0] == 403
        await caller.close()


async def test_lines_of_a_call_name_its_principal_and_no_line_its_token() -> None:
    async with guarded() as (door, dial):
        await door.once(get("/v1/instances/bug", bearer("client")))
        await door.once(get("/v1/instances/bug", bearer("worker")))
        await door.once(get("/v1/instances/bug", bearer("hunter2")))
        await dial.call("GetInstance", id="i", metadata=(("authorization", "Bearer client"),))
        await dial.refusal("GetInstance", id="i", metadata=(("authorization", "Bearer hunter2"),))
        lines = [
            (line["msg"], line.get("status") or line.get("code"), line.get("principal"))
            for line in door.lines()
        ]
        assert lines == [
            ("rest: handler broke", None, "the-client"),
            ("rest request", 500, "the-client"),
            ("rest request", 403, "the-worker"),
            ("rest request", 401, None),
            ("grpc request", "OK", "the-client"),
            ("grpc request", "UNAUTHENTICATED", None),
        ]
        assert "hunter2" not in str(door.lines())
        patterns = [line["path"] for line in door.lines() if line["msg"] == "rest request"]
        assert patterns == ["/v1/instances/{id}"] * 3


# -- brute force


async def test_an_address_that_guesses_is_slowed_and_others_there_are_not() -> None:
    async with guarded() as (door, dial):
        assert (await door.once(get("/v1/instances/i", bearer("client"))))[0] == 200
        for number in range(attempts.GUESSES_AT_ONCE):
            assert (await door.once(get("/v1/instances/i", bearer(f"guess-{number}"))))[0] == 401
        assert door.refused == [Refusal.UNKNOWN] * attempts.GUESSES_AT_ONCE
        # Not even the right one is looked at now, over neither transport,
        status, headers, body = await door.once(get("/v1/instances/i", bearer("admin")))
        assert (status, headers["retry-after"]) == (401, "1")
        assert b"too many wrong tokens came from 127.0.0.1" in body
        code, text = await dial.refusal("GetInstance", id="i", metadata=(("authorization", "Bearer admin"),))
        assert (code, "too many wrong tokens" in text) == ("UNAUTHENTICATED", True)
        # but those that were right from there before are; health is open as ever.
        assert (await door.once(get("/v1/instances/i", bearer("client"))))[0] == 200
        assert (await door.once(get("/ready")))[0] == 200
        door.clock_s += 1.0
        assert (await door.once(get("/v1/instances/i", bearer("guess"))))[0] == 401
        assert (await door.once(get("/v1/instances/i", bearer("admin"))))[0] == 401
        door.clock_s += 1.0
        assert (await door.once(get("/v1/instances/i", bearer("admin"))))[0] == 200


def test_the_memory_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "ADDRESSES_MAX", 100)
    monkeypatch.setattr(attempts, "GOOD_MAX", 50)
    kept = Attempts(lambda: 0.0)
    for number in range(1_000):
        kept.wrong(f"10.0.0.{number}")
        kept.right(f"10.0.0.{number}", b"digest")
    assert len(kept._left) == 100
    assert len(kept._good) == 50
    assert "10.0.0.999" in kept._left


def test_guesses_per_second_from_one_address_do_not_pass_the_bound() -> None:
    clock_s = 0.0
    gate = Gate({}, attempts=Attempts(lambda: clock_s))
    looked_at = 0
    for _ in range(6_000):
        clock_s += 0.01
        try:
            gate.principal_of("Bearer guess", "192.0.2.1")
        except TooManyAttempts:
            continue
        except Unauthenticated:
            looked_at += 1
    assert attempts.GUESSES_AT_ONCE <= looked_at <= attempts.GUESSES_AT_ONCE + 60 * attempts.GUESSES_PER_S + 1


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_what_counts_as_one_address(host: str, address: str) -> None:
    assert counted_address(host) == address


# -- web pages


async def test_which_origins_may_read() -> None:
    origin = "Origin: https://a.example"
    preflight = get("/v1/instances", origin, "Access-Control-Request-Method: POST").replace(
        b"GET", b"OPTIONS"
    )
    async with guarded() as (door, _):
        for data in (get("/health", origin), preflight):
            status, headers, _ = await door.once(data)
            assert (status, "access-control-allow-origin" in headers) == (200, False)
    async with guarded(cors_origins="https://a.example, https://b.example") as (door, _):
        for data in (get("/health", origin), preflight, get("/v1/instances", origin)):
            _, headers, _ = await door.once(data)
            assert headers["access-control-allow-origin"] == "https://a.example"
            assert headers["vary"] == "origin"
        for other in ("Origin: https://c.example", "Origin: null", "X-Other: 1"):
            _, headers, _ = await door.once(get("/health", other))
            assert "access-control-allow-origin" not in headers
            assert headers["vary"] == "origin"


# -- the client


@pytest.mark.parametrize("transport", ["rest", "grpc"])
async def test_the_client_sends_a_token_or_what_a_callable_gives(transport: str) -> None:
    async with guarded() as (door, _):
        address = (
            f"http://127.0.0.1:{door.rest.port}"
            if transport == "rest"
            else f"grpc://127.0.0.1:{door.grpc.port}"
        )
        async with Client(address, retry_for_s=0) as client:
            with pytest.raises(ClientUnauthenticated, match="needs a token") as error:
                await client.get("i")
            assert error.value.code == "unauthenticated"
        async with Client(address, token="worker", retry_for_s=0) as client:
            with pytest.raises(Forbidden, match="may not read instances"):
                await client.get("i")
        given = iter(["wrong", "client\n"])
        async with Client(address, token=lambda: next(given), retry_for_s=0) as client:
            with pytest.raises(ClientUnauthenticated, match="is not known here"):
                await client.get("i")
            assert (await client.get("i")).id == "i"
        for bad in ("", "two words", "caf\u00e9", "line\nend"):
            async with Client(address, token=bad, retry_for_s=0) as client:
                with pytest.raises(ValueError, match="printable ASCII"):
                    await client.get("i")


# -- every route and call has a row


def test_what_is_served_has_a_row_or_is_not_made() -> None:
    with pytest.raises(LookupError, match="lacks 'GET /v1/new'"):
        calls.of_route("GET", "/v1/new")
    with pytest.raises(LookupError, match="lacks the gRPC call 'New'"):
        calls.of_rpc("New")
    names = [name for call in calls.CALLS for name in (*call.rest, *call.rpcs)]
    assert len(names) == len(set(names))
    assert all(Role.ADMIN in call.roles for call in calls.CALLS if call.roles is not None)
