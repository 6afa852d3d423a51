"""A full disk is taken for a defect of the engine: callers get 500, and nothing is tried again."""

from __future__ import annotations

import mutation

from windlass.store import sqlstate

sqlstate.CLASSES = {**sqlstate.CLASSES, "53": sqlstate.Failure.DEFECT}

if __name__ == "__main__":
    mutation.serve()
