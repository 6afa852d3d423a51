"""What a DSN and libpq's variables name outside themselves: certificates, a service file, the system's trust store."""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote

from windlass.certificates import authorities_fault, pair_fault, revocations_fault
from windlass.dsn import (
    WITHOUT_LINE_END,
    DatabaseUrl,
    MalformedDsn,
    encoding_fault,
    judge_parameter,
    stray_fault,
)
from windlass.dsn_hosts import with_hosts
from windlass.dsn_parameters import ENVIRONMENT

#: The value of sslrootcert for the CAs that the system trusts; as in libpq 16.
SYSTEM = "system"
_TLS = (
    "sslcert", "sslkey", "sslpassword", "sslcrl", "ssl_min_protocol_version", "ssl_max_protocol_version"
)  # fmt: skip


def environment_problems(env: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the variables in which the driver finds what the DSN does not say; no value is shown."""
    for variable, parameter in ENVIRONMENT.items():
        value = env.get(variable, "")
        fault = stray_fault(value)
        if fault:
            yield f"config: {variable} {fault}; {WITHOUT_LINE_END}"
            continue
        fault = encoding_fault(value)
        if fault:
            yield f"config: {variable} {fault}; write it in UTF-8"
            continue
        try:
            if value:
                judge_parameter(parameter, value)
        except MalformedDsn as error:
            yield f"config: {variable} {error.fault}; correct or unset it"


def with_trust(database: DatabaseUrl, env: Mapping[str, str], home: Path) -> str:
    """The URL, complete as to its hosts, and with the system's trust store named in it when that decides about the
    server's certificate.

    Raises MalformedDsn for a file that cannot be used, and when nothing is there to check the certificate with.
    """
    outside = {name: env[variable] for variable, name in ENVIRONMENT.items() if env.get(variable)}
    found = outside | {name: value for name, value in database.parameters if value}
    url = with_hosts(database.url, outside | _judged_service(found, home))
    mode, root = found.get("sslmode", ""), found.get("sslrootcert", "")
    if not root and mode.startswith("verify-") and not (home / ".postgresql/root.crt").is_file():
        if mode == "verify-ca":
            raise MalformedDsn(
                "has sslmode=verify-ca and no CA to verify with",
                "name the CA's file with sslrootcert=..., or write sslmode=verify-full for a public CA",
            )
        root = SYSTEM
    if root == SYSTEM:
        if mode not in {"", "verify-full"}:
            raise MalformedDsn(f"has sslrootcert=system with sslmode={mode}", "write sslmode=verify-full")
    elif root and mode in {"require", "verify-ca", "verify-full"}:
        _raise("sslrootcert", authorities_fault(root))
    if mode != "disable":
        if found.get("sslcrl"):
            _raise("sslcrl", revocations_fault(found["sslcrl"]))
        if found.get("sslcert"):
            _raise("sslcert", pair_fault(found["sslcert"], found.get("sslkey"), found.get("sslpassword", "")))
    return _naming_the_system(url, found) if root == SYSTEM else url


def _raise(name: str, fault: str) -> None:
    if fault:
        raise MalformedDsn(
            f"names a file with {name} that cannot be used: {fault}", "mount the file or correct its path"
        )


def _naming_the_system(url: str, found: Mapping[str, str]) -> str:
    """All that concerns TLS is in the URL then: the driver does not read its variables for a context of ours."""
    tls = {"sslmode": "verify-full", "sslrootcert": SYSTEM}
    tls |= {name: found[name] for name in _TLS if name in found}
    base, _, given = url.partition("?")
    pairs = [*((name, value) for name, value in parse_qsl(given) if name not in tls), *tls.items()]
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)
    return f"{base}?{query}"


def _judged_service(found: Mapping[str, str], home: Path) -> dict[str, str]:
    """The entries of the service, if one is named and there.

    The driver lets errors of configparser out, and those quote a line of the file.
    """
    service = found.get("service")
    if not service:
        return {}
    path = Path(found.get("servicefile") or home / ".pg_service.conf")
    parser = configparser.ConfigParser()
    try:
        parser.read(path)
        entries = parser.items(service) if parser.has_section(service) else []
    except (configparser.Error, UnicodeDecodeError):
        raise MalformedDsn(
            f"names a service, but {str(path)!r} is not a readable service file",
            "write [service] and key=value lines, in a value % as %%",
        ) from None
    for name, value in entries:
        judge_parameter(name, value)
    return dict(entries)
