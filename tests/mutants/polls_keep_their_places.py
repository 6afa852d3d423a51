"""Polls that wait keep their connections, whoever needs one."""

from __future__ import annotations

import mutation

from windlass.api.connection import Connection


def keep_waiting(self: Connection) -> None:
    """The poll goes on."""


Connection.end_early = keep_waiting  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()
