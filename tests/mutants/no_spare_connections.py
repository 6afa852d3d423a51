"""Calls that wait may have all connections of a node."""

from __future__ import annotations

import mutation

from windlass.api.call import Limits

Limits.connections_kept_max = property(lambda self: self.connections_max)  # type: ignore[assignment,method-assign]

if __name__ == "__main__":
    mutation.serve()
