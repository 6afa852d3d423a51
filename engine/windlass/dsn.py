"""The address of PostgreSQL, in both forms that libpq accepts, never shown with its password.

It is read here and written anew for the driver, percent-encoded, since the texts of errors of the driver and of
`urllib.parse` quote what they cannot read: a password that contains a character with a meaning of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from windlass.dsn_parameters import (
    CHOICES,
    CONNECTION,
    DEMANDS,
    OF_OTHER_DRIVERS,
    REFUSED,
    SCHEMA,
    SESSION,
    SET_BY_THE_ENGINE,
)

MASK = "***"

#: scheme://user:password@host. Greedy up to the last @, because people forget to escape one in a password.
_URL_PASSWORD = re.compile(r"(?P<keep>\b[A-Za-z][\w+.-]*://[^\s:/@]*:)\S*@")
#: password=secret in keyword strings and in a URL's query; libpq quotes values with ' and escapes with \.
_KEYWORD_PASSWORD = re.compile(
    r"(?P<keep>\b\w*(?:password|passwd|pwd|secret)\w*\s*=\s*)(?:'(?:[^'\\]|\\.|'')*'?|[^\s&'\"]+)",
    re.IGNORECASE,
)
_URL = re.compile(
    r"(?P<scheme>postgres(?:ql)?)://(?P<authority>[^/?#]*)(?:/(?P<database>[^?#]*))?(?:\?(?P<query>[^#]*))?(?P<rest>.*)",
    re.DOTALL,
)
_OTHER_SCHEME = re.compile(r"(?:jdbc:|postgres(?:ql)?\+\w+://)")
_PAIR = re.compile(
    r"\s*(?P<key>\w+)\s*=\s*(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<bare>(?:[^\s'\\]|\\.)*))(?=\s|$)", re.DOTALL
)
#: One host of a URL's list: a name, an address or an IPv6 address in brackets, and perhaps a port.
_HOST = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%(?:25)?\w+)?)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?", re.DOTALL
)
_HOST_NAME = re.compile(r"[\w.-]+")
_PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,62}")

_FORM = "write postgresql://user:password@host:5432/database, or host=... user=... dbname=..."
_ENCODE = "write every character of it that is neither a letter nor a digit as %XX"
WITHOUT_LINE_END = (
    "make the Secret or the variable without it, with printf %s or kubectl's --from-literal instead of echo"
)


class MalformedDsn(ValueError):
    """`fault` and `remedy` are sentences of ours. They contain nothing of the DSN but names of parameters.

    `advice` is the remedy without the form of a DSN.
    """

    def __init__(self, fault: str, remedy: str = "") -> None:
        super().__init__(fault)
        self.fault = fault
        self.advice = remedy
        self.remedy = f"{remedy}; {_FORM}" if remedy else _FORM


def redact(text: str) -> str:
    """Return the same text with every password in it replaced by `***`."""
    text = _URL_PASSWORD.sub(rf"\g<keep>{MASK}@", text)
    return _KEYWORD_PASSWORD.sub(rf"\g<keep>{MASK}", text)


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """`url` is what the driver accepts; `parameters` are those in it, `ignored` names those that were left out.

    `schema`: where the tables are, if it says so in the words of another driver; the driver does not get it.
    """

    url: str
    parameters: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    schema: str | None = None


def database_url(dsn: str) -> DatabaseUrl:
    """Convert either form to the one that the driver reads. Raises MalformedDsn."""
    fault = stray_fault(dsn)
    if fault:
        raise MalformedDsn(fault, WITHOUT_LINE_END)
    fault = encoding_fault(dsn)
    if fault:
        raise MalformedDsn(fault, "write the DSN in UTF-8")
    match = _URL.fullmatch(dsn)
    if match is None:
        return _of_keywords(dsn)
    login, at, hosts = match["authority"].rpartition("@")
    _judge_delimiters(login, dsn[match.end("authority") :], match["rest"])
    user, colon, password = login.partition(":")
    user = quote(decoded(user, "the user"), safe="")
    password = quote(decoded(password, "the password"), safe="")
    authority = f"{user}{colon}{password}{at}{_hosts(hosts)}"
    path = match["database"]
    database = "" if path is None else "/" + quote(decoded(path, "the database's name"), safe="")
    return _judged(f"{match['scheme']}://{authority}{database}", _query(match["query"] or ""))


def stray_fault(text: str) -> str:
    """What is wrong at the ends of a value that a file or `echo` has made; empty when nothing is."""
    for end, verb in ((text[-1:], "ends in"), (text[:1], "begins with")):
        if end and end in "\r\n":
            return f"{verb} a line end"
        if end.isspace() or end == "\ufeff":
            return f"{verb} a blank"
    return ""


def encoding_fault(text: str) -> str:
    """What keeps a text from being sent as UTF-8; empty when nothing does."""
    for position, character in enumerate(text, 1):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            kind = "a zero byte" if character == "\0" else "a byte that is not UTF-8"
            return f"has {kind} at character {position}"
    return ""


def judge_parameter(name: str, value: str) -> None:
    """Raises MalformedDsn for a value that the driver would refuse, or quote."""
    if name == "host":
        for number, part in enumerate(parts := value.split(","), 1):
            if not part.startswith("/") and value:
                judge_host(part, _numbered(number, parts))
    elif name == "port":
        for part in value.split(","):
            _judge_port(part, "the port")
    elif name in CHOICES and value and value not in CHOICES[name]:
        raise MalformedDsn(f"has a value of {name} that is none of {', '.join(CHOICES[name])}")


def _judge_delimiters(login: str, after_hosts: str, fragment: str) -> None:
    if "@" in login:
        raise MalformedDsn(
            "has more than one @ before the host", "write an @ of the user or the password as %40"
        )
    if "@" in after_hosts:
        raise MalformedDsn(
            "has an @ after the first / ? or #, so that the host cannot be told from the password",
            "in the user, the password and the parameters write / as %2F, ? as %3F, # as %23 and @ as %40",
        )
    if fragment:
        raise MalformedDsn("has a # that is not encoded", "write # as %23")


def decoded(text: str, part: str) -> str:
    for position, character in enumerate(text, 1):
        if character.isspace():
            kind = "a line end" if character in "\r\n" else "a blank"
            raise MalformedDsn(f"has {kind} at character {position} of {part}", _ENCODE)
        if not character.isprintable():
            raise MalformedDsn(f"has a control character at character {position} of {part}", _ENCODE)
        if character == "%" and re.match(r"[0-9A-Fa-f]{2}", text[position:]) is None:
            raise MalformedDsn(
                f"has a % at character {position} of {part} without two hexadecimal digits after it",
                "write % as %25",
            )
    try:
        plain = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedDsn(f"has %XX in {part} that are not UTF-8", "encode it in UTF-8") from None
    if "\0" in plain:
        raise MalformedDsn(f"has %00 in {part}, which no server takes")
    return plain


def _hosts(text: str) -> str:
    """The list as the driver reads it. A folder with a socket in it is encoded, since it contains a /."""
    parts = text.split(",")
    written = []
    for number, part in enumerate(parts, 1):
        which = _numbered(number, parts)
        name = decoded(part, which)
        if name.startswith("/"):
            port = name.partition(":")[2]
            if port:
                _judge_port(port, f"the port of {which}")
        elif text:
            judge_host(name, which)
        written.append(part if part.startswith("[") else quote(name, safe=":"))
    return ",".join(written)


def _numbered(number: int, parts: Sequence[str]) -> str:
    return "the host" if len(parts) == 1 else f"host {number} of the list"


def _judge_port(text: str, which: str) -> None:
    if re.fullmatch(r"[0-9]{1,5}", text) is None or not 1 <= int(text) <= 65535:
        # What is taken for a port may be the rest of a password that contains a / ? or #.
        raise MalformedDsn(
            f"has something else than a number from 1 to 65535 as {which}", "in a password, " + _ENCODE
        )


def judge_host(part: str, which: str) -> None:
    """An address, or a name that can be looked up, and perhaps a port."""
    match = _HOST.fullmatch(part)
    if match is None:
        raise MalformedDsn(
            f"has something unreadable as {which}", "write host:port, an IPv6 address in brackets"
        )
    if match["port"]:
        _judge_port(match["port"], f"the port of {which}")
    name = match["name"]
    if name is None:
        return
    if not name:
        raise MalformedDsn(f"has no name as {which}")
    try:
        name.encode("idna")
    except UnicodeError:
        raise MalformedDsn(f"has a name as {which} that no host can have") from None
    if _HOST_NAME.fullmatch(name) is None:
        raise MalformedDsn(f"has a character in {which} that no host has", "in a password, " + _ENCODE)


def _query(text: str) -> list[tuple[str, str]]:
    pairs = []
    for number, item in enumerate(text.split("&") if text else (), 1):
        key, equals, value = item.partition("=")
        if not equals or _PARAMETER_NAME.fullmatch(key) is None:
            # Not shown: it may be the rest of a password that contains a ? or &.
            raise MalformedDsn(
                f"has parameters of which number {number} is not key=value", "write ? as %3F and & as %26"
            )
        pairs.append((key, decoded(value, f"parameter {number}")))
    return pairs


def _of_keywords(dsn: str) -> DatabaseUrl:
    if _OTHER_SCHEME.match(dsn):
        raise MalformedDsn("is written for another driver", "begin it with postgresql://")
    found: dict[str, str] = {}
    position = 0
    while position < len(dsn):
        match = _PAIR.match(dsn, position)
        if match is None:
            raise MalformedDsn(
                f"is neither a URL nor a keyword string: at character {position + 1} there is no key=value",
                "put values that contain blanks or quotes between ', with \\ before each ' and \\ in them",
            )
        value = match["quoted"] if match["quoted"] is not None else match["bare"]
        found[match["key"]] = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        position = match.end()
    database = found.pop("dbname", "")
    if not CONNECTION & found.keys() and not database:
        # Their names are not shown: this may be a password, in the wrong variable.
        raise MalformedDsn("is neither a URL nor a keyword string")
    return _judged(f"postgresql:///{quote(database, safe='')}", found.items())


def _in_brackets(host: str) -> str:
    is_bare_ipv6 = host.count(":") > 1 and not host.startswith(("/", "["))
    return f"[{host}]" if is_bare_ipv6 else host


def _judged(base: str, pairs: Iterable[tuple[str, str]]) -> DatabaseUrl:
    """The address with the parameters that the driver gets."""
    kept, ignored = [], []
    schemas: set[str] = set()
    has_secret = False
    for number, (name, value) in enumerate(pairs, 1):
        lower = name.lower()
        if lower in REFUSED:
            raise MalformedDsn(f"asks for {name}, which cannot be had in this way", REFUSED[lower])
        if lower in DEMANDS and value == "require":
            raise MalformedDsn(f"asks for {name}=require, which this engine's driver cannot guarantee")
        if lower in SCHEMA:
            schemas |= {value} - {""}
        elif lower in OF_OTHER_DRIVERS or lower in SET_BY_THE_ENGINE:
            ignored.append(name)
        elif name in CONNECTION or lower in SESSION:
            read = ",".join(_in_brackets(part) for part in value.split(",")) if name == "host" else value
            judge_parameter(name, read)
            kept.append((name, read))
        else:
            # After a password the name may be the rest of one that contains a & or a blank.
            shown = f"parameter {number}" if has_secret else f"the parameter {name}"
            known = ", ".join(sorted(CONNECTION | SESSION))
            raise MalformedDsn(
                f"has {shown}, which is unknown",
                f"known are {known}; a setting of the server goes into options=-c NAME=VALUE",
            )
        has_secret = has_secret or lower in {"password", "sslpassword"}
    if len(schemas) > 1:
        raise MalformedDsn(
            "names more than one schema", "leave all of them out but one, or set WINDLASS_SCHEMA"
        )
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in kept)
    url = base + ("?" + query if query else "")
    return DatabaseUrl(url, tuple(kept), tuple(dict.fromkeys(ignored)), schemas.pop() if schemas else None)
