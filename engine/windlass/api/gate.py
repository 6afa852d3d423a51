"""How each door asks the gate: with the head of a REST call, or with the metadata of a gRPC call."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import unquote

from windlass.api import faults
from windlass.api.call import Request, Response
from windlass.api.head import HeadGate
from windlass.api.router import Router
from windlass.auth import calls
from windlass.auth.certificate import identities_of
from windlass.auth.gate import Gate
from windlass.auth.principal import PRINCIPAL
from windlass.errors import BadRequest, EngineError


def is_preflight(request: Request) -> bool:
    """Browsers send it without credentials, and it reaches nothing."""
    return request.method == "OPTIONS" and b"access-control-request-method" in request.headers


def rest_gate(gate: Gate, router: Router, origins: Collection[bytes]) -> HeadGate:
    """`origins`: of the web pages whose calls may be known by the certificate of the browser."""

    def admit(head: Request) -> Response | None:
        if is_preflight(head) and not _has_body(head):
            return None
        try:
            head.route, _ = router.find(head)
        except BadRequest:
            # Its caller is told so by the route, once it is known.
            head.route = router.unmatched
        return _asked(gate, head, head.route.call, origins)

    return admit


def metrics_gate(gate: Gate) -> HeadGate:
    return lambda head: _asked(gate, head, calls.METRICS)


def _has_body(head: Request) -> bool:
    """Whoever makes the node read one needs a token, also where what is asked for is open."""
    return (
        b"transfer-encoding" in head.headers or head.headers.get(b"content-length", b"0").strip(b"0") != b""
    )


def _asked(gate: Gate, head: Request, call: calls.Call, origins: Collection[bytes] = ()) -> Response | None:
    if call.roles is None and not _has_body(head):
        return None
    authorization = head.headers.get(b"authorization")
    text = None if authorization is None else authorization.decode("latin-1")
    # A browser shows its user's certificate for whatever page calls, without asking that user or us.
    origin = head.headers.get(b"origin")
    certificate = head.certificate if origin is None or origin in origins else frozenset[str]()
    try:
        head.principal = gate.principal_of(text, head.peer.rpartition(":")[0].strip("[]"), certificate)
        gate.require_role(head.principal, call)
    except EngineError as error:
        return faults.answer(error)
    return None


def ask_for_grpc(gate: Gate, call: calls.Call, context: Any) -> None:
    """Before the message is read. Sets the principal of the call's task; raises Unauthenticated or Forbidden."""
    metadata = context.invocation_metadata() or ()
    text = next((str(value) for key, value in metadata if key == "authorization"), None)
    # ipv4:127.0.0.1:50051 or ipv6:%5B::1%5D:50051
    host = unquote(context.peer()).partition(":")[2].rpartition(":")[0].strip("[]")
    given = context.auth_context().get("x509_pem_cert")
    principal = gate.principal_of(text, host, identities_of(given[0]) if given else frozenset())
    PRINCIPAL.set(principal)
    gate.require_role(principal, call)
