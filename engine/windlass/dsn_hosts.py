"""The hosts that a DSN names, in its order."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from windlass.dsn import MalformedDsn

PORT = 5432


class Host(NamedTuple):
    name: str
    """A name, an address, or the folder of a Unix socket."""
    port: int

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name and not self.name.startswith("/") else self.name
        return f"{name}:{self.port}"


def hosts(url: str) -> tuple[Host, ...]:
    """Those of a URL as `database_url` writes it; none when the driver is to look for a server on this machine.

    Raises MalformedDsn for a list of ports that does not fit the hosts.
    """
    base, _, query = url.partition("?")
    found = dict(parse_qsl(query))
    authority = base.partition("://")[2].partition("/")[0].rpartition("@")[2]
    names = authority.split(",") if authority else [_encoded(part) for part in _listed(found.get("host"))]
    ports = _listed(found.get("port"))
    if len(ports) > 1 and len(ports) != len(names):
        raise MalformedDsn(
            f"has {len(ports)} ports for {len(names)} hosts",
            "write one port for all of them, or one for each",
        )
    if len(ports) == 1:
        ports *= len(names)
    return tuple(_host(name, port) for name, port in zip_longest(names, ports, fillvalue=""))


def with_hosts(url: str, outside: Mapping[str, str]) -> str:
    """The URL, complete: with what it leaves to libpq's variables and to a service file about its hosts.

    `outside`: what those say, by the parameter's name. Raises MalformedDsn.
    """
    inside = {name for name, _ in parse_qsl(url.partition("?")[2])} | ({"host"} if hosts(url) else set())
    for name in ("host", "port", "target_session_attrs"):
        if outside.get(name) and name not in inside:
            url += f"{'&' if '?' in url else '?'}{name}={quote(outside[name], safe='')}"
    hosts(url)
    return url


def _listed(text: str | None) -> list[str]:
    return text.split(",") if text else []


def _encoded(part: str) -> str:
    """As it would stand before the path of a URL."""
    return quote(part, safe="") if part.startswith("/") else part


def _host(text: str, port: str) -> Host:
    """A port that stands with the host counts before one from the list."""
    if text.startswith("["):
        name, _, own = text[1:].partition("]")
        own = own.removeprefix(":")
    else:
        name, _, own = text.partition(":")
    return Host(unquote(name), int(own or port or PORT))
