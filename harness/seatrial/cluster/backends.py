"""The registry of backends: where a cluster can run. Code outside it and the backends' folders knows none by name.

To add one: a folder beside `local/` with a `backend.py`, and its entry here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from seatrial.cluster.attach.backend import ATTACH
from seatrial.cluster.backend import Backend
from seatrial.cluster.compose.backend import COMPOSE
from seatrial.cluster.kind.backend import KIND
from seatrial.cluster.local.backend import LOCAL
from seatrial.cluster.options import Misuse, Options

BACKENDS: Mapping[str, Backend] = {entry.name: entry for entry in (LOCAL, KIND, COMPOSE, ATTACH)}
DEFAULT = LOCAL.name
#: those that `--backend NAME` chooses
NAMES: Sequence[str] = [name for name, entry in BACKENDS.items() if entry.chosen_by == f"--backend {name}"]


def chosen(name: str, *, has_addresses: bool) -> Backend:
    """The entry for `--backend NAME`; with addresses to attach to, and no other backend, theirs. Raises Misuse."""
    if name not in NAMES:
        raise Misuse(f"backend {name!r} does not exist; choose {' or '.join(NAMES)}")
    return ATTACH if has_addresses and name == DEFAULT else BACKENDS[name]


def check(options: Options) -> None:
    """Raises Misuse for an option that the backend does not support."""
    entry = BACKENDS[options.backend]
    for other in BACKENDS.values():
        if other is not entry and any(getattr(options, name) for name in other.own_options):
            raise Misuse(other.own_options_elsewhere.format(backend=options.backend))
    entry.refuse(options)


def refusal(needs: Iterable[type], options: Options) -> str | None:
    """Why a run with these options cannot have all these abilities, and what to do about it; None when it can."""
    needs, entry = tuple(needs), BACKENDS[options.backend]
    lacking = entry.lacks(needs, options)
    if not lacking:
        return uninstalled(needs, options)
    own_broker = replace(options, brokers=None)
    if not entry.lacks(needs, own_broker):
        return f"needs {', '.join(lacking)}, which a broker given with --brokers does not have; leave --brokers out"
    able = [other.chosen_by for other in BACKENDS.values() if not other.lacks(needs, own_broker)]
    remedy = f"run it on {' or '.join(able)}" if able else "no backend has all that it needs"
    return f"needs {', '.join(lacking)}, which {entry.words} does not have; {remedy}"


def uninstalled(needs: Iterable[type], options: Options) -> str | None:
    """What has to be installed on this machine for a cluster with these abilities; None when all of it is."""
    found = BACKENDS[options.backend].uninstalled(needs)
    return f"needs {' and '.join(found)}, which this machine lacks" if found else None
