"""A replica that boots among others takes the job table for itself for a while, as if to recover."""

from __future__ import annotations

import asyncio

from mutation import serve

from windlass.app import Node

RECOVERY_S = 9.0

genuine = Node._start


async def start(self: Node) -> None:
    await genuine(self)
    if (await self.database.fetch("SELECT EXISTS (SELECT FROM workflow_instance)"))[0][0]:
        async with self.database.connection() as connection, connection.transaction():
            await connection.execute("LOCK TABLE job IN EXCLUSIVE MODE")
            await asyncio.sleep(RECOVERY_S)


Node._start = start

if __name__ == "__main__":
    serve()
