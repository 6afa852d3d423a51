"""The variables of JWTs, beside `access_settings.py`, which reads them when one of them is set."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from windlass.auth.principal import Role
from windlass.secret_values import judge_authorities, judge_path
from windlass.variable import Reader, Variable, declare, declared_by

_WITH_OTHERS = "another WINDLASS_JWT_* is set"
_TEXT_CHARS_MAX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSettings:
    jwt_issuer: str = declare(
        "WINDLASS_JWT_ISSUER",
        "who issues the JWTs that callers send: the claim iss, letter for letter; see docs/tokens.md",
        required_when=_WITH_OTHERS,
    )
    jwt_audience: str = declare(
        "WINDLASS_JWT_AUDIENCE",
        "for whom JWTs have to be issued: one of the values of the claim aud",
        required_when=_WITH_OTHERS,
    )
    jwt_keys_url: str | None = declare(
        "WINDLASS_JWT_JWKS_URL",
        "where the issuer's keys are (its jwks_uri): https, or http on this machine; this or WINDLASS_JWT_JWKS_FILE",
    )
    jwt_keys_file: str | None = declare(
        "WINDLASS_JWT_JWKS_FILE", "the file of the issuer's keys, a JWK Set; read again when it changes"
    )
    jwt_keys_ca_path: str | None = declare(
        "WINDLASS_JWT_CA_PATH",
        "PEM file of the CAs trusted for WINDLASS_JWT_JWKS_URL; unset = the system's",
    )
    jwt_roles: str = declare(
        "WINDLASS_JWT_ROLES",
        "which values of WINDLASS_JWT_ROLES_CLAIM give which role, as flow-admins=admin,shop=client",
        required_when=_WITH_OTHERS,
    )
    jwt_roles_claim: str = declare(
        "WINDLASS_JWT_ROLES_CLAIM",
        "the claim with the roles, a list or a text with spaces between; a path as realm_access.roles leads inwards",
        default="roles",
    )
    jwt_name_claim: str = declare(
        "WINDLASS_JWT_NAME_CLAIM",
        "the claim that names the caller in the audit log, behind jwt:",
        default="sub",
    )
    jwt_job_types_claim: str | None = declare(
        "WINDLASS_JWT_JOB_TYPES_CLAIM",
        "the claim with the job types that a worker is limited to, * = all; a JWT without it has none; unset = all",
    )
    jwt_definitions_claim: str | None = declare(
        "WINDLASS_JWT_DEFINITIONS_CLAIM",
        "the claim with the definitions that a client or operator is limited to, in the same way",
    )
    jwt_leeway_s: float = declare(
        "WINDLASS_JWT_LEEWAY_SECONDS",
        "how far the issuer's clock may differ from this node's",
        default=30.0,
        minimum=0,
        maximum=300,
    )
    jwt_refresh_s: float = declare(
        "WINDLASS_JWT_REFRESH_SECONDS",
        "pause between two fetches of WINDLASS_JWT_JWKS_URL; a JWT of an unknown key brings one on earlier",
        default=300.0,
        minimum=10,
        maximum=86_400,
    )

    @property
    def roles(self) -> Mapping[str, frozenset[Role]]:
        """By value of the claim, the roles that it gives."""
        found: dict[str, frozenset[Role]] = {}
        for value, role in _pairs(self.jwt_roles):
            found[value] = found.get(value, frozenset()) | {Role(role)}
        return found


def read_jwt(reader: Reader) -> JwtSettings | None:
    """None when no variable is set; what is wrong is recorded as a problem."""
    declared = declared_by(JwtSettings)
    if all(reader.find(variable) is None for variable in declared.values()):
        return None
    values: dict[str, Any] = {name: reader.read(variable) for name, variable in declared.items()}
    for name, value in values.items():
        if isinstance(value, str) and name not in {"jwt_keys_url", "jwt_keys_file", "jwt_roles"}:
            _judge_text(reader, declared[name], value)
    _judge_source(reader, declared, values)
    if values["jwt_roles"] is not None:
        _judge_roles(reader, declared["jwt_roles"], values["jwt_roles"])
    return JwtSettings(**values)


def _judge_text(reader: Reader, variable: Variable, value: str) -> None:
    if value != value.strip() or not value.isprintable() or len(value) > _TEXT_CHARS_MAX:
        reader.problem(
            variable,
            f"must be 1 to {_TEXT_CHARS_MAX} printable characters without spaces around them",
            "write it as the issuer does",
        )
    elif variable.name.endswith("_CLAIM") and (value.startswith(".") or value.endswith(".") or ".." in value):
        reader.problem(
            variable,
            f"is no path of claims: {value!r}",
            "write names with a dot between, as realm_access.roles",
        )


def _judge_source(reader: Reader, declared: Mapping[str, Variable], values: Mapping[str, Any]) -> None:
    url, path, ca_path = values["jwt_keys_url"], values["jwt_keys_file"], values["jwt_keys_ca_path"]
    if (url is None) == (path is None):
        how = "are both set" if url is not None else "are both unset, so that no signature could be checked"
        reader.problems.append(
            f"config: {declared['jwt_keys_url'].name} and {declared['jwt_keys_file'].name} {how}; set one of the two"
        )
    if path is not None:
        judge_path(reader, declared["jwt_keys_file"], path, "jwks.json")
    if url is not None:
        fault, remedy = url_fault(url)
        if fault:
            reader.problem(declared["jwt_keys_url"], fault, remedy)
    if ca_path is not None:
        if url is None or not url.startswith("https://"):
            reader.problem(
                declared["jwt_keys_ca_path"],
                "is set, but no https URL is fetched",
                "unset it, or set the URL",
            )
        judge_authorities(reader, declared["jwt_keys_ca_path"], ca_path)


def url_fault(url: str) -> tuple[str, str]:
    """What is wrong with it and what to do; two empty texts when nothing is."""
    remedy = "write the issuer's jwks_uri, as https://login.example.com/keys"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL", remedy
    if "@" in parts.netloc:
        # Not shown: it may hold a password.
        return "has a user in it", "leave it out; keys are public"
    if (
        parts.scheme not in {"https", "http"}
        or not host
        or not url.isprintable()
        or " " in url
        or parts.fragment
    ):
        return "is not an https URL", remedy
    if parts.scheme == "http" and not is_loopback(host):
        return f"is http to {host!r}, where others could change the keys on their way", "use https"
    return "", ""


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _judge_roles(reader: Reader, variable: Variable, text: str) -> None:
    for value, role in _pairs(text):
        if not value or role not in list(Role):
            reader.problem(
                variable,
                f"has {f'{value}={role}' if value else role!r}, which gives no role",
                f"write value=role with commas between; the roles are {', '.join(Role)}",
            )


def _pairs(text: str) -> list[tuple[str, str]]:
    """Value and role; the value may hold = itself, as names of directories do."""
    found = []
    for part in text.split(","):
        value, _, role = part.rpartition("=")
        found.append((value.strip(), role.strip()))
    return found
