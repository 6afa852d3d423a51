"""JWTs (RFC 7519) of one issuer, by the rules of RFC 8725: what is not asked for is refused before a signature is
computed, and a signature costs time once for each token.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import msgspec
from jwt.utils import base64url_decode

from windlass.auth import claims
from windlass.auth.gate import NotRecognized, Refusal
from windlass.auth.key_set import ALGORITHMS, Key, KeySet
from windlass.auth.principal import Principal
from windlass.errors import Unavailable
from windlass.jwt_settings import JwtSettings

JWT_CHARS_MAX = 16 * 1024
"""Longer ones are refused unread; a head has WINDLASS_HEAD_BYTES_MAX anyway."""
VERIFIED_MAX = 10_000
"""Tokens whose signature was right, remembered with whom they stand for."""

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
#: What would lead to another key, or has to be understood (RFC 7515, 4.1).
_REFUSED_HEADERS = ("crit", "jku", "jwk", "x5u", "x5c", "b64", "enc", "zip")
#: RFC 7519, 5.1 and RFC 9068, 2.1: other kinds of JWT are made for something else, as logging out.
_TYPES = frozenset({"jwt", "at+jwt"})


class JwtVerifier:
    """`wanted` is asked for keys when a token names one that is not known, and tells whether they may come soon."""

    def __init__(
        self, settings: JwtSettings, wanted: Callable[[], bool], *, wall_s: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._wanted = wanted
        self._wall_s = wall_s
        self._keys: KeySet | None = None
        self._verified: dict[bytes, Principal] = {}

    @property
    def keys(self) -> KeySet | None:
        """None until some have been read."""
        return self._keys

    @keys.setter
    def keys(self, keys: KeySet) -> None:
        self._keys = keys
        # The key of one may be gone: that is how an issuer takes back what was signed with it.
        self._verified.clear()

    def principal_of(self, token: str, digest: bytes) -> Principal:
        """Raises NotRecognized, or Unavailable while keys are awaited. One that has expired has a principal, too."""
        known = self._verified.get(digest)
        if known is not None:
            return known
        if len(token) > JWT_CHARS_MAX:
            raise _invalid(f"it has more than {JWT_CHARS_MAX} characters")
        if not _FORM.fullmatch(token):
            raise _invalid("it is not three parts in base64url")
        key_id, algorithm = _key_and_algorithm(_header(token))
        try:
            payload = self._key(key_id, algorithm).verified(token)
        except (jwt.PyJWTError, ValueError, TypeError):
            raise _invalid("its signature is not that of the issuer's key") from None
        principal = claims.principal_of(_claims(payload), self._settings, self._wall_s())
        if len(self._verified) >= VERIFIED_MAX:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = principal
        return principal

    def _key(self, key_id: str | None, algorithm: str) -> Key:
        key = None if self._keys is None else self._keys.find(key_id, algorithm)
        if key is not None:
            return key
        if self._wanted() or self._keys is None:
            raise Unavailable("the issuer's keys are being fetched; send the JWT again in a second")
        if key_id is None:
            raise _invalid("its header has no kid, and the issuer has not one key alone for its alg")
        raise _invalid("its header's kid and alg name no key of the issuer")


def _header(token: str) -> Mapping[str, Any]:
    try:
        header = msgspec.json.decode(base64url_decode(token.partition(".")[0]))
    except (ValueError, RecursionError):
        raise _invalid("its header is not JSON") from None
    if not isinstance(header, dict):
        raise _invalid("its header is no object")
    return header


def _key_and_algorithm(header: Mapping[str, Any]) -> tuple[str | None, str]:
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if algorithm not in ALGORITHMS:
        raise _invalid(f"its alg is none of {', '.join(ALGORITHMS)}")
    for name in _REFUSED_HEADERS:
        if name in header:
            raise _invalid(f"its header has {name}, which is not taken from a token")
    if not isinstance(key_id, str | None):
        raise _invalid("its header's kid is no text")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise _invalid("its header's typ is neither JWT nor at+jwt")
    return key_id, algorithm


def _claims(payload: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(payload.decode(), object_pairs_hook=_each_once)
    except _Repeated:
        raise _invalid("one of its claims is there twice") from None
    except (ValueError, RecursionError):
        raise _invalid("its claims are not JSON") from None
    if not isinstance(found, dict):
        raise _invalid("its claims are no object")
    return found


class _Repeated(Exception):
    """Two parsers may see different tokens (RFC 8725, 2.4)."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Repeated
    return found


def _invalid(reason: str) -> NotRecognized:
    return NotRecognized(Refusal.INVALID, f"the JWT is not good here: {reason}")
