"""From the claims of a JWT whose signature is right to a principal. No cryptography here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from windlass.auth.gate import NotRecognized, Refusal
from windlass.auth.principal import JWT_PREFIX, Principal, Role
from windlass.jwt_settings import JwtSettings

#: OpenID Connect Core 1.0, 2: sub has at most 255 ASCII characters.
_NAME = re.compile(r"[!-~]{1,255}")
_ALL = "*"
_TIME_S_MAX = 1e12


def principal_of(claims: Mapping[str, Any], settings: JwtSettings, now_s: float) -> Principal:
    """Also for one that has expired, which the gate refuses by `expires_at_s`. Raises NotRecognized."""
    if claims.get("iss") != settings.jwt_issuer:
        raise _invalid("its claim iss is not WINDLASS_JWT_ISSUER")
    audience = claims.get("aud")
    if settings.jwt_audience not in (audience if isinstance(audience, list) else [audience]):
        raise _invalid("its claim aud does not name WINDLASS_JWT_AUDIENCE")
    expires_s = _time_s(claims, "exp")
    if expires_s is None:
        raise _invalid("it has no claim exp")
    for claim in ("nbf", "iat"):
        begins_s = _time_s(claims, claim)
        if begins_s is not None and begins_s - settings.jwt_leeway_s > now_s:
            raise _invalid(f"its claim {claim} is in the future")
    name = claim_at(claims, settings.jwt_name_claim)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _invalid(
            f"its claim {settings.jwt_name_claim} is not 1 to 255 printable ASCII characters without spaces"
        )
    roles = _roles(claims, settings)
    is_admin = Role.ADMIN in roles
    return Principal(
        name=JWT_PREFIX + name,
        roles=roles,
        job_types=None if is_admin else _limit(claims, settings.jwt_job_types_claim),
        definitions=None if is_admin else _limit(claims, settings.jwt_definitions_claim),
        expires_at_s=expires_s + settings.jwt_leeway_s,
    )


def claim_at(claims: Mapping[str, Any], path: str) -> Any:
    """None when it is not there. A claim whose own name has dots, as a URL, is found before a path through others."""
    if path in claims:
        return claims[path]
    for dot in (index for index, character in enumerate(path) if character == "."):
        inner = claims.get(path[:dot])
        if isinstance(inner, dict):
            found = claim_at(inner, path[dot + 1 :])
            if found is not None:
                return found
    return None


def _time_s(claims: Mapping[str, Any], claim: str) -> float | None:
    """A NumericDate (RFC 7519, 2), None when it is not there."""
    if claim not in claims:
        return None
    value = claims[claim]
    # Python reads NaN and Infinity, too, and integers that no float can hold.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _TIME_S_MAX:
        raise _invalid(f"its claim {claim} is no time in seconds")
    return float(value)


def _roles(claims: Mapping[str, Any], settings: JwtSettings) -> frozenset[Role]:
    """Empty when none is mapped: it may then call what is open alone."""
    roles = settings.roles
    values = _texts(claims, settings.jwt_roles_claim) or ()
    return frozenset().union(*(roles.get(value, frozenset()) for value in values))


def _limit(claims: Mapping[str, Any], path: str | None) -> frozenset[str] | None:
    if path is None:
        return None
    values = _texts(claims, path) or ()
    return None if _ALL in values else frozenset(values)


def _texts(claims: Mapping[str, Any], path: str) -> list[str] | None:
    """A list of texts, or one with spaces between, as scope is (RFC 8693, 4.2)."""
    value = claim_at(claims, path)
    if value is None:
        return None
    if isinstance(value, str):
        # By this one character: who may choose a name with another kind of space in it gets no second name by it.
        return [each for each in value.split(" ") if each]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise _invalid(f"its claim {path} is neither a list of texts nor a text")


def _invalid(reason: str) -> NotRecognized:
    return NotRecognized(Refusal.INVALID, f"the JWT is not good here: {reason}")
