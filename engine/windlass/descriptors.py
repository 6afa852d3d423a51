"""Open files: the limit of this process, and who gets how many of them.

Each connection is an open file (getrlimit(2), RLIMIT_NOFILE). A process that has none left can neither accept a caller
nor connect to its database, so callers get only what the engine itself does not need.
"""

from __future__ import annotations

import contextlib
import dataclasses
import resource

from windlass.config import Settings
from windlass.errors import BootRefused

OWN = 48
"""Log, event loops, listeners, the sessions for LISTEN, the relay's lock and migrations: 23 on an idle node. The rest
is for name lookups and for cancelling statements, which takes a connection each."""
FOR_BROKER = 48
"""The clients' connections to each broker, and their own pipes."""
BEING_ACCEPTED = 4
"""Of each API: connections beyond its limit, to be told that they are."""
DOOR_MIN = 4
"""With fewer connections than this, probes would keep callers out."""
REMEDY = "raise the hard limit of open files (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of a container)"


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one; returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # A kernel may have a limit below "unlimited"; the soft one stays then.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def shared_out(settings: Settings, limit: int, *, doors: int) -> Settings:
    """Cap the connections of `doors` APIs and of the metrics port by what `limit` leaves beside the engine's own files.

    What is capped is added to the warnings. BootRefused when hardly anything would be left.
    """
    own = OWN + settings.db_max_conns + (FOR_BROKER if settings.kafka else 0) + BEING_ACCEPTED * doors
    left, wanted, metrics = limit - own, settings.connections_max, settings.metrics_connections_max
    if doors * wanted + metrics <= left:
        return settings
    equal = left // (doors + 1)
    metrics = min(metrics, equal)
    each = min(wanted, (left - metrics) // doors)
    if equal < DOOR_MIN:
        raise BootRefused(
            f"the process may open {limit} files, and {own} of them are for the engine itself and its pool of "
            f"{settings.db_max_conns} database connections, which leaves too few for callers; {REMEDY}, or lower "
            "DB_MAX_CONNS"
        )
    warning = (
        f"WINDLASS_CONNECTIONS_MAX is {wanted}, but the process may open only {limit} files, {own} of them for the "
        f"engine itself: REST and gRPC take {each} connections each and metrics {metrics}; {REMEDY}, or lower "
        "WINDLASS_CONNECTIONS_MAX"
    )
    return dataclasses.replace(
        settings,
        connections_max=each,
        metrics_connections_max=metrics,
        warnings=(*settings.warnings, warning),
    )
