"""Contract 8.3: each kind of audit row, who did it, and of which instance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from workflow import END, Json, service, timer, transformation, user_task, wait

from patience import eventually
from suite.case import REST, Need, add, holds, same, shows
from suite.context import CaseContext
from suite.doors import LEASE_WITHIN_S

DATABASE = [Need.DATABASE]


async def audited(context: CaseContext, instance: Json, kind: str) -> list[Json]:
    """The rows of that kind, waited for: sweepers write some."""

    async def look() -> list[Json]:
        query = "SELECT actor, detail FROM audit_log WHERE instance_id = %s AND kind = %s"
        return await context.rows(query, instance["id"], kind)

    found: list[Json] = await eventually(look, within_s=LEASE_WITHIN_S)
    return found


async def _completed(context: CaseContext) -> Json:
    instance = await context.door.run(service("a"), END)
    await context.door.work_off(instance, "a", worker="ann")
    return instance


async def _failed(context: CaseContext, *, retryable: bool = False) -> Json:
    instance = await context.door.run(service("a", retryCount=1), END)
    job = await context.door.lease(instance, "a", "ann")
    body = {"workerId": "ann", "retryable": retryable, "errorMessage": "broke"}
    (await context.door.fail(job["id"], body)).ok("fail")
    return instance


async def _retried(context: CaseContext) -> Json:
    return await _failed(context, retryable=True)


async def _broken(context: CaseContext) -> Json:
    return await context.door.run(transformation("t", {"x": "${ghost}"}), END)


async def _cancelled(context: CaseContext) -> Json:
    instance = await context.door.run(wait("w"), END)
    (await context.door.cancel(instance["id"], "enough")).ok("cancel")
    return instance


async def _lapsed(context: CaseContext) -> Json:
    instance = await context.door.run(service("a"), END)
    await context.door.lease(instance, "a", leaseSeconds=1)
    return instance


async def _tasked(context: CaseContext) -> Json:
    instance = await context.door.run(user_task("u"), END)
    path = f"/v1/instances/{instance['id']}/user-tasks/u/complete"
    same("status", (await context.rest.raw("POST", path, {"workerId": "ann"})).status, 204)
    return instance


async def _signalled(context: CaseContext) -> Json:
    instance = await context.door.run(wait("w"), END)
    (await context.door.signal(instance["id"], "w")).ok("signal")
    return instance


async def _timed(context: CaseContext) -> Json:
    return await context.door.run(wait("w", boundaryEvents=[timer("PT0.2S", "end", interrupting=True)]), END)


def _kind(kind: str, act: Callable[[CaseContext], Awaitable[Json]], actor: str) -> None:
    async def run(context: CaseContext) -> None:
        rows = await audited(context, await act(context), kind)
        same(f"actors of {kind}", [row["actor"] for row in rows], [actor])

    add(f"8.3 {kind}", run=run, over=REST, needs=DATABASE, shown_by="KINDS")


KINDS = (
    ("instance-started", _completed, "engine"),
    ("instance-completed", _completed, "engine"),
    ("instance-failed", _broken, "engine"),
    ("instance-cancelled", _cancelled, "engine"),
    ("job-dispatched", _completed, "engine"),
    ("job-completed", _completed, "ann"),
    ("job-failed", _failed, "ann"),
    ("job-retried", _retried, "ann"),
    ("job-lease-expired", _lapsed, "engine"),
    ("user-task-completed", _tasked, "ann"),
    ("wait-signalled", _signalled, "engine"),
    ("timer-fired", _timed, "engine"),
)
"""Kind, what leads to it, and its actor."""

for row in KINDS:
    _kind(*row)


@shows("8.3 definition-uploaded", over=REST, needs=DATABASE)
async def definition_uploaded(context: CaseContext) -> None:
    id = await context.door.define(END)
    await context.door.define(END, id=id)
    found = await context.rows(
        "SELECT actor, instance_id FROM audit_log WHERE kind = 'definition-uploaded' AND detail::text LIKE %s",
        f'%"{id}"%',
    )
    same("rows of two equal uploads", len(found), 1)
    holds("no instance", found[0]["instance_id"] is None, found)
