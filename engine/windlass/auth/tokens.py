"""The tokens file: TOML, one line a token, with the token's SHA-256 in place of the token.

A token is 256 random bits, so one round of SHA-256 cannot be undone by guessing, and the digest finds the line with one
look-up, whose time tells nothing: nobody can choose the digest of a guess. Slow hashes (argon2, bcrypt) protect what
people make up, and would make every wrong token cost memory: they are refused.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from windlass.auth import certificate
from windlass.auth.principal import Principal, Role

PREFIX = "wdl_"
"""So that scanners of secrets know a token when they see one."""
TOKEN_BYTES = 32
TOKEN_CHARS_MAX = 512
FILE_BYTES_MAX = 1024 * 1024

#: Actors of the audit log that are no principals.
RESERVED = frozenset({"engine", "dispatch-relay"})
_NAME = re.compile(r"[!-~]{1,64}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_KEYS = ("role", "sha256", "certificate", "job_types", "definitions", "expires")
_SLOW_HASHES = frozenset({"argon2", "bcrypt", "scrypt", "pbkdf2"})
#: Which limit fits which roles.
_LIMITS: Mapping[str, Collection[Role]] = {
    "job_types": (Role.WORKER,),
    "definitions": (Role.CLIENT, Role.OPERATOR),
}


class Unreadable(Exception):
    """`problems`: everything that is wrong with the file, one sentence each, without any value that may be secret."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def parse(text: str) -> Mapping[bytes | str, Principal]:
    """By a token's digest, or what a certificate names its caller as, who that is. Raises Unreadable."""
    try:
        lines = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Unreadable(
            [f"it is not TOML: {error}; write a line for each token as windlass token new does"]
        ) from None
    problems: list[str] = []
    found: dict[bytes | str, Principal] = {}
    for name, line in lines.items():
        told = len(problems)
        problems.extend(_problems(name, line))
        if len(problems) > told:
            continue
        by = "sha256" if "sha256" in line else "certificate"
        key = bytes.fromhex(line[by]) if by == "sha256" else line[by]
        if key in found:
            problems.append(f"{name!r} and {found[key].name!r} have the same {by}; give each one of its own")
        found[key] = _principal(name, line)
    if not lines:
        problems.append("it has no token in it, so that nobody could call; add one with windlass token new")
    if problems:
        raise Unreadable(problems)
    return found


def _problems(name: str, line: Any) -> list[str]:
    if not _NAME.fullmatch(name):
        return [f"the name {name[:64]!r} must be 1 to 64 printable ASCII characters without spaces"]
    if name in RESERVED:
        return [f"the name {name!r} is the engine's own in the audit log; choose another"]
    if not isinstance(line, dict):
        return [f"{name!r} must be a table: {name!r} = {{ role = ..., sha256 = ... }}"]
    found = [
        f"{name!r} has the key {key!r}; a token is kept as sha256 alone, see windlass token new"
        if key in _SLOW_HASHES
        else f"{name!r} has the unknown key {key[:64]!r}; the keys are {', '.join(_KEYS)}"
        for key in line
        if key not in _KEYS
    ]
    role = line.get("role")
    if role not in list(Role):
        return [*found, f"{name!r} needs a role, one of {', '.join(Role)}"]
    found.extend(_credential_problems(name, line))
    for key, roles in _LIMITS.items():
        if key not in line:
            continue
        if role not in roles:
            found.append(f"{name!r} has {key}, which limits the roles {' and '.join(roles)} alone; remove it")
        elif not isinstance(line[key], list) or not all(isinstance(each, str) and each for each in line[key]):
            found.append(f"{name!r} has {key} that is not a list of texts")
        elif not line[key]:
            found.append(
                f"{name!r} has an empty {key}, so that it may do nothing; name some, or remove the key"
            )
    expires = line.get("expires")
    if expires is not None and (not isinstance(expires, datetime) or expires.tzinfo is None):
        found.append(
            f"{name!r} has expires that is not a time with its zone, as 2027-01-31T00:00:00Z without quotes"
        )
    return found


def _credential_problems(name: str, line: Mapping[str, Any]) -> Iterator[str]:
    if "certificate" not in line:
        digest = line.get("sha256")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            yield f"{name!r} needs sha256, the token's digest as 64 hexadecimal digits, or certificate"
    elif "sha256" in line:
        yield f"{name!r} has both sha256 and certificate; give each a line and a name of its own"
    elif not isinstance(line["certificate"], str) or not certificate.WRITTEN.fullmatch(line["certificate"]):
        yield (
            f"{name!r} has certificate that names nobody; write the subject's common name as CN=mailer, or an "
            "alternative name as dns:mailer.example.com or spiffe://example.com/mailer"
        )


def _principal(name: str, line: Mapping[str, Any]) -> Principal:
    return Principal(
        name=name,
        role=Role(line["role"]),
        job_types=frozenset(line["job_types"]) if "job_types" in line else None,
        definitions=frozenset(line["definitions"]) if "definitions" in line else None,
        expires_at_s=line["expires"].timestamp() if "expires" in line else None,
    )


def make_token() -> str:
    return PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def line_of(
    name: str,
    role: Role,
    token: str,
    *,
    job_types: Sequence[str] = (),
    definitions: Sequence[str] = (),
    expires: datetime | None = None,
) -> str:
    """The token's line of the file, without a line end. Raises Unreadable when it could not be read back."""
    parts = [f"role = {_text(role)}", f"sha256 = {_text(digest_of(token).hex())}"]
    for key, values in (("job_types", job_types), ("definitions", definitions)):
        if values:
            parts.append(f"{key} = [{', '.join(map(_text, values))}]")
    if expires is not None:
        parts.append(f"expires = {expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    line = f"{_text(name)} = {{ {', '.join(parts)} }}"
    parse(line)
    return line


def _text(value: str) -> str:
    """TOML's basic strings are JSON's, but for the delete character."""
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
