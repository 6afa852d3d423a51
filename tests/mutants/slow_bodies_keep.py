"""Whoever holds room for a body keeps it, however slowly the rest arrives."""

from __future__ import annotations

import mutation

from windlass.api.http import HttpServer


def make_no_room(_self: HttpServer) -> None:
    """Nobody gives way."""


mutation.replace(HttpServer, "_make_room", make_no_room)

if __name__ == "__main__":
    mutation.serve()
