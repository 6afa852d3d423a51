"""A migration waits for a table without a limit: everybody who comes after it waits behind it."""

from __future__ import annotations

import mutation

from windlass.store import migrate

migrate.LOCK_WAIT_MAX_S = 600.0

if __name__ == "__main__":
    mutation.serve()
