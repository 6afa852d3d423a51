"""The tokens file of engines that a run starts: one line, for the token that all its calls are made with."""

from __future__ import annotations

import hashlib

#: whom calls with the run's token are made by: the actor in the engines' audit log and log lines
PRINCIPAL = "seatrial"
TOKENS_FILE = "tokens.toml"


def tokens_file(token: str) -> str:
    """Its content, as `docs/tokens.md` has it; it holds the token's SHA-256 alone."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    return f'{PRINCIPAL} = {{ role = "admin", sha256 = "{digest}" }}\n'
