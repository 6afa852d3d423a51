"""A pool opens more than DB_MAX_CONNS: many replicas take more connections than the operator has reckoned with."""

from __future__ import annotations

from typing import Any

import asyncpg
import mutation

BEYOND = 8
honest_create = asyncpg.create_pool


def create_larger(*arguments: Any, **named: Any) -> Any:
    size = named["max_size"] + BEYOND
    return honest_create(*arguments, **named | {"min_size": size, "max_size": size})


asyncpg.create_pool = create_larger

if __name__ == "__main__":
    mutation.serve()
