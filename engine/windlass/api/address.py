"""Where the doors listen: one address for all three. An IPv6 socket takes IPv4 callers too (RFC 3493, section 5.3)."""

from __future__ import annotations

import errno
import socket

from windlass.errors import BootRefused

ANY_IPV6, ANY_IPV4 = "::", "0.0.0.0"


def any_address() -> str:
    """All of the machine: `::`, which IPv4 callers reach as well, or `0.0.0.0` where the kernel has no IPv6."""
    try:
        bound(ANY_IPV6, 0).close()
    except OSError:
        return ANY_IPV4
    return ANY_IPV6


def bound(host: str, port: int, *, is_shared: bool = True) -> socket.socket:
    """Return a socket that is bound and does not listen yet. Raises OSError.

    `is_shared`: IPv4 callers reach an IPv6 socket too, whatever `net.ipv6.bindv6only` says.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not is_shared)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def written(host: str, port: int) -> str:
    """As in a URL (RFC 3986, section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def plain(host: str) -> str:
    """An IPv4 caller of an IPv6 socket, `::ffff:192.0.2.7` (RFC 4291, section 2.5.5.2), by its IPv4 address."""
    address = host.removeprefix("::ffff:")
    return address if "." in address and ":" not in address else host


def cannot_listen(name: str, variable: str, host: str, port: int, error: OSError) -> BootRefused:
    """Return the error to raise, with the cause and the variable to change."""
    where = f"{name} cannot listen on {written(host, port)}"
    if error.errno == errno.EADDRINUSE:
        return BootRefused(
            f"{where}: the port is in use; stop the process that uses it or set {variable} to a free port"
        )
    if error.errno == errno.EACCES:
        return BootRefused(f"{where}: not permitted; set {variable} to a port above 1023")
    if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
        return BootRefused(
            f"{where}: the machine does not have this address; set WINDLASS_BIND to one that it has, or unset it for "
            "all"
        )
    return BootRefused(f"{where}: {error.strerror or error}; set {variable} to a port that is free")
