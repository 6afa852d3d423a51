"""Finds a secret in text: as it is, escaped for a URL, or inside base64."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import quote


def times_found(secrets: Iterable[str], text: bytes) -> int:
    return sum(text.count(form) for secret in secrets for form in _forms(secret))


def _forms(secret: str) -> set[bytes]:
    """The base64 text depends on the position; its first and its last group also encode neighbouring bytes."""
    raw = secret.encode()
    found = {raw, quote(secret, safe="").encode()}
    for shift in range(3):
        whole = b64encode(bytes(shift) + raw)
        found.add(whole[4 if shift else 0 : len(whole) - 4])
    return found
