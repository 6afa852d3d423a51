"""Writes the parts of requirements.lock for the images: what engine and example worker run on, and what builds them.

Read from the lock and from the distributions that are installed by it, so nothing is resolved anew and no network
is asked. With --check it changes nothing and fails when a part would differ.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
#: the Pythons that a base image may bring
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
#: the first release of each, which a distribution may have kept, and a later one: some requirements tell them apart
PATCHES = (0, 9)
_ENTRY = re.compile(r"^([A-Za-z0-9][\w.-]*)==.*(?:\n {4}.*)*\n?", re.MULTILINE)


def entries(lock: str) -> dict[str, list[str]]:
    """The blocks of a lock by distribution; one may have several, told apart by their markers."""
    found: dict[str, list[str]] = {}
    for block in _ENTRY.finditer(lock):
        found.setdefault(canonicalize_name(block[1]), []).append(block[0].rstrip("\n"))
    return found


def needed(roots: Iterable[str]) -> set[str]:
    """The names of all that `roots` (requirements) need on Linux, themselves included."""
    names: set[str] = set()
    waiting = [Requirement(root) for root in roots]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if not _applies(requirement.marker, extras={""}) or (name, extras) in seen:
            continue
        seen.add((name, extras))
        names.add(name)
        for text in _requires(name):
            inner = Requirement(text)
            if _applies(inner.marker, extras=extras | {""}):
                inner.marker = None
                waiting.append(inner)
    return names


def _requires(name: str) -> Iterable[str]:
    """Nothing for what only another Python needs, which is not installed here: it is a leaf."""
    try:
        return metadata.requires(name) or ()
    except metadata.PackageNotFoundError:
        return ()


def _applies(marker: Marker | None, extras: Iterable[str]) -> bool:
    """On one of the Pythons, whichever runs this."""
    return marker is None or any(
        marker.evaluate(_environment(python, patch, extra))
        for python in PYTHONS
        for patch in PATCHES
        for extra in extras
    )


def _environment(python: str, patch: int, extra: str) -> Mapping[str, str]:
    return {"python_version": python, "python_full_version": f"{python}.{patch}", "sys_platform": "linux",
            "platform_system": "Linux", "os_name": "posix", "implementation_name": "cpython",
            "platform_python_implementation": "CPython", "extra": extra}  # fmt: skip


def parts() -> dict[Path, str]:
    """The files with what they should hold. Raises KeyError for a distribution that requirements.lock lacks."""
    engine, client = (
        tomllib.loads((ROOT / each / "pyproject.toml").read_text()) for each in ("engine", "client")
    )
    locked = entries((ROOT / "requirements.lock").read_text())

    def part(roots: Iterable[str]) -> str:
        return "\n".join(block for name in sorted(needed(roots)) for block in locked[name]) + "\n"

    return {
        ROOT / "engine" / "requirements.lock": part(
            # Also what is off until a variable asks for it: an image cannot be added to.
            [*engine["project"]["dependencies"], *engine["project"]["optional-dependencies"]["otel"]]
        ),
        ROOT / "engine" / "build.lock": part(
            {*engine["build-system"]["requires"], *client["build-system"]["requires"]}
        ),
        ROOT / "examples" / "requirements.lock": part(client["project"]["dependencies"]),
    }


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    stale = [path for path, text in parts().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if arguments:
            sys.stderr.write(f"{path} is not what requirements.lock makes; run scripts/generate and commit\n")
        else:
            path.write_text(parts()[path])
    return 1 if arguments and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
