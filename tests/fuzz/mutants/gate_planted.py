"""Faults of the gate that no campaign of strangers may pass over; `open_handed.py` starts the engine with one."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jwt.utils import base64url_decode, base64url_encode

from windlass.api import gate as doors
from windlass.api import grpc as grpc_door
from windlass.auth import claims, jwt_verifier, key_set
from windlass.auth.gate import Gate
from windlass.auth.principal import PRINCIPAL

genuine_principal_of = Gate.principal_of
genuine_verified = key_set.Key.verified
genuine_header_part = jwt_verifier._key_and_algorithm
genuine_claims = claims.principal_of
genuine_asked = doors._asked


def role_not_asked_over_grpc(gate: Gate, call: Any, context: Any) -> None:
    """Whoever is known may call everything."""
    metadata = context.invocation_metadata() or ()
    text = next((str(value) for key, value in metadata if key == "authorization"), None)
    if call.roles is not None:
        PRINCIPAL.set(gate.principal_of(text, "127.0.0.1"))


def other_headers_count(gate: Gate, head: Any, call: Any, origins: Collection[bytes] = ()) -> Any:
    """A header that only looks like the right one is taken for it."""
    other = head.headers.get(b"x-authorization") or head.headers.get(b"proxy-authorization")
    if other:
        head.headers[b"authorization"] = other
    return genuine_asked(gate, head, call, origins)


def expired_is_good(
    self: Gate, authorization: str | None, host: str, certificate: frozenset[str] = frozenset()
) -> Any:
    """The end of a token is not looked at."""
    wall_s, self._wall_s = self._wall_s, lambda: 0.0
    try:
        return genuine_principal_of(self, authorization, host, certificate)
    finally:
        self._wall_s = wall_s


def unsigned_is_good(header: Mapping[str, Any]) -> tuple[str | None, str]:
    """alg none is an algorithm."""
    if str(header.get("alg")).lower() == "none":
        return "k", "none"
    return genuine_header_part(header)


def _without_a_key(self: Any, key_id: str | None, algorithm: str) -> Any:
    if algorithm == "none":
        return type("Unsigned", (), {"verified": lambda _, token: base64url_decode(token.split(".")[1])})()
    key = self._keys.find(key_id, algorithm)
    if key is None:
        raise jwt_verifier._invalid("no key")
    return key


def public_key_is_secret(self: key_set.Key, token: str) -> bytes:
    """The algorithm is the token's, so that the public key is the secret of an HMAC."""
    body, _, signature = token.rpartition(".")
    secret = str(self._key._jwk_data["x"]).encode()
    made = hmac.new(secret, body.encode(), hashlib.sha256).digest()
    if hmac.compare_digest(base64url_encode(made).decode(), signature):
        return base64url_decode(body.partition(".")[2])
    return genuine_verified(self, token)


def _any_algorithm(header: Mapping[str, Any]) -> tuple[str | None, str]:
    return genuine_header_part({**header, "alg": "EdDSA"})


def audience_not_asked(found: Mapping[str, Any], settings: Any, now_s: float) -> Any:
    """A JWT for others is one for us."""
    return genuine_claims({**found, "aud": settings.jwt_audience}, settings, now_s)


def _unsigned() -> None:
    jwt_verifier._key_and_algorithm = unsigned_is_good
    jwt_verifier.JwtVerifier._key = _without_a_key  # type: ignore[method-assign]
    jwt_verifier._FORM = re.compile(r"[^.]+\.[^.]+\.[^.]*")


def _hmac() -> None:
    jwt_verifier._key_and_algorithm = _any_algorithm
    key_set.Key.verified = public_key_is_secret  # type: ignore[method-assign]


FAULTS: Mapping[str, Callable[[], None]] = {
    "role-not-asked-over-grpc": lambda: setattr(grpc_door, "ask_for_grpc", role_not_asked_over_grpc),
    "other-headers-count": lambda: setattr(doors, "_asked", other_headers_count),
    "expired-is-good": lambda: setattr(Gate, "principal_of", expired_is_good),
    "unsigned-is-good": _unsigned,
    "public-key-is-secret": _hmac,
    "audience-not-asked": lambda: setattr(claims, "principal_of", audience_not_asked),
}
"""Each with the name that a test gives it."""
