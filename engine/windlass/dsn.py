"""The address of PostgreSQL, in both forms that libpq accepts, never shown with its password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

MASK = "***"

#: scheme://user:password@host. Greedy up to the last @, because people forget to escape one in a password.
_URL_PASSWORD = re.compile(r"(?P<keep>\b[A-Za-z][\w+.-]*://[^\s:/@]*:)\S*@")
#: password=secret in keyword strings and in a URL's query; libpq quotes values with ' and escapes with \.
_KEYWORD_PASSWORD = re.compile(
    r"(?P<keep>\b\w*(?:password|passwd|pwd|secret)\w*\s*=\s*)(?:'(?:[^'\\]|\\.|'')*'?|[^\s&'\"]+)",
    re.IGNORECASE,
)
_PAIR = re.compile(
    r"\s*(?P<key>\w+)\s*=\s*(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<bare>(?:[^\s'\\]|\\.)*))(?=\s|$)"
)
#: One host of a URL's list: a name, an address or an IPv6 address in brackets, and perhaps a port.
_HOST = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]*))?")
#: libpq handles these itself; the driver would send them to the server, which would refuse them.
_LIBPQ_ONLY = frozenset(
    {
        "channel_binding",
        "connect_timeout",
        "fallback_application_name",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "pool_max_conns",
        "pool_min_conns",
        "require_auth",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    }
)


def redact(text: str) -> str:
    """Return the same text with every password in it replaced by `***`."""
    text = _URL_PASSWORD.sub(rf"\g<keep>{MASK}@", text)
    return _KEYWORD_PASSWORD.sub(rf"\g<keep>{MASK}", text)


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """`url` is what the driver accepts; `ignored` names the parameters that it does not know."""

    url: str
    ignored: tuple[str, ...]


def database_url(dsn: str) -> DatabaseUrl:
    """Convert either form to the one that the driver reads. ValueError says what is wrong without the password."""
    if not re.match(r"postgres(ql)?://", dsn):
        dsn = _url_of_keywords(dsn)
    parts = urlsplit(dsn)
    login, _, hosts = parts.netloc.rpartition("@")
    hosts_read = all(_is_host(host) for host in hosts.split(","))
    if "@" in login or not hosts_read or parts.fragment:
        # The host is not shown: with an unescaped / # ? in the password it contains a part of the password.
        raise ValueError(
            f"has no readable host:port in {redact(dsn)!r}, or a character in the password is not written as %XX"
        )
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(f"has parameters that are not key=value in {redact(dsn)!r}") from None
    for key, value in pairs:
        if key in _LIBPQ_ONLY and value == "require":
            raise ValueError(f"asks for {key}={value}, which this engine's driver cannot guarantee")
    ignored = tuple(dict.fromkeys(key for key, _ in pairs if key in _LIBPQ_ONLY))
    if not ignored:
        return DatabaseUrl(dsn, ())
    kept = [(key, value) for key, value in pairs if key not in _LIBPQ_ONLY]
    return DatabaseUrl(dsn.partition("?")[0] + ("?" + urlencode(kept) if kept else ""), ignored)


def _without_secrets(dsn: str) -> str:
    """Also redacts what may have been meant: a URL without its scheme, a password that contains blanks."""
    text = re.sub(r":\S*@", f":{MASK}@", redact(dsn))
    return re.sub(rf"{re.escape(MASK)}(?:\s+[^\s=]+(?!\S))+", MASK, text)


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    return match is not None and (not match["port"] or 1 <= int(match["port"][:6]) <= 65535)


def _url_of_keywords(dsn: str) -> str:
    pairs: dict[str, str] = {}
    text = dsn.strip()
    position = 0
    while position < len(text):
        match = _PAIR.match(text, position)
        if match is None:
            raise ValueError(f"is neither a URL nor a keyword string, got {_without_secrets(dsn)!r}")
        value = match["quoted"] if match["quoted"] is not None else match["bare"]
        pairs[match["key"]] = re.sub(r"\\(.)", r"\1", value)
        position = match.end()
    database = quote(pairs.pop("dbname", ""), safe="")
    return f"postgresql:///{database}?{urlencode(pairs)}" if pairs else f"postgresql:///{database}"
