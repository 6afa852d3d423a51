"""One completion in forty is answered 500 although nothing is wrong."""

from __future__ import annotations

from typing import Any

from mutation import serve

from windlass.engine import Engine

EVERY = 40

genuine = Engine.complete_job
completions = 0


async def complete_job(self: Engine, job_id: str, **arguments: Any) -> None:
    global completions  # noqa: PLW0603
    completions += 1
    if completions % EVERY == 0:
        raise RuntimeError("mutant: as a defect in a handler would")
    await genuine(self, job_id, **arguments)


Engine.complete_job = complete_job

if __name__ == "__main__":
    serve()
