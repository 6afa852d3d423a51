"""A waiting poll asks the database only when a notification tells it to: one that is lost strands the job."""

from __future__ import annotations

import mutation

from windlass.dispatch.polling import WaitingPolls


async def never(self: WaitingPolls, every_s: float) -> None:
    """Instead of asking again every `every_s`."""


def ask_nobody(self: WaitingPolls) -> None:
    """Instead of asking when notifications may have been missed."""


WaitingPolls._recheck_parked = never  # type: ignore[method-assign]
WaitingPolls.wake_all = ask_nobody  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()
