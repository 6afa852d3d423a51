"""Of several schedulers only the one that started first looks for what is due, until its row is too old."""

from __future__ import annotations

from mutation import serve

from windlass.app import Node
from windlass.sweep.loop import Body, Sweep

ELDEST = """SELECT id FROM windlass_node
WHERE role = 'scheduler' AND last_seen_at > clock_timestamp() - interval '15 s'
ORDER BY started_at LIMIT 1"""

genuine = Node._repairers


def repairers(self: Node) -> list[Sweep]:
    def led(body: Body) -> Body:
        async def only_as_eldest() -> int:
            rows = await self.database.fetch(ELDEST)
            if rows and rows[0]["id"] == self.node:
                return await body() or 0
            return 0

        return only_as_eldest

    sweeps = genuine(self)
    for sweep in sweeps:
        sweep._body = led(sweep._body)
    return sweeps


Node._repairers = repairers  # type: ignore[method-assign]

if __name__ == "__main__":
    serve()
