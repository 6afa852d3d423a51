"""The address of Redis or Valkey in WINDLASS_REDIS_URL: one server, Sentinels, or the nodes of a cluster.

As in `dsn.py`, no fault shows a piece of the text, since each may be the rest of a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast
from urllib.parse import unquote

from windlass.dsn import WITHOUT_LINE_END, MalformedDsn, decoded, encoding_fault, judge_host, stray_fault

Kind = Literal["server", "sentinel", "cluster"]

FORM = (
    "write redis://:password@host:6379, redis+sentinel://:password@host-1:26379,host-2:26379/name-of-the-master or "
    "redis+cluster://:password@host-1:6379,host-2:6379; with TLS rediss in place of redis"
)
PORTS = {"server": 6379, "sentinel": 26379, "cluster": 6379}
_URL = re.compile(
    r"(?P<scheme>(?:redis|valkey)(?P<tls>s?)(?:\+(?P<kind>sentinel|cluster))?)://"
    r"(?P<authority>[^/?#]*)(?:/(?P<path>[^?#]*))?(?P<rest>.*)",
    re.DOTALL,
)
_PATHS = {
    "server": re.compile(r"[0-9]{0,5}"),
    "sentinel": re.compile(r"(?P<master>[\w.-]+)(?:/[0-9]{0,5})?"),
    "cluster": re.compile(r"0?"),
}


class MalformedRedisUrl(ValueError):
    """`fault` and `remedy` contain nothing of the address."""

    def __init__(self, fault: str, remedy: str = "") -> None:
        super().__init__(fault)
        self.fault = fault
        self.remedy = f"{remedy}; {FORM}" if remedy else FORM


class Host(NamedTuple):
    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Publications know no database, so the number of one may stand in the address but is not kept."""

    kind: Kind
    tls: bool
    hosts: tuple[Host, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    master: str = ""
    """The name that the Sentinels have for it."""


def redis_address(url: str) -> RedisAddress:
    """Raises MalformedRedisUrl."""
    fault = stray_fault(url) or encoding_fault(url)
    if fault:
        raise MalformedRedisUrl(fault, WITHOUT_LINE_END)
    match = _URL.fullmatch(url)
    if match is None:
        raise MalformedRedisUrl("does not begin with the scheme of a Redis address")
    kind = cast(Kind, match["kind"] or "server")
    login, _, listed = match["authority"].rpartition("@")
    if "@" in login:
        raise MalformedRedisUrl("has more than one @ before the host", "write an @ of the password as %40")
    if "@" in url[match.end("authority") :]:
        raise MalformedRedisUrl(
            "has an @ after the first / ? or #, so that the host cannot be told from the password",
            "in a password write / as %2F, ? as %3F, # as %23 and @ as %40",
        )
    if match["rest"]:
        raise MalformedRedisUrl("has parameters, and none is known", "leave out the ? or # and what follows")
    path = _PATHS[kind].fullmatch(match["path"] or "")
    if path is None:
        raise MalformedRedisUrl(
            "has no name of a master after the hosts"
            if kind == "sentinel"
            else "has something else than the number of a database after the host"
        )
    user, _, password = login.partition(":")
    try:
        hosts = tuple(_hosts(listed, PORTS[kind]))
        user, password = (
            unquote(decoded(*part)) for part in ((user, "the user"), (password, "the password"))
        )
    except MalformedDsn as err:
        raise MalformedRedisUrl(err.fault, err.advice) from None
    if kind == "server" and len(hosts) > 1:
        raise MalformedRedisUrl("names several hosts, but neither Sentinels nor a cluster")
    return RedisAddress(
        kind, bool(match["tls"]), hosts, user, password, path["master"] if kind == "sentinel" else ""
    )


def _hosts(listed: str, port: int) -> Iterator[Host]:
    parts = listed.split(",")
    for number, part in enumerate(parts, 1):
        judge_host(part, "the host" if len(parts) == 1 else f"host {number} of the list")
        name, colon, own = part.rpartition(":")
        if not colon or part.endswith("]"):
            name, own = part, ""
        yield Host(name.strip("[]"), int(own or port))
