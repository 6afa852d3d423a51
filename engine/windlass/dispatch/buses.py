"""Which bus the nodes wake each other by. That of a server beside the database is imported when it is chosen."""

from __future__ import annotations

from windlass.config import Settings
from windlass.dispatch.bus import WakeBus
from windlass.store.database import Database


def bus_of(settings: Settings, database: Database) -> WakeBus | None:
    """None when nodes do not wake each other; nothing is connected yet."""
    if settings.wake_mode == "polling" or settings.wake_bus == "none":
        return None
    if settings.redis is not None:
        from windlass.dispatch.redis.bus import RedisBus
        from windlass.store.notifications import bus_channel

        return RedisBus(settings.redis, settings.node_name, lambda: bus_channel(database))
    from windlass.dispatch.postgres_bus import PostgresBus

    return PostgresBus(database)
