"""The gRPC door on a real port, with the small in-memory service of `door.py` behind it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from dial import Dial
from door import NOW, Door

from windlass import wire
from windlass.api.grpc import GrpcApp


class GrpcDoor(Door):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.app = GrpcApp(self.service, self.settings, self.metrics, self.log, self.memory)
        self.dial: Dial


@contextlib.asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[GrpcDoor]:
    door = GrpcDoor(**settings)
    await door.app.start("127.0.0.1", 0)
    door.dial = Dial(door.app.port)
    try:
        yield door
    finally:
        await door.dial.close()
        await door.app.drain(0)


def job(**changes: Any) -> wire.JobView:
    made: dict[str, Any] = {
        "id": "j",
        "instance_id": "i",
        "step_id": "s",
        "step_execution_id": "e",
        "job_type": "t",
        "status": "LOCKED",
        "worker_id": "w",
        "locked_at": NOW,
        "lock_expires_at": NOW,
        "retries_remaining": 2,
        "variables": msgspec.Raw(b'{"a": 1, "b": null}'),
        "created_at": NOW,
        "lease_token": "5",
    }
    return wire.JobView(**{**made, **changes})


def nested(depth: int) -> bytes:
    """An object of so many objects inside each other."""
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)
