"""Liveness asks the database: an outage of it restarts every node."""

from __future__ import annotations

import mutation

from windlass.api.call import Request, Response
from windlass.api.health import Health


async def as_readiness(self: Health, request: Request, ids: list[str]) -> Response:
    return await self.ready(request, ids)


Health.healthz = as_readiness  # type: ignore[method-assign,assignment]

if __name__ == "__main__":
    mutation.serve()
