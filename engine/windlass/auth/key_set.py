"""A JWK Set (RFC 7517): the issuer's public keys, each bound to the one algorithm that fits it.

An algorithm is never taken from a token alone: that is how a public key has become the secret of an HMAC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

BYTES_MAX = 256 * 1024
KEYS_MAX = 100
RSA_BITS = range(2048, 8193)
"""NIST SP 800-131A allows no fewer; more would only cost time."""

ALGORITHMS = ("RS256", "ES256", "EdDSA")
#: by type and curve of a key
_FITS: Mapping[tuple[str, str | None], str] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}


class Unreadable(Exception):
    """Its text says what keeps the set from being used, without what is in it."""


class Key:
    """A public key and its algorithm."""

    __slots__ = ("_key", "_verifier", "algorithm")

    def __init__(self, key: jwt.PyJWK, algorithm: str) -> None:
        self._key = key
        self.algorithm = algorithm
        self._verifier = jwt.PyJWS(algorithms=[algorithm])

    def verified(self, token: str) -> bytes:
        """The payload. Raises jwt.PyJWTError."""
        payload: bytes = self._verifier.decode_complete(token, self._key, algorithms=[self.algorithm])[
            "payload"
        ]
        return payload


class KeySet:
    def __init__(self, keys: Mapping[tuple[str | None, str], Key]) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, key_id: str | None, algorithm: str) -> Key | None:
        """Without an id the only key of the algorithm; with several it cannot be told which."""
        if key_id is not None:
            return self._keys.get((key_id, algorithm))
        fitting = [key for key in self._keys.values() if key.algorithm == algorithm]
        return fitting[0] if len(fitting) == 1 else None


def parse(document: bytes) -> KeySet:
    """Keys that are for other uses or algorithms are left out, as RFC 7517, 5 asks. Raises Unreadable."""
    try:
        found = msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Unreadable("it is not JSON") from None
    written = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(written, list):
        raise Unreadable("it is no JWK Set, which is an object with the list keys")
    if len(written) > KEYS_MAX:
        raise Unreadable(f"it has {len(written)} keys, and at most {KEYS_MAX} are read")
    keys: dict[tuple[str | None, str], Key] = {}
    for number, each in enumerate(written, 1):
        if not isinstance(each, dict):
            raise Unreadable(f"key {number} of it is no object")
        algorithm = _algorithm_of(each)
        if algorithm is None:
            continue
        place = each.get("kid"), algorithm
        if place[0] is not None and not isinstance(place[0], str):
            raise Unreadable(f"key {number} of it has a kid that is no text")
        if place in keys:
            raise Unreadable(f"key {number} of it has the kid of another key")
        keys[place] = _key(each, algorithm, number)
    if not keys:
        raise Unreadable(f"it has no key for signatures by {_either(ALGORITHMS)}")
    return KeySet(keys)


def _algorithm_of(written: Mapping[str, Any]) -> str | None:
    kind, curve = written.get("kty"), written.get("crv")
    if not isinstance(kind, str) or not isinstance(curve, str | None):
        return None
    algorithm = _FITS.get((kind, curve))
    operations = written.get("key_ops")
    if (
        written.get("use", "sig") != "sig"
        or written.get("alg", algorithm) != algorithm
        or (isinstance(operations, list) and "verify" not in operations)
    ):
        return None
    return algorithm


def _key(written: Mapping[str, Any], algorithm: str, number: int) -> Key:
    if "d" in written:
        raise Unreadable(
            f"key {number} of it is a private key; give out public ones alone, and make a new pair"
        )
    try:
        key = jwt.PyJWK(dict(written), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise Unreadable(f"key {number} of it is damaged") from None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size not in RSA_BITS:
        raise Unreadable(
            f"key {number} of it has {key.key.key_size} bits; RSA keys have {RSA_BITS[0]} to {RSA_BITS[-1]}"
        )
    return Key(key, algorithm)


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
