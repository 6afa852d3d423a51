"""Calls itself ready whatever the schema is: calls arrive before there is a table for them."""

from __future__ import annotations

import mutation

from windlass.store import ledger, schema

schema.judge = lambda _: ledger.Standing(9, ledger.newest(), (), None)

if __name__ == "__main__":
    mutation.serve()
