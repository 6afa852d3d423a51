"""Cases of both doors from callers who may do nothing there: whatever they send, the gate refuses it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import credentials
import grpc_cases
import rest_cases
from broken_json import weighted
from case import Case, Surface
from credentials import ADMIN, Credentials
from hypothesis import strategies as st

_HOST = b"Host: fuzz\r\n"
#: What is open to all, in any form of a target (RFC 9112, 3.2), and a browser's question before its call.
_OPEN = re.compile(
    rb"(?:GET|HEAD) (?:http://x)?/(?:healthz|health|ready|readyz|api/health|api/ready)(?:\?[^ ]*)? HTTP/"
)
#: Places where credentials are not looked for; these would be good ones.
_ELSEWHERE = tuple(
    line % ADMIN.encode()
    for line in (
        b"X-Authorization: Bearer %b",
        b"Proxy-Authorization: Bearer %b",
        b"X-Api-Key: %b",
        b"Cookie: token=%b; Authorization=Bearer %%20%b",
        b"Sec-WebSocket-Protocol: bearer, %b",
        b"Authorization2: Bearer %b",
        b"Forwarded: for=127.0.0.1;by=admin;token=%b",
    )
    if line.count(b"%b") == 1
)


def with_head(case: Case, line: bytes) -> Case:
    """The same with a line more in the head of each of its calls."""
    return replace(case, sent=case.sent.replace(_HOST, _HOST + line + b"\r\n"))


def _by(surface: Surface, case: Case, shown: Credentials, *, is_whole: bool) -> Case:
    is_preflight = case.sent.startswith(b"OPTIONS ") and b"Access-Control-Request-Method" in case.sent
    is_open = is_preflight or _OPEN.match(case.sent) is not None
    return replace(
        case,
        surface=surface,
        kind=f"{shown.kind}: {case.kind}",
        must_refuse=not is_open,
        by="" if is_open else "powerless" if shown.is_known else "stranger",
        is_whole=is_whole,
        # A connection is closed behind a refusal.
        answers=case.answers if is_open else 1,
    )


@st.composite
def _rest(draw: st.DrawFn, cases: st.SearchStrategy[Case], *, is_whole: bool) -> Case:
    case, shown = draw(cases), draw(credentials.bad)
    if shown.authorization is not None:
        case = with_head(case, b"Authorization: " + shown.authorization.encode())
        if draw(st.integers(0, 9)) == 0:
            # The first one counts.
            case = case if b"Authorization" not in case.sent else _second(case)
    elif draw(st.booleans()):
        case = with_head(case, draw(st.sampled_from(_ELSEWHERE)))
    return _by("strangers-rest", case, shown, is_whole=is_whole)


def _second(case: Case) -> Case:
    good = b"\r\nAuthorization: Bearer " + ADMIN.encode() + b"\r\n"
    return replace(case, sent=re.sub(rb"(?<=\r\n)(Authorization: [^\r\n]*)\r\n", rb"\1" + good, case.sent))


#: Heads that are right, so that nothing but the gate has a word before the body.
_WHOLE = weighted(
    {
        rest_cases.bodies(): 45,
        rest_cases.chunks(): 8,
        rest_cases.lies(): 5,
        rest_cases.surplus(): 5,
    }
)
_ODD = weighted(
    {
        rest_cases.paths(): 12,
        rest_cases.queries(): 7,
        rest_cases.heads(): 12,
        rest_cases.verbs(): 6,
        rest_cases.pipelines(): 4,
        rest_cases.garbage: 2,
    }
)
rest: st.SearchStrategy[Case] = weighted({_rest(_WHOLE, is_whole=True): 2, _rest(_ODD, is_whole=False): 1})


@st.composite
def _grpc(draw: st.DrawFn) -> Case:
    case, shown = draw(grpc_cases.cases), draw(credentials.bad)
    if not case.method:
        return replace(case, surface="strangers-grpc", by="stranger", must_refuse=True)
    own = () if shown.authorization is None else (("authorization", shown.authorization),)
    others = tuple(pair for pair in case.metadata if pair[0] != "authorization")
    is_served = case.method.rpartition("/")[2] in grpc_cases.CALLS and case.method.startswith(
        f"/{grpc_cases.SERVICE}/"
    )
    return replace(
        _by("strangers-grpc", case, shown, is_whole=is_served and not others), metadata=(*own, *others)
    )


STRATEGIES: Mapping[Surface, st.SearchStrategy[Case]] = {"strangers-rest": rest, "strangers-grpc": _grpc()}
"""By surface. Only with authentication on; see `scripts/fuzz --tokens`."""
