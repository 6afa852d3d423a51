"""The commands that end by themselves, `migrate` and `prune`, each composed here as a node is in `app.py`."""

from __future__ import annotations

import asyncio
import signal

import uvloop

from windlass import stop_signals
from windlass.config import Settings
from windlass.errors import BootRefused, EngineError
from windlass.prune import Account, Order
from windlass.store import migrate as schema
from windlass.store.database import Database
from windlass.store.retention import Retention
from windlass.store.rights import Rights
from windlass.store.schema import Schema
from windlass.sweep.retention import RetentionPass
from windlass.telemetry.events import Event
from windlass.telemetry.log import Log, bridge_stdlib, fatal
from windlass.telemetry.metrics import Metrics
from windlass.telemetry.node import NodeTelemetry
from windlass.telemetry.output import standard_output

PASSES_MAX = 5
"""Of one `windlass prune`: another pass looks again at what somebody else had in use."""


def migrate(settings: Settings, app_role: str | None = None) -> int:
    """Applies what is missing, gives `app_role` what an engine needs, and ends; returns the exit code."""
    log = Log(settings.log_level, standard_output())
    bridge_stdlib(log)
    try:
        uvloop.run(_migrate_unless_stopped(settings, log, app_role))
    except asyncio.CancelledError:
        return fatal(
            log, BootRefused("stopped by a signal; what was applied is whole, run windlass migrate again")
        )
    except EngineError as err:
        return fatal(log, err)
    return 0


async def _migrate_unless_stopped(settings: Settings, log: Log, app_role: str | None) -> None:
    """A signal ends it also while it waits; without a handler the first process of a container would ignore it."""
    telemetry = NodeTelemetry(Metrics(settings.dispatch_mode), log)
    task = asyncio.current_task()
    assert task is not None

    def stop(number: signal.Signals) -> None:
        log.info(Event.SHUTDOWN_SIGNAL, signal=number.name)
        task.cancel()

    for number in stop_signals.heeded():
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    database = Database(settings)
    await database.open()
    telemetry.database_opened(database.server)
    try:
        rights = Rights(database, removes=settings.retention_days > 0)
        if app_role is not None:
            await rights.require(app_role)
        telemetry.migrated(*await schema.migrate(database, telemetry.migration_waits))
        if app_role is not None:
            telemetry.rights_given(app_role, await rights.grant(app_role))
    finally:
        await database.close()


def prune(settings: Settings, order: Order) -> int:
    """Removes, or counts, what the order says; returns the exit code. Progress and counts go to standard output."""
    log = Log("warn", standard_output())
    bridge_stdlib(log)
    try:
        return uvloop.run(_prune(settings, order))
    except EngineError as err:
        return fatal(log, err)


async def _prune(settings: Settings, order: Order) -> int:
    stopped = asyncio.Event()
    for number in stop_signals.heeded():
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    account = Account(order)
    database = Database(settings)
    await database.open()
    try:
        await Rights(database, removes=True).check()
        state = await Schema(database).state()
        if state.refused:
            raise BootRefused(state.refused)
        if not state.is_current:
            raise BootRefused(
                f"the schema is at {state.version}, this release needs {state.needed}; run windlass migrate first"
            )
        if state.read_only and not order.dry_run:
            raise BootRefused(state.read_only)
        once = RetentionPass(Retention(database), dry_run=order.dry_run, told=account.told)
        for _ in range(PASSES_MAX):
            done = await once.run(order.older_than_s, stopped=stopped.is_set)
            account.add(done)
            if not done.in_use or not done.complete:
                break
        return account.conclude()
    finally:
        await database.close()
