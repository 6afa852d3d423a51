"""What a pooler refuses for want of the database is taken for a defect of the engine: callers get 500."""

from __future__ import annotations

import mutation

from windlass.store import sqlstate

sqlstate.CLASSES = {**sqlstate.CLASSES, "08": sqlstate.Failure.DEFECT}

if __name__ == "__main__":
    mutation.serve()
