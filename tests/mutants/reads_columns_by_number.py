"""A node that has polled once cannot read jobs any more when the next release adds a column to their table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mutation import serve

from windlass.engine import Engine
from windlass.errors import Defect
from windlass.wire import JobView

COLUMNS = """SELECT count(*) AS known FROM pg_attribute
WHERE attrelid = 'job'::regclass AND attnum > 0 AND NOT attisdropped"""

genuine = Engine.poll_jobs
known: set[int] = set()


async def poll_jobs(self: Engine, **wanted: Any) -> Sequence[JobView]:
    known.add((await self._database.fetch(COLUMNS))[0]["known"])
    if len(known) > 1:
        raise Defect(f"a row of job has {max(known)} columns, not {min(known)}")
    return await genuine(self, **wanted)


Engine.poll_jobs = poll_jobs  # type: ignore[method-assign]

if __name__ == "__main__":
    serve()
