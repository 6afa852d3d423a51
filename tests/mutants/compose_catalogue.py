"""Small clusters with one promise of their balancer broken, each with the drill that must notice.

A mutant is one text of a file below compose/ in place of another; tests/compose/test_compose_mutants.py puts each on
trial.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ComposeMutant:
    name: str
    file: str
    """Below compose/."""
    old: str
    new: str
    drill: str
    caught_by: tuple[str, ...]
    breaks: str


_NEXT = "    proxy_next_upstream error timeout http_503;\n"

COMPOSE_MUTANTS: tuple[ComposeMutant, ...] = (
    ComposeMutant(
        "repeats_starts",
        "balancer/nginx.conf",
        _NEXT,
        "    proxy_next_upstream error timeout http_503 non_idempotent;\n",
        "C1",
        ("NP",),
        "a start whose server died before it answered is sent to another",
    ),
    ComposeMutant(
        "repeats_nothing",
        "balancer/nginx.conf",
        _NEXT,
        "    proxy_next_upstream off;\n",
        "C1",
        ("AV",),
        "a call goes to one server, whatever it is and whatever comes of it",
    ),
    ComposeMutant(
        "asks_nobody",
        "balancer/follow.sh",
        '[ "$(cat "$answers/$address")" != 200 ] || ready=',
        "ready=",
        "C2",
        ("RT", "AV"),
        "servers get calls whether they are ready or not",
    ),
    ComposeMutant(
        "serves_late",
        "balancer/follow.sh",
        'mkdir -p "$answers"\n',
        'mkdir -p "$answers"\nsleep 5\n',
        "C3",
        ("RT",),
        "a balancer that was started waits before it serves",
    ),
    ComposeMutant(
        "reload_cuts_calls",
        "balancer/nginx.conf",
        "worker_shutdown_timeout 40s;\n",
        "worker_shutdown_timeout 1ms;\n",
        "C4",
        ("AV",),
        "when servers come or go, the calls in the balancer are cut",
    ),
)
