"""Some jobs are handed to their worker twice under one lease."""

from __future__ import annotations

from typing import Any

from mutation import serve

from windlass.dispatch.polling import WaitingPolls
from windlass.wire import JobView

EVERY = 10

genuine = WaitingPolls.poll
polls = 0


async def poll(self: WaitingPolls, **arguments: Any) -> list[JobView]:
    global polls  # noqa: PLW0603
    polls += 1
    jobs = await genuine(self, **arguments)
    return jobs + jobs[:1] if polls % EVERY == 0 else jobs


WaitingPolls.poll = poll

if __name__ == "__main__":
    serve()
