"""The token that a call is made with."""

from __future__ import annotations

from collections.abc import Callable

Token = str | Callable[[], str] | None
"""A callable is asked before each call, so that a token that is renewed is used at once; it must not block."""


def authorization_of(token: Token) -> str | None:
    """The Authorization of a call; None without a token. Raises ValueError for one that no header can carry."""
    text = token() if callable(token) else token
    if text is None:
        return None
    text = text.strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        # Not shown: it is a secret.
        raise ValueError(
            "the token must be printable ASCII without spaces; give what windlass token new printed"
        )
    return f"Bearer {text}"
