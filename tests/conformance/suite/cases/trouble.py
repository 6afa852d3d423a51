"""Contract 1.2, 1.3, 2.4, 8.4: what the engine says when its database fails it. Each case has a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from engine_on_trial import QUICK, rows
from workflow import END, service, timer, wait

from patience import eventually
from suite.boot import Booted
from suite.case import GRPC, REST, Need, holds, same, shows
from suite.cases.endpoint import refusal
from suite.context import CaseContext
from suite.doors import LEASE_WITHIN_S

BOOT = [Need.BOOT]


@asynccontextmanager
async def without_table(booted: Booted, table: str) -> AsyncIterator[None]:
    """Nothing that reads or writes the table goes well inside."""
    await rows(booted.dsn, f"ALTER TABLE {table} RENAME TO lost")
    try:
        yield
    finally:
        await rows(booted.dsn, f"ALTER TABLE lost RENAME TO {table}")


@shows("1.2 internal-error", "1.3 panic", "8.4 rest-request-error", over=REST, needs=BOOT)
async def internal_error(context: CaseContext) -> None:
    booted = await context.boots.serving()
    id = await booted.rest.define(service("a"), END)
    async with without_table(booted, "step_execution"):
        answer = await booted.rest.raw("POST", "/v1/instances", {"definitionId": id})
        refusal(answer, 500, "internal-error")
    await eventually(lambda: booted.process.log(msg="rest request", level="ERROR", status=500))
    same("status afterwards", (await booted.rest.begin(id))["status"], "ACTIVE")


@shows("2.4 internal", over=GRPC, needs=BOOT)
async def internal_status(context: CaseContext) -> None:
    booted = await context.boots.serving()
    door = booted.grpc
    assert door is not None, "nothing listens on WE_GRPC_PORT"
    id = await door.define(service("a"), END)
    async with without_table(booted, "step_execution"):
        answer = await door.ask("StartInstance", definition_id=id)
        same("status code", answer.said, "INTERNAL")
        holds('the text begins "internal error: "', answer.text.startswith("internal error: "), answer.text)
    same("status afterwards", (await door.begin(id))["status"], "ACTIVE")


@shows("1.2 overdue", over=REST, needs=BOOT)
async def a_call_that_takes_too_long(context: CaseContext) -> None:
    """30 s, or what an engine that knows the variable is told."""
    booted = await context.boots.serving(
        WINDLASS_REQUEST_TIMEOUT_SECONDS="0.5", WINDLASS_LONG_POLL_SECONDS_MAX="0.2"
    )
    instance = await booted.rest.run(wait("w"), END)
    async with await psycopg.AsyncConnection.connect(booted.dsn) as blocker:
        await blocker.execute("SELECT 1 FROM workflow_instance WHERE id = %s FOR UPDATE", [instance["id"]])
        answer = await booted.rest.raw("POST", f"/v1/instances/{instance['id']}/signals/w")
        same("status and body", (answer.status, answer.body), (504, b""))
        await blocker.rollback()
    same("status afterwards", (await booted.rest.raw("GET", "/healthz")).status, 200)


@shows("8.4 timer-failed", over=REST, needs=BOOT)
async def a_timer_that_cannot_fire(context: CaseContext) -> None:
    booted = await context.boots.serving(**QUICK)
    alarm = [timer("PT2S", "late", interrupting=True)]
    instance = await booted.rest.run(wait("w", boundaryEvents=alarm), service("late"), END)
    async with without_table(booted, "step_execution"):
        (line, *_) = await eventually(
            lambda: booted.process.log(msg="timer sweeper: dispatch failed"), within_s=LEASE_WITHIN_S
        )
    same("level and instance", (line["level"], line["instance_id"]), ("ERROR", instance["id"]))
    holds(
        "err, event_id, target_step_id",
        line["err"] and line["event_id"] and line["target_step_id"] == "late",
        line,
    )
    await booted.rest.until_entered(instance, "late")
