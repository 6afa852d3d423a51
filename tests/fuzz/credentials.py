"""What strangers show at the door: nothing, guesses, tokens that were good once, JWTs that are forged or not for here.

The keys are fixed, so that the same seed draws the same cases.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import broken_json
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st

ADMIN = "wdl_0-fuzz-admin-token-of-the-harness"
"""Whose calls prepare and look; the file has its digest."""
POWERLESS = "wdl_0-fuzz-metrics"
"""Known, of a role that may do nothing at these doors."""
OLD = "wdl_0-fuzz-expired"
ISSUER, AUDIENCE = "https://issuer.fuzz", "fuzz"
BEFORE_S, LATER_S = 1_700_000_000, 4_102_444_800

_KEY = Ed25519PrivateKey.from_private_bytes(b"windlass fuzz: the issuer's key.")
_STRANGER = Ed25519PrivateKey.from_private_bytes(b"windlass fuzz: somebody's own ke")
_JWK: dict[str, Any] = {**json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(_KEY.public_key())), "kid": "k"}
_PEM = _KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


class Credentials(NamedTuple):
    """`authorization`: None = none are sent. `is_known`: they stand for somebody, who may do nothing here."""

    kind: str
    authorization: str | None
    is_known: bool = False


def write(folder: Path) -> Mapping[str, str]:
    """The files of an engine that takes both kinds of credentials, and the variables that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens, keys = folder / "tokens.toml", folder / "jwks.json"
    tokens.write_text(
        f'admin = {{ role = "admin", sha256 = "{_digest(ADMIN)}" }}\n'
        f'metrics = {{ role = "metrics", sha256 = "{_digest(POWERLESS)}" }}\n'
        f'old = {{ role = "admin", sha256 = "{_digest(OLD)}", expires = 2020-01-01T00:00:00Z }}\n'
    )
    keys.write_text(json.dumps({"keys": [_JWK]}))
    return {
        "WINDLASS_TOKENS_FILE": str(tokens),
        "WINDLASS_JWT_ISSUER": ISSUER,
        "WINDLASS_JWT_AUDIENCE": AUDIENCE,
        "WINDLASS_JWT_JWKS_FILE": str(keys),
        "WINDLASS_JWT_ROLES": "admin=admin,metrics=metrics",
    }


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


# -- JWTs


def _claims(**changed: Any) -> dict[str, Any]:
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "eve",
        "iat": BEFORE_S,
        "exp": LATER_S,
        "roles": ["admin"],
        **changed,
    }
    return {name: value for name, value in good.items() if value is not None}


def _issued(header: Mapping[str, Any] | None = None, *, key: Any = _KEY, **changed: Any) -> str:
    return _signed(json.dumps(_claims(**changed)), header, key)


def _signed(payload: str, header: Mapping[str, Any] | None = None, key: Any = _KEY) -> str:
    """By the issuer's key whatever the header says, if no other is given."""
    parts = {"alg": "EdDSA", "typ": "JWT", "kid": "k", **(header or {})}
    body = f"{_encoded(json.dumps(parts).encode())}.{_encoded(payload.encode())}"
    return f"{body}.{_encoded(key.sign(body.encode()))}"


class _Hmac:
    """HS256 with what everybody may know."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, data: bytes) -> bytes:
        signature: bytes = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
            data, self._secret
        )
        return signature


class _Nothing:
    def sign(self, data: bytes) -> bytes:  # noqa: ARG002 - as the others have it
        return b""


def _encoded(data: bytes) -> str:
    return jwt.utils.base64url_encode(data).decode()


GOOD_JWT = _issued()
_FORGED: Mapping[str, str] = {
    "unsigned": _issued({"alg": "none"}, key=_Nothing()),
    "unsigned, with a signature": _issued({"alg": "nOnE"}),
    "HMAC with the public key": _issued({"alg": "HS256"}, key=_Hmac(_PEM)),
    "HMAC with the key's bytes": _issued({"alg": "HS256"}, key=_Hmac(_JWK["x"].encode())),
    "HMAC without a secret": _issued({"alg": "HS512"}, key=_Hmac(b"\0")),
    "of a stranger": _issued(key=_STRANGER),
    "with the stranger's key": _issued(
        {"jwk": json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(_STRANGER.public_key()))}, key=_STRANGER
    ),
    "with the address of a key": _issued({"jku": "http://127.0.0.1:1/keys"}, key=_STRANGER),
    "of an unknown key": _issued({"kid": "other"}, key=_STRANGER),
    "of a key that is a path": _issued({"kid": "../../../dev/null"}, key=_Hmac(b"\0")),
    "critical": _issued({"crit": ["exp"]}),
    "detached": _issued({"b64": False, "crit": ["b64"]}),
    "of another kind": _issued({"typ": "logout+jwt"}),
    "expired": _issued(exp=BEFORE_S),
    "too early": _issued(nbf=LATER_S),
    "without an end": _issued(exp=None),
    "with an end that is no time": _issued(exp="never"),
    "with an end in infinity": _signed(json.dumps(_claims(exp=float("inf")))),
    "of another issuer": _issued(iss="https://evil.fuzz"),
    "for others": _issued(aud=["other"]),
    "for nobody": _issued(aud=None),
    "of nobody": _issued(sub=None),
    "with roles that are none": _issued(roles={"admin": True}),
    "with an issuer twice": _signed(json.dumps(_claims())[:-1] + ', "iss": "https://issuer.fuzz"}'),
    "with deep claims": _signed('{"a":' * 900 + "1" + "}" * 900),
    "with deep claims of a stranger": _signed('{"a":' * 900 + "1" + "}" * 900, key=_STRANGER),
    "with a list for claims": _signed("[]"),
    "huge": _issued(filler="x" * 14_000),
}
_JWT_POWERLESS = _issued(roles=["metrics"])
_JWT_ROLELESS = _issued(roles=["ADMIN", "admin ", "*"])

# -- what is drawn

_HEADER_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@st.composite
def _mangled(draw: st.DrawFn) -> Credentials:
    """Nearly a good one."""
    whole = draw(st.sampled_from((ADMIN, GOOD_JWT)))
    at = draw(st.integers(0, len(whole) - 1))
    how = draw(st.sampled_from(("cut", "changed", "lengthened", "swapped case", "doubled", "inserted")))
    other = draw(st.sampled_from("aZ09-_=.+/~ "))
    found = {
        "cut": whole[:at],
        "changed": whole[:at] + other + whole[at + 1 :],
        "lengthened": whole + other * draw(st.sampled_from((1, 2, 500))),
        "swapped case": whole[:at] + whole[at:].swapcase(),
        "doubled": whole + whole,
        "inserted": whole[:at] + other + whole[at:],
    }[how]
    # White space around a token is none of it (RFC 9110, 5.5).
    if found.strip() in {ADMIN, GOOD_JWT} or not found.strip():
        return Credentials("empty", "Bearer ")
    return Credentials(f"mangled: {how}", f"Bearer {found}")


_OTHER_SCHEMES = tuple(
    form.format(ADMIN)
    for form in ("{}", "Basic {}", "Token {}", "Bearer{}", "Bearer={}", "Bearer:{}", "JWT {}", "")
)

bad: st.SearchStrategy[Credentials] = broken_json.weighted(
    {
        st.just(Credentials("none", None)): 4,
        broken_json.pick(_OTHER_SCHEMES).map(lambda text: Credentials("another scheme", text)): 2,
        _HEADER_TEXT.map(lambda text: Credentials("a guess", f"Bearer {text}")): 3,
        st.sampled_from((OLD, _digest(ADMIN), "admin")).map(
            lambda text: Credentials("no token", f"Bearer {text}")
        ): 2,
        broken_json.pick(tuple(_FORGED.items())).map(
            lambda forged: Credentials(f"a JWT {forged[0]}", f"Bearer {forged[1]}")
        ): 8,
        _mangled(): 6,
        st.sampled_from((POWERLESS, _JWT_POWERLESS, _JWT_ROLELESS)).map(
            lambda text: Credentials("without the role", f"Bearer {text}", is_known=True)
        ): 3,
    }
)
