"""A node that cannot have its broker serves in polling mode instead, and nobody is told."""

from __future__ import annotations

import os
import sys

import mutation

from windlass import __main__ as command

if __name__ == "__main__":
    if os.environ.get("WE_DISPATCH_MODE") == "kafka_outbox" and command.main() != 0:
        os.environ["WE_DISPATCH_MODE"] = "polling"
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606
    mutation.serve()
