"""The engine with faults that no case may go unpunished for: `python planted.py FAULT... serve`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from windlass import __main__ as command
from windlass import errors
from windlass.api import bodies, payload
from windlass.api.rest import RestApp
from windlass.engine import Engine
from windlass.telemetry.events import Event
from windlass.wire import DefinitionSummary

LEAK_BYTES = 512 * 1024
HOARD_BYTES = 560 * 2**20
PATIENCE_CALLS = 10

genuine_text = bodies.text
genuine_upload = Engine.upload_definition
genuine_handle = RestApp.handle
genuine_poll = Engine.poll_jobs
genuine_complete = Engine.complete_job
leaked: list[bytearray] = []
calls = 0


def crashes(value: str | None, name: str) -> str:
    """U+0000 in a text is met by surprise."""
    if value is not None and "\x00" in value:
        raise ZeroDivisionError
    return genuine_text(value, name)


async def writes(self: Engine, document: bytes) -> DefinitionSummary:
    """A definition that breaks a rule leaves a row."""
    try:
        return await genuine_upload(self, document)
    except errors.InvalidDefinition:
        await self._database.fetch(
            "INSERT INTO audit_log (kind, actor) VALUES ('looked', 'mutant') RETURNING id"
        )
        raise


def leaks(self: RestApp, request: Any) -> Any:
    """Something of every call is kept."""
    leaked.append(bytearray(b"x" * LEAK_BYTES))
    return genuine_handle(self, request)


def hoards(self: RestApp, request: Any) -> Any:
    """A call that lists takes more memory than a pod has, for a moment."""
    if request.path == b"/v1/instances" and request.method == "GET":
        bytearray(b"x") * HOARD_BYTES
    return genuine_handle(self, request)


def rambles(self: RestApp, request: Any) -> Any:
    """An upgrade that is offered is told in full."""
    if b"kkk" in request.query:
        self._log.warning(Event.REST_HANDLER_BROKE, err="mutant" + "!" * 40_000)
    return genuine_handle(self, request)


async def keeps(self: Engine, **arguments: Any) -> Any:
    """A poll takes jobs that it then does not tell."""
    jobs = await genuine_poll(self, **arguments)
    return jobs[:-1] if len(jobs) > 1 else jobs


def complains(self: RestApp, request: Any) -> Any:
    """Every call that is none is an error in the log."""
    if request.path.startswith(b"//"):
        self._log.error(Event.REST_HANDLER_BROKE, err="mutant")
    return genuine_handle(self, request)


async def tires(self: Engine, job_id: str, **arguments: Any) -> None:
    """After some calls every completion takes its time."""
    global calls  # noqa: PLW0603
    calls += 1
    if calls > PATIENCE_CALLS:
        await asyncio.sleep(2.5)
    await genuine_complete(self, job_id, **arguments)


FAULTS = {
    "crashes": lambda: setattr(bodies, "text", crashes),
    "writes": lambda: setattr(Engine, "upload_definition", writes),
    "leaks": lambda: setattr(RestApp, "handle", leaks),
    "complains": lambda: setattr(RestApp, "handle", complains),
    "hoards": lambda: setattr(RestApp, "handle", hoards),
    "rambles": lambda: setattr(RestApp, "handle", rambles),
    "overflows": lambda: setattr(payload, "_with_integers", lambda data, _name: data),
    "keeps": lambda: setattr(Engine, "poll_jobs", keeps),
    "tires": lambda: setattr(Engine, "complete_job", tires),
}

if __name__ == "__main__":
    for fault in sys.argv[1:-1]:
        FAULTS[fault]()
    sys.exit(command.main(sys.argv[-1:]))
