"""A standby competes for the lead when the other schedulers have been silent for long, not when the lead is free."""

from __future__ import annotations

from mutation import serve

from windlass.dispatch.leader import Leadership
from windlass.store.leadership import LeaderSeat

OTHERS = """SELECT EXISTS (
    SELECT FROM windlass_node
    WHERE role = 'scheduler' AND id <> $1 AND last_seen_at > clock_timestamp() - interval '12 s'
) AS found"""

genuine = Leadership._compete


async def compete(self: Leadership, session: LeaderSeat) -> None:
    if not (await self._database.fetch(OTHERS, self._holder))[0]["found"]:
        await genuine(self, session)


Leadership._compete = compete  # type: ignore[method-assign]

if __name__ == "__main__":
    serve()
