"""Cases for the REST door: every endpoint's valid calls with a broken body, path, query or head, and no HTTP at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import broken_json
import definition_cases
from broken_json import Json, Text, weighted
from case import (
    INSTANCE_ID,
    JOB_ID,
    JOB_TYPE,
    PARKED_DEFINITION,
    SERVICE_DEFINITION,
    USER_TASK_STEP,
    WAIT_STEP,
    WORKER_ID,
    Case,
)
from hypothesis import strategies as st

CRLF = b"\r\n"

variables: st.SearchStrategy[Json] = st.dictionaries(
    st.text(min_size=1, max_size=8), broken_json.odd_values, max_size=3
)
_maybe_variables = st.none() | variables


class Endpoint(NamedTuple):
    method: str
    path: str
    #: bodies that the contract takes
    bodies: st.SearchStrategy[Json] | None = None
    #: a call without a body is one as well
    body_is_optional: bool = False
    query: Mapping[str, str] = {}


ENDPOINTS: Sequence[Endpoint] = (
    Endpoint("POST", "/v1/definitions", definition_cases.documents()),
    Endpoint("GET", "/v1/definitions", query={"keyword": "fuzz", "page": "0", "pageSize": "5"}),
    Endpoint("GET", f"/v1/definitions/{SERVICE_DEFINITION}"),
    Endpoint("GET", f"/v1/definitions/{SERVICE_DEFINITION}/versions/1"),
    Endpoint(
        "GET",
        "/v1/instances",
        query={"definitionId": "fuzz-parked", "status": "WAITING", "businessKey": "k", "page": "0", "pageSize": "5"},
    ),
    Endpoint(
        "POST",
        "/v1/instances",
        st.fixed_dictionaries(
            {"definitionId": st.just(PARKED_DEFINITION)},
            optional={
                "definitionVersion": st.sampled_from((0, 1, -1)),
                "variables": _maybe_variables,
                "businessKey": st.sampled_from(("", "order-1", "k" * 1000)),
            },
        ),
    ),
    Endpoint("GET", f"/v1/instances/{INSTANCE_ID}"),
    Endpoint("GET", f"/v1/instances/{INSTANCE_ID}/history"),
    Endpoint(
        "POST",
        f"/v1/instances/{INSTANCE_ID}/cancel",
        st.fixed_dictionaries({}, optional={"reason": st.text(max_size=20)}),
        body_is_optional=True,
    ),
    Endpoint(
        "POST",
        "/v1/jobs/poll",
        st.fixed_dictionaries(
            {"workerId": st.just(WORKER_ID), "jobTypes": st.just([JOB_TYPE, "nobody-s"])},
            optional={
                "maxJobs": st.sampled_from((0, 1, 5_000)),
                "leaseSeconds": st.sampled_from((3600, 1e9)),
                "waitMs": st.sampled_from((0, 1, 1e12)),
            },
        ),
    ),
    Endpoint(
        "POST",
        f"/v1/jobs/{JOB_ID}/complete",
        st.fixed_dictionaries(
            {"workerId": st.just(WORKER_ID)}, optional={"leaseToken": st.just("1"), "variables": _maybe_variables}
        ),
    ),
    Endpoint(
        "POST",
        f"/v1/jobs/{JOB_ID}/fail",
        st.fixed_dictionaries(
            {"workerId": st.just(WORKER_ID)},
            optional={
                "leaseToken": st.just("1"),
                "errorMessage": st.text(max_size=20),
                "retryable": st.booleans(),
            },
        ),
    ),
    Endpoint(
        "POST",
        f"/v1/instances/{INSTANCE_ID}/user-tasks/{USER_TASK_STEP}/complete",
        st.fixed_dictionaries({}, optional={"workerId": st.just(WORKER_ID), "variables": _maybe_variables}),
        body_is_optional=True,
    ),
    Endpoint("POST", f"/v1/instances/{INSTANCE_ID}/signals/{WAIT_STEP}", variables, body_is_optional=True),
    Endpoint(
        "POST",
        "/v1/workers",
        st.fixed_dictionaries(
            {"id": st.just(WORKER_ID), "jobTypes": st.just([JOB_TYPE])},
            optional={
                "version": st.sampled_from((None, "", "1.4.0")),
                "capacity": st.sampled_from((None, 1, 100_000)),
                "heartbeatSeconds": st.sampled_from((None, 1, 2.5, 3600)),
            },
        ),
    ),
    Endpoint("GET", "/v1/workers", query={"page": "0", "pageSize": "5"}),
    Endpoint("POST", f"/v1/workers/{WORKER_ID}/heartbeat"),
    Endpoint("DELETE", f"/v1/workers/{WORKER_ID}"),
    *(Endpoint("GET", path) for path in ("/healthz", "/health", "/ready", "/readyz", "/api/health", "/api/ready")),
    *(Endpoint("GET", path) for path in ("/health/detailed", "/cluster/info", "/api/cluster/info")),
)  # fmt: skip
WITH_BODY = [endpoint for endpoint in ENDPOINTS if endpoint.bodies is not None]
_TEXTS = {
    endpoint.path: broken_json.texts(endpoint.bodies) for endpoint in ENDPOINTS if endpoint.bodies is not None
}

#: In the place of an id. None of them is one.
ODD_SEGMENTS = (
    b"", b"%", b"%0", b"%00", b"a%00b", b"%ff", b"%c0%af", b"%ed%a0%80", b"%2e%2e", b"..", b".", b"%2F", b"a%2Fb",
    b"%252e", b"%F0%9F%98%80", b"ghost", b"-1", b"0", b"1e3", b"99999999999999999999", b"+1", b"\xe2\x82\xac", b"\xff",
    b";", b"a;b=c", b"'--", b"*", b"~", b"%u0041", b"%zz", b"x" * 5_000, b"%41" * 3_000, b"{id}", b"null", b"a b",
)  # fmt: skip
ODD_QUERIES = (
    b"", b"&&&&", b"=", b"page", b"page=&pageSize=", b"page=-1", b"page=1e3", b"page=" + b"9" * 400, b"pageSize=-5",
    b"pageSize=100000000", b"page=2147483648&pageSize=200", b"page=%00", b"keyword=%00", b"keyword=%ff",
    b"keyword=%c0%af", b"keyword=%", b"keyword=%25%5F%5C", b"keyword=\xff", b"status=%F0%9F%98%80", b"status=NONE",
    b"businessKey=" + b"k" * 20_000, b"definitionId=" + b"%41" * 5_000, b"a&" * 9_000, b"keyword=a&keyword=%00",
    b"page=0&page=-1", b"pageSize=0x10", b"page=\xd9\xa1", b"keyword=" + b"%25" * 4_000, b"?", b"#",
)  # fmt: skip
#: A text and, where the contract leaves no doubt, that it is refused.
ODD_HEADERS: Sequence[tuple[bytes, bool]] = (
    (b"Content-Type: application/xml", False),
    (b"Content-Type: text/plain; charset=utf-16", False),
    (b"Content-Type: " + b"x" * 4_000, False),
    (b"Content-Encoding: gzip", False),
    (b"Transfer-Encoding: gzip", True),
    (b"Transfer-Encoding: chunked, identity", True),
    (b"Transfer-Encoding : chunked", True),
    (b"Content-Length: 0", False),
    (b"Content-Length:", True),
    (b"Content-Length: -1", True),
    (b"Content-Length: +3", True),
    (b"Content-Length: 3, 3", True),
    (b"Content-Length: 0x3", True),
    (b"Content-Length: 3_0", True),
    (b"Content-Length: 1e1", True),
    (b"Content-Length: \xd9\xa3", True),
    (b"Content-Length: 99999999999999999999999999", True),
    (b"Content-Length: 9223372036854775807", True),
    (b"Content-Length: 16777217", True),
    (b": no name", True),
    (b"no colon", True),
    (b"Sp ace: 1", True),
    (b"X-Nul: a\0b", True),
    (b"X-Ctl: a\x01b", False),
    (b"X-High: \xff\xfe", False),
    (b" folded: 1", False),
    (b"X-Fold: a\r\n b", False),
    (b"X-Lone: a\rb", True),
    (b"Host: a\r\nHost: b", False),
    (b"Connection: close, keep-alive, upgrade", False),
    (b"Connection: Upgrade\r\nUpgrade: websocket", False),
    (b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk", False),
    (b"Expect: 100-continue", False),
    (b"Expect: the-unexpected", False),
    (b"traceparent: " + b"\xff" * 2_000, False),
    (b"X-Forwarded-For: " + b"1" * 500 + b", \xff", False),
    (b"True-Client-IP: \xff\xfe<script>", False),
    (b"Origin: null\r\nAccess-Control-Request-Method: \xff", False),
    (b"Cookie: " + b"c" * 8_000, False),
    (b"X-Large: " + b"y" * 40_000, True),
    (b"\r\n".join(b"X-%d: y" % n for n in range(400)), False),
    (b"\r\n".join(b"X-%d: y" % n for n in range(8_000)), True),
    (b"X-Name-" + b"n" * 40_000 + b": y", True),
)
VERBS = (
    b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND", b"MKCOL", b"QUERY",
    b"SUBSCRIBE", b"M-SEARCH", b"SOURCE", b"get", b"GETS", b"G\xffT", b"\0", b"CONNECT", b"PRI", b"X" * 5_000,
)  # fmt: skip
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/1", b"HTTP/9.9", b"http/1.1", b"",
            b"HTTP/1.1 x", b"ICE/1.0", b"RTSP/1.0")  # fmt: skip


def request(
    method: bytes, target: bytes, body: bytes | None = None, *headers: bytes, version: bytes = b"HTTP/1.1"
) -> bytes:
    lines = [b"%b %b %b" % (method, target, version), b"Host: fuzz", *headers]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return CRLF.join(lines) + CRLF + CRLF + (body or b"")


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk) + b"0\r\n\r\n"


@st.composite
def bodies(draw: st.DrawFn) -> Case:
    """A known endpoint, a body that is broken, or only odd."""
    endpoint = draw(st.sampled_from(WITH_BODY))
    text: Text = draw(_TEXTS[endpoint.path])
    return Case(
        "rest",
        f"{endpoint.method} {_pattern(endpoint)}: {text.kind}",
        request(
            endpoint.method.encode(), endpoint.path.encode(), text.data, b"Content-Type: application/json"
        ),
        must_refuse=text.is_no_json,
    )


@st.composite
def paths(draw: st.DrawFn) -> Case:
    """A known endpoint with another segment somewhere."""
    endpoint = draw(st.sampled_from(ENDPOINTS))
    segments = endpoint.path.encode().split(b"/")[1:]
    at = draw(st.integers(0, len(segments)))
    odd = draw(broken_json.pick(ODD_SEGMENTS) | st.binary(max_size=8).map(_without_space))
    segments[at : at + draw(st.integers(0, 1))] = [odd]
    body = broken_json.encoded(draw(endpoint.bodies)) if endpoint.bodies is not None else None
    target = b"/" + b"/".join(segments)
    return Case("rest", "path", request(endpoint.method.encode(), target, body))


@st.composite
def queries(draw: st.DrawFn) -> Case:
    endpoint = draw(st.sampled_from([endpoint for endpoint in ENDPOINTS if endpoint.query]))
    query = draw(broken_json.pick(ODD_QUERIES) | st.binary(max_size=20).map(_without_space))
    name = draw(st.sampled_from((b"", *(name.encode() + b"=" for name in endpoint.query))))
    return Case("rest", "query", request(b"GET", endpoint.path.encode() + b"?" + name + query))


@st.composite
def heads(draw: st.DrawFn) -> Case:
    endpoint = draw(st.sampled_from(ENDPOINTS))
    header, refused = draw(broken_json.pick(ODD_HEADERS))
    body = broken_json.encoded(draw(endpoint.bodies)) if endpoint.bodies is not None else b""
    own_length = b"Content-Length" in header or b"Transfer-Encoding" in header
    data = request(endpoint.method.encode(), endpoint.path.encode(), None if own_length else body, header)
    return Case("rest", f"header {header[:40]!r}", data + (body if own_length else b""), must_refuse=refused)


@st.composite
def verbs(draw: st.DrawFn) -> Case:
    endpoint = draw(st.sampled_from(ENDPOINTS))
    verb, version = draw(broken_json.pick(VERBS)), draw(st.sampled_from(VERSIONS))
    target = draw(
        st.sampled_from((endpoint.path.encode(), b"*", b"http://x" + endpoint.path.encode(), b"//", b"x"))
    )
    body = broken_json.encoded(draw(endpoint.bodies)) if endpoint.bodies is not None else None
    return Case("rest", "request line", request(verb, target, body, version=version))


@st.composite
def chunks(draw: st.DrawFn) -> Case:
    """Chunked bodies, right and wrong."""
    endpoint = draw(st.sampled_from(WITH_BODY))
    assert endpoint.bodies is not None
    body = broken_json.encoded(draw(endpoint.bodies))
    cut = draw(st.integers(0, len(body)))
    good = chunked(body[:cut], body[cut:])
    kind, data, refused = draw(
        broken_json.pick(
            (
                ("right", good, False),
                ("a size that is none", b"zz\r\n" + body + b"\r\n0\r\n\r\n", True),
                ("a negative size", b"-1\r\n" + body + b"\r\n0\r\n\r\n", True),
                ("a size past 64 bits", b"f" * 20 + b"\r\n" + body, True),
                ("a size past the cap", b"7fffffffffffffff\r\n" + body, True),
                ("no size", b"\r\n" + body + b"\r\n0\r\n\r\n", True),
                ("a chunk longer than its size", b"1\r\n" + body + b"\r\n0\r\n\r\n", True),
                ("extensions without end", b"1;" + b"x" * 50_000 + b"\r\n", True),
                ("trailers", good[:-2] + b"X-Trailer: 1\r\n\r\n", False),
                ("trailers without end", good[:-2] + b"X-T: y\r\n" * 8_000 + b"\r\n", True),
                ("bare line feeds", good.replace(b"\r\n", b"\n"), True),
                ("leading zeros", b"0" * 500 + good, False),
                ("one byte a chunk", chunked(*(body[at : at + 1] for at in range(len(body)))), False),
            )
        )
    )
    head = request(b"POST", endpoint.path.encode(), None, b"Transfer-Encoding: chunked")
    return Case("rest", f"chunked: {kind}", head + data, must_refuse=refused)


@st.composite
def pipelines(draw: st.DrawFn) -> Case:
    """Several calls at once, one of them perhaps no call: as many answers as there were calls, in order."""
    good = request(b"GET", draw(st.sampled_from((b"/healthz", b"/ready", b"/v1/definitions", b"/ghost"))))
    before = draw(st.integers(1, 40))
    last = draw(
        st.sampled_from(
            (b"", b"NONSENSE\r\n\r\n", good[:-4] + b"\r\nContent-Length: x\r\n\r\n", b"\x16\x03\x01")
        )
    )
    return Case("rest", "pipeline", good * before + last, answers=before + bool(last))


@st.composite
def lies(draw: st.DrawFn) -> Case:
    """A length that is not the body's: what is missing is waited for until the time to arrive is over."""
    endpoint = draw(st.sampled_from(WITH_BODY))
    assert endpoint.bodies is not None
    body = broken_json.encoded(draw(endpoint.bodies))
    more = draw(st.sampled_from((1, 2, 100, 10_000_000)))
    head = b"Content-Length: %d" % (len(body) + more)
    return Case(
        "rest",
        "fewer bytes than told",
        request(b"POST", endpoint.path.encode(), None, head) + body,
        must_refuse=True,
    )


@st.composite
def surplus(draw: st.DrawFn) -> Case:
    """More bytes than the length says: the rest is another call, or none at all."""
    endpoint = draw(st.sampled_from(WITH_BODY))
    assert endpoint.bodies is not None
    body = broken_json.encoded(draw(endpoint.bodies))
    told = draw(st.integers(0, max(0, len(body) - 1)))
    head = b"Content-Length: %d" % told
    return Case(
        "rest", "more bytes than told", request(b"POST", endpoint.path.encode(), None, head) + body, answers=2
    )


#: Bytes that begin no call, or only half of one.
garbage: st.SearchStrategy[Case] = st.one_of(
    st.binary(min_size=1, max_size=300).filter(lambda data: bool(data.strip(b"\r\n"))),
    broken_json.pick(
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET  /  HTTP/1.1\r\n\r\n",
            b"\0" * 5_000,
            b"A" * 50_000,
            b"GET / HTTP/1.1\nHost: x\n\n",
            b"GET /healthz HTTP/1.1\r\rHost: x\r\r",
            b"POST /v1/jobs/poll HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST /v1/jobs/poll HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
            b"*1\r\n$4\r\nPING\r\n",
            b"SSH-2.0-x\r\n",
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        )
    ),
).map(lambda data: Case("rest", "no HTTP", data, must_refuse=True))


def _without_space(data: bytes) -> bytes:
    return bytes(byte for byte in data if byte not in b" \r\n")


def _pattern(endpoint: Endpoint) -> str:
    return endpoint.path.replace(INSTANCE_ID, "{instance}").replace(JOB_ID, "{job}")


#: The calls' bodies as often as all the rest; what waits for a timeout seldom.
cases: st.SearchStrategy[Case] = weighted(
    {
        bodies(): 45,
        paths(): 12,
        queries(): 7,
        heads(): 12,
        verbs(): 6,
        chunks(): 6,
        pipelines(): 3,
        surplus(): 3,
        garbage: 5,
        lies(): 1,
    }
)
