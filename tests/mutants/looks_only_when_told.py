"""Waiting polls look only while hints can come: without a wake bus they never do."""

from __future__ import annotations

import mutation

from windlass.app import Node


def only_when_told(self: Node) -> bool:
    return self.wake_ups.is_listening


Node._rechecks = only_when_told  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()
