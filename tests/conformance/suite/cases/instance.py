"""Contract 1.6 start and cancel, 5.1, 5.8 to 5.10: an instance from its start to its end, and what it starts then."""

from __future__ import annotations

from collections.abc import Sequence

from workflow import END, Json, decision, fork, join, service, timer, transformation, user_task, wait

from patience import eventually
from suite.case import REST, Need, contains, holds, same, shows
from suite.context import CaseContext
from suite.doors import Door

BROKEN = decision("d", {"ghost": "end"})


# -- start


@shows("1.6 start-latest", "1.6 start-version")
async def version_of_a_start(context: CaseContext) -> None:
    id = await context.door.define(wait("old"), END)
    await context.door.define(wait("new"), END, id=id)
    asked: Sequence[tuple[Json, tuple[int, list[str]]]] = (
        ({}, (2, ["new"])),
        ({"definitionVersion": 0}, (2, ["new"])),
        ({"definitionVersion": -3}, (2, ["new"])),
        ({"definitionVersion": 1}, (1, ["old"])),
    )
    for more, wanted in asked:
        started = await context.door.begin(id, **more)
        same(f"started with {more}", (started["definitionVersion"], started["currentStepIds"]), wanted)


@shows("1.6 start-unknown-version")
async def unknown_version(context: CaseContext) -> None:
    id = await context.door.define(END)
    (await context.door.start({"definitionId": id, "definitionVersion": 7})).refused("version 7", "not-found")


@shows("1.6 start-null-variables", over=REST)
async def null_variables(context: CaseContext) -> None:
    id = await context.door.define(END)
    for body in ({"definitionId": id, "variables": None}, {"definitionId": id}):
        same("variables", (await context.door.start(body)).ok("start")["variables"], {})


@shows("1.6 start-business-key")
async def business_key(context: CaseContext) -> None:
    id = await context.door.define(END)
    first, second = [await context.door.begin(id, businessKey="the same") for _ in range(2)]
    same("both keys", (first.get("businessKey"), second.get("businessKey")), ("the same", "the same"))
    holds("two instances", first["id"] != second["id"], first["id"])
    holds("an empty key is none", "businessKey" not in await context.door.begin(id, businessKey=""), None)


@shows("1.6 start-runs-on", "5.1 instance-active", "5.2 chain-of-steps", "5.2 end")
async def runs_on(context: CaseContext) -> None:
    steps = (transformation("t", {"n": 1}, "d"), decision("d", {"n == 1 && way == 'work'": "a", "way == 'wait'": "w",
             "way == 'end'": "end"}), service("a"), wait("w"), END)  # fmt: skip
    id = await context.door.define(*steps)
    for way, status, current in (
        ("work", "ACTIVE", ["a"]),
        ("wait", "WAITING", ["w"]),
        ("end", "COMPLETED", []),
    ):
        started = await context.door.begin(id, {"way": way})
        same(f"start of {way}", (started["status"], started["currentStepIds"]), (status, current))
        same("n", started["variables"]["n"], 1)
        same("completedAt is there at the end only", "completedAt" in started, status == "COMPLETED")
    failed = await context.door.begin(id, {"way": "nowhere"})
    same("start that fails", failed["status"], "FAILED")


# -- cancel


@shows("1.6 cancel-fields", "5.1 instance-cancelled")
async def cancel(context: CaseContext) -> None:
    instance = await context.door.run(wait("w"), END)
    cancelled = (await context.door.cancel(instance["id"], "enough")).ok("cancel")
    same("status and reason", (cancelled["status"], cancelled.get("failureReason")), ("CANCELLED", "enough"))
    holds("completedAt", "completedAt" in cancelled, cancelled)
    same("currentStepIds", cancelled["currentStepIds"], [])
    same("read again", await context.door.read(instance), cancelled)


@shows("1.6 cancel-no-body")
async def cancel_without_reason(context: CaseContext) -> None:
    instance = await context.door.run(wait("w"), END)
    same("status", (await context.door.cancel(instance["id"])).ok("cancel")["status"], "CANCELLED")


async def _all_at_once(door: Door) -> Json:
    """An instance that has a job, a user task, a wait and timers."""
    soon = [timer("PT1S", "late", interrupting=True)]
    return await door.run(
        fork("g", ["a", "u", "w"], "j"),
        service("a", "j", boundaryEvents=soon), user_task("u", "j"), wait("w", "j", boundaryEvents=soon),
        join("j"), service("late"), END,
    )  # fmt: skip


@shows("5.8 closes-jobs", "5.8 closes-tasks", "6.1 ended-instances")
async def nothing_left_to_do(context: CaseContext) -> None:
    instance = await _all_at_once(context.door)
    (await context.door.cancel(instance["id"], "enough")).ok("cancel")
    same("jobs", await context.door.jobs(instance["definitionId"], "a"), [])
    (await context.door.user_task(instance["id"], "u")).refused("user task", "conflict")
    (await context.door.signal(instance["id"], "w")).refused("signal", "conflict")


@shows("5.8 closes-steps")
async def running_steps(context: CaseContext) -> None:
    instance = await _all_at_once(context.door)
    (await context.door.cancel(instance["id"], "enough")).ok("cancel")
    ended = {
        each["stepId"]: (each["status"], each["failureReason"]) for each in await context.door.trail(instance)
    }
    cancelled = ("FAILED", "instance cancelled")
    same("steps", ended, {"g": ("COMPLETED", None), "a": cancelled, "u": cancelled, "w": cancelled})


@shows("5.8 closes-timers", "5.6 ended-instance")
async def timers_of_an_ended_instance(context: CaseContext) -> None:
    instance = await _all_at_once(context.door)
    (await context.door.cancel(instance["id"], "enough")).ok("cancel")
    later = await _all_at_once(context.door)
    await context.door.until_entered(later, "late")
    same("steps", {each["stepId"] for each in await context.door.trail(instance)}, {"g", "a", "u", "w"})
    same("jobs", await context.door.jobs(instance["definitionId"], "late"), [])


# -- states


@shows("5.1 instance-waiting", "5.1 instance-resumed")
async def waiting_and_back(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(
        fork("g", ["a", "u", "w"], "j"),
        service("a", "j"),
        user_task("u", "j"),
        wait("w", "j"),
        join("j"),
        END,
    )
    same("status", instance["status"], "WAITING")
    (await door.user_task(instance["id"], "u")).ok("user task")
    await door.status_is(instance, "WAITING", ["a", "j", "w"])
    (await door.signal(instance["id"], "w")).ok("signal")
    await door.status_is(instance, "ACTIVE", ["a", "j"])
    await door.work_off(instance, "a")
    await door.status_is(instance, "COMPLETED", [])


@shows("5.1 instance-any-end")
async def any_end(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(fork("g", ["a", "w"], "j"), service("a"), wait("w", "j"), join("j"), END)
    await door.work_off(instance, "a")
    found = await door.status_is(instance, "COMPLETED", [])
    holds("no failureReason", "failureReason" not in found, found)
    (await door.signal(instance["id"], "w")).refused("a signal to the open branch", "conflict")


@shows("5.1 instance-failed")
async def ways_to_fail(context: CaseContext) -> None:
    same("an expression", (await context.door.run(BROKEN, END))["status"], "FAILED")
    same("no branch", (await context.door.run(decision("d", {"false": "end"}), END))["status"], "FAILED")
    same(
        "a transformation",
        (await context.door.run(transformation("t", {"x": "${ghost}"}), END))["status"],
        "FAILED",
    )
    instance = await context.door.run(service("a"), END)
    job = await context.door.lease(instance, "a")
    (await context.door.fail(job["id"], {"workerId": "w", "errorMessage": "broke"})).ok("fail")
    await context.door.status_is(instance, "FAILED", [])


@shows("5.1 instance-terminal")
async def an_end_is_never_left(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(
        fork("g", ["a", "b", "w"], "j"), service("a"), service("b", "j"), wait("w", "j"), join("j"), END
    )
    left = await door.lease(instance, "b")
    await door.work_off(instance, "a")
    ended = await door.status_is(instance, "COMPLETED", [])
    (await door.complete(left["id"], {"workerId": "w", "variables": {"x": 1}})).ok("a complete after the end")
    (await door.fail(left["id"], {"workerId": "w", "errorMessage": "late"})).ok("a fail after the end")
    (await door.cancel(instance["id"], "late")).refused("a cancel after the end", "conflict")
    same("the instance", await door.read(instance), ended)


@shows("5.1 job-cancelled", "5.1 user-task-states", needs=[Need.DATABASE])
async def what_an_end_closes(context: CaseContext) -> None:
    """By cancel, by failure, and by another branch's END."""
    door = context.door
    id = await door.define(
        fork("g", ["a", "b", "u"], "j"), service("a"), service("b", "j"), user_task("u", "j"), join("j"), END
    )
    cancelled, failed, completed = [await door.begin(id) for _ in range(3)]
    (await door.cancel(cancelled["id"], "x")).ok("cancel")
    for job in await door.jobs(id, "a"):
        if job["instanceId"] == failed["id"]:
            (await door.fail(job["id"], {"workerId": "w", "errorMessage": "broke"})).ok("fail")
        else:
            (await door.complete(job["id"], {"workerId": "w"})).ok("complete")
    for instance, status in ((cancelled, "CANCELLED"), (failed, "FAILED"), (completed, "COMPLETED")):
        await door.status_is(instance, status)
        (left,) = await context.rows(
            """SELECT (SELECT j.status FROM job j JOIN step_execution s ON s.id = j.step_execution_id
                       WHERE s.instance_id = %s AND s.step_id = 'b') AS job,
                      (SELECT status FROM user_task WHERE instance_id = %s) AS task""",
            *[instance["id"]] * 2,
        )
        same(f"what a {status} instance leaves", left, {"job": "CANCELLED", "task": "CANCELLED"})


@shows("5.1 user-task-states", "5.2 user-task-row", needs=[Need.DATABASE])
async def a_user_task_s_row(context: CaseContext) -> None:
    instance = await context.door.run(user_task("u"), END, variables={"x": 1})
    query = "SELECT status, step_id, payload FROM user_task WHERE instance_id = %s"
    same(
        "open",
        await context.rows(query, instance["id"]),
        [{"status": "OPEN", "step_id": "u", "payload": {"x": 1}}],
    )
    (await context.door.user_task(instance["id"], "u", {})).ok("user task")
    same("completed", [row["status"] for row in await context.rows(query, instance["id"])], ["COMPLETED"])


# -- history


@shows("5.10 order")
async def order_of_a_history(context: CaseContext) -> None:
    instance = await context.door.run(
        transformation("t1", {"x": 1}, "d1"), decision("d1", {"x == 1": "t2"}), transformation("t2", {"x": 2}, "d2"),
        decision("d2", {"x == 2": "w"}), wait("w"), END,
    )  # fmt: skip
    trail = await context.door.trail(instance)
    same("steps", [each["stepId"] for each in trail], ["t1", "d1", "t2", "d2", "w"])


@shows("5.2 attempt", "5.1 step-one-row")
async def entries_not_retries(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(
        service("a", "d", retryCount=2), decision("d", {"again": "a", "!again": "end"}), END
    )
    for again in (True, False):
        job = await door.lease(instance, "a")
        (await door.fail(job["id"], {"workerId": "w", "retryable": True})).ok("fail")
        await door.work_off(instance, "a", {"again": again})
    trail = [(each["stepId"], each["attemptNumber"]) for each in await door.trail(instance)]
    same("steps and attempts", trail, [("a", 1), ("d", 1), ("a", 2), ("d", 2), ("end", 1)])


# -- chaining


async def _started(door: Door, definition_id: str) -> list[Json]:
    found: list[Json] = (await door.instances(definitionId=definition_id)).ok("list")["items"]
    return found


def chained_to(definition_id: str) -> Json:
    return {"autoStartNextWorkflow": True, "nextWorkflowId": definition_id}


@shows("5.9 latest-and-variables", "5.9 no-business-key", "3.1 next-workflow")
async def chained(context: CaseContext) -> None:
    door = context.door
    child = await door.define(service("old"), END)
    parent = await door.define(service("a"), END, **chained_to(child))
    instance = await door.begin(parent, {"x": {"y": 1}}, businessKey="mine")
    await door.define(service("new"), END, id=child)
    same("started before the end", await _started(door, child), [])
    await door.work_off(instance, "a", {"z": 2})
    (started,) = await _started(door, child)
    same("version and step", (started["definitionVersion"], started["currentStepIds"]), (2, ["new"]))
    same("variables", started["variables"], {"x": {"y": 1}, "z": 2})
    holds("no business key", "businessKey" not in started, started)
    unused = await door.define(END, nextWorkflowId=child)
    same("status without the flag", (await door.begin(unused))["status"], "COMPLETED")
    same("still one instance", len(await _started(door, child)), 1)


@shows("5.9 any-end")
async def any_end_chains(context: CaseContext) -> None:
    child = await context.door.define(END)
    rejected = END | {"id": "rejected", "name": "rejected"}
    parent = await context.door.define(
        decision("d", {"ok": "end", "!ok": "rejected"}), END, rejected, **chained_to(child)
    )
    for ok in (True, False):
        same("status", (await context.door.begin(parent, {"ok": ok}))["status"], "COMPLETED")
    same(
        "started",
        sorted(each["variables"]["ok"] for each in await _started(context.door, child)),
        [False, True],
    )


@shows("5.9 not-cancelled")
async def no_chain_without_an_end(context: CaseContext) -> None:
    child = await context.door.define(END)
    parent = await context.door.define(wait("w", "d"), BROKEN, END, **chained_to(child))
    cancelled, failed = await context.door.begin(parent), await context.door.begin(parent)
    (await context.door.cancel(cancelled["id"], "x")).ok("cancel")
    (await context.door.signal(failed["id"], "w")).ok("signal")
    await context.door.status_is(failed, "FAILED")
    same("started", await _started(context.door, child), [])


@shows("5.9 missing", "3.1 auto-start")
async def chain_to_nowhere(context: CaseContext) -> None:
    instance = await context.door.run(END, **chained_to("no-such"))
    same("status", instance["status"], "COMPLETED")


@shows("5.9 missing-recorded", over=REST, needs=[Need.DATABASE, Need.LOG])
async def chain_to_nowhere_is_told(context: CaseContext) -> None:
    instance = await context.door.run(END, **chained_to("no-such"))
    details = await context.rows("SELECT detail::text FROM audit_log WHERE instance_id = %s", instance["id"])
    contains("audit rows", details, "no-such")

    def told() -> list[Json]:
        lines = context.log(instance_id=instance["id"])
        return [line for line in lines if line["level"] in {"WARN", "ERROR"} and "no-such" in line.values()]

    await eventually(told)
