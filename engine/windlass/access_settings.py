"""The variables that say who may come in, beside `config.py`, which reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from windlass.jwt_settings import JwtSettings, read_jwt
from windlass.secret_values import judge_path
from windlass.variable import Reader, Variable, declare, declared_by

#: As browsers write it: lower case, no path, no user (https://html.spec.whatwg.org/#ascii-serialisation-of-an-origin).
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    tokens_file: str | None = declare(
        "WINDLASS_TOKENS_FILE",
        "the file of the tokens that callers need, a line each as `windlass token new` prints it; read again when it "
        "changes; unset, and no WINDLASS_JWT_* set = no authentication",
    )
    metrics_tokens: bool = declare(
        "WINDLASS_METRICS_TOKENS",
        "ask for a token at the metrics port too; needs WINDLASS_TOKENS_FILE or WINDLASS_JWT_*",
        default=False,
    )
    cors_origins: str | None = declare(
        "WINDLASS_CORS_ORIGINS",
        "origins whose web pages may read answers, as https://console.example.com, with commas between; * = any, not "
        "with authentication; unset = any without authentication, none with it",
    )
    jwt: JwtSettings | None = None

    @property
    def is_on(self) -> bool:
        """Whether calls need credentials."""
        return self.tokens_file is not None or self.jwt is not None


def read_access(reader: Reader) -> AccessSettings:
    """What does not fit together is recorded as a problem."""
    declared = declared_by(AccessSettings)
    values = {name: reader.read(variable) for name, variable in declared.items()}
    access = AccessSettings(**values, jwt=read_jwt(reader))
    _judge(reader, declared, access)
    return access


def _judge(reader: Reader, declared: Mapping[str, Variable], access: AccessSettings) -> None:
    path, origins = access.tokens_file, access.cors_origins
    if path is not None:
        judge_path(reader, declared["tokens_file"], path, "tokens.toml")
    if access.metrics_tokens and not access.is_on:
        reader.problems.append(
            "config: WINDLASS_METRICS_TOKENS asks for tokens, but neither WINDLASS_TOKENS_FILE nor WINDLASS_JWT_* is "
            "set; set one, or unset it"
        )
    if origins == "*":
        if access.is_on:
            guard = "WINDLASS_TOKENS_FILE guards" if path is not None else "WINDLASS_JWT_* guards"
            reader.problems.append(
                f"config: WINDLASS_CORS_ORIGINS is *, so that any web page could read what {guard}; list the origins, "
                "or unset it for none"
            )
        return
    for origin in (origins or "").split(","):
        if origin.strip() and not _ORIGIN.fullmatch(origin.strip()):
            reader.problems.append(
                f"config: WINDLASS_CORS_ORIGINS has {origin.strip()!r}, which is no origin; write scheme and host, and "
                "the port if it is not the scheme's own, as https://console.example.com"
            )
