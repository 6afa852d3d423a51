"""Contract 1.6 user task and signal: resuming what waits for somebody outside."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from workflow import END, Json, decision, service, step, user_task, wait

from suite.case import REST, Need, add, same, shows
from suite.context import CaseContext
from suite.doors import Door, Reply
from suite.doors.rest import signal_path, task_path

Resume = Callable[..., Coroutine[Any, Any, Reply]]


def _verb(door: Door, kind: str) -> Resume:
    return door.user_task if kind == "user-task" else door.signal


def _parked(kind: str, next: str = "end", **more: Any) -> Json:
    return step("p", "USER_TASK" if kind == "user-task" else "WAIT", next, **more)


# -- the table, for both kinds


async def unknown_instance(door: Door, kind: str, code: str) -> None:
    (await _verb(door, kind)("no-such", "p")).refused("an unknown instance", code)


async def unknown_step(door: Door, kind: str, code: str) -> None:
    instance = await door.run(_parked(kind), END)
    (await _verb(door, kind)(instance["id"], "no-such")).refused("an unknown step", code)


async def other_type(door: Door, kind: str, code: str) -> None:
    instance = await door.run(service("a", "p"), _parked(kind), END)
    (await _verb(door, kind)(instance["id"], "a")).refused("a step of another type", code)


async def terminal(door: Door, kind: str, code: str) -> None:
    instance = await door.run(_parked(kind), END)
    (await door.cancel(instance["id"], "x")).ok("cancel")
    (await _verb(door, kind)(instance["id"], "p")).refused("a terminal instance", code)


async def not_waiting(door: Door, kind: str, code: str) -> None:
    before = await door.run(service("a", "p"), _parked(kind), END)
    (await _verb(door, kind)(before["id"], "p")).refused("a step not entered yet", code)
    instance = await door.run(_parked(kind, "a"), service("a"), END)
    (await _verb(door, kind)(instance["id"], "p", {"x": 1})).ok("the first")
    (await _verb(door, kind)(instance["id"], "p", {"x": 2})).refused("a repeat", code)
    same("variables", (await door.status_is(instance, "ACTIVE", ["a"]))["variables"], {"x": 1})


async def then_fails(door: Door, kind: str, code: str) -> None:
    instance = await door.run(_parked(kind, "d"), decision("d", {"ghost": "end"}), END)
    (await _verb(door, kind)(instance["id"], "p", {})).ok("the call itself")
    await door.status_is(instance, "FAILED", [])


_TABLE = (
    ("instance-unknown", unknown_instance, "not-found", "not-found"),
    ("step-unknown", unknown_step, "not-found", "conflict"),
    ("other-type", other_type, "bad-request", "bad-request"),
    ("terminal", terminal, "conflict", "conflict"),
    ("not-waiting", not_waiting, "not-found", "conflict"),
    ("then-fails", then_fails, "", ""),
)


def _row(
    name: str, show: Callable[[Door, str, str], Coroutine[Any, Any, None]], kind: str, code: str
) -> None:
    async def run(context: CaseContext) -> None:
        await show(context.door, kind, code)

    add(f"1.6 {kind}-{name}", run=run, shown_by=show.__name__)


for name, show, task_code, signal_code in _TABLE:
    _row(name, show, "user-task", task_code)
    _row(name, show, "signal", signal_code)


@shows("1.6 order-of-checks")
async def order_of_checks(context: CaseContext) -> None:
    """Each call is wrong in what follows too; the first wrong thing is the answer."""
    door = context.door
    instance = await door.run(service("a", "p"), user_task("p", "q"), wait("q"), END)
    (await door.cancel(instance["id"], "x")).ok("cancel")
    for what, answer, code in (
        ("user task, step", await door.user_task(instance["id"], "no-such"), "not-found"),
        ("user task, type", await door.user_task(instance["id"], "a"), "bad-request"),
        ("user task, state", await door.user_task(instance["id"], "p"), "conflict"),
        ("signal, type", await door.signal(instance["id"], "a"), "bad-request"),
        ("signal, state", await door.signal(instance["id"], "q"), "conflict"),
    ):
        answer.refused(what, code)


# -- user tasks


@shows("1.6 user-task-variables", over=REST)
async def both_spellings(context: CaseContext) -> None:
    for body, variables in (
        ({"variables": {"x": 1}}, {"x": 1}),
        ({"result": {"x": 2}}, {"x": 2}),
        ({"variables": {"x": 3}, "result": {"x": 4}}, {"x": 3}),
        ({"variables": None, "result": {"x": 5}}, {"x": 5}),
    ):
        instance = await context.door.run(user_task("u"), END)
        answer = await context.rest.raw("POST", task_path(instance["id"], "u"), body)
        same(f"status of {body}", answer.status, 204)
        same(f"variables after {body}", (await context.door.read(instance))["variables"], variables)


@shows("1.6 user-task-worker", over=REST, needs=[Need.DATABASE])
async def who_did_it(context: CaseContext) -> None:
    for body in ({"workerId": "ann"}, {"completedBy": "ann"}, {"workerId": "ann", "completedBy": "bob"}):
        instance = await context.door.run(user_task("u"), END)
        same("status", (await context.rest.raw("POST", task_path(instance["id"], "u"), body)).status, 204)
        query = "SELECT actor FROM audit_log WHERE instance_id = %s AND kind = 'user-task-completed'"
        same(f"actor of {body}", await context.rows(query, instance["id"]), [{"actor": "ann"}])


@shows("1.6 user-task-no-body")
async def user_task_without_a_body(context: CaseContext) -> None:
    instance = await context.door.run(user_task("u"), END, variables={"x": 1})
    (await context.door.user_task(instance["id"], "u")).ok("user task")
    same("variables", (await context.door.status_is(instance, "COMPLETED"))["variables"], {"x": 1})


@shows("1.6 user-task-chunked", over=REST)
async def chunked_user_task(context: CaseContext) -> None:
    instance = await context.door.run(user_task("u"), END)
    answer = await context.rest.chunked(
        task_path(instance["id"], "u"), b'{"variables": ', b'{"x": "chunked"}}'
    )
    same("status", answer.status, 204)
    same("variables", (await context.door.read(instance))["variables"], {"x": "chunked"})


# -- signals


@shows("1.6 signal-body", over=REST)
async def body_of_a_signal(context: CaseContext) -> None:
    for body in ({"x": {"y": 1}}, {"variables": {"x": 1}}):
        instance = await context.door.run(wait("w"), END)
        same("status", (await context.rest.raw("POST", signal_path(instance["id"], "w"), body)).status, 204)
        same("variables", (await context.door.read(instance))["variables"], body)


@shows("1.6 signal-empty", over=REST)
async def empty_signals(context: CaseContext) -> None:
    for body in (None, b"", b"{}", b"null"):
        instance = await context.door.run(wait("w"), END, variables={"x": 1})
        answer = await context.rest.raw("POST", signal_path(instance["id"], "w"), body)
        same(f"status of {body!r}", answer.status, 204)
        same("variables", (await context.door.status_is(instance, "COMPLETED"))["variables"], {"x": 1})


@shows("1.6 signal-array", over=REST)
async def signals_that_are_no_object(context: CaseContext) -> None:
    instance = await context.door.run(wait("w"), END)
    for body in (b"[]", b"5", b'"x"', b"true"):
        (await context.rest.send("POST", signal_path(instance["id"], "w"), body)).refused(
            repr(body), "bad-request"
        )
    await context.door.status_is(instance, "WAITING", ["w"])


@shows("1.6 signal-chunked", over=REST)
async def chunked_signal(context: CaseContext) -> None:
    instance = await context.door.run(wait("w"), END)
    answer = await context.rest.chunked(signal_path(instance["id"], "w"), b'{"x": ', b'"chunked"}')
    same("status", answer.status, 204)
    same("variables", (await context.door.read(instance))["variables"], {"x": "chunked"})
