"""Contract 5.6 and 3.3: timers fire after their time, once, and only into what still runs."""

from __future__ import annotations

from datetime import datetime, timedelta

from workflow import END, Json, decision, service, timer, user_task, wait

from suite.case import Need, holds, same, shows
from suite.context import CaseContext

INTERRUPTED = "interrupted by boundary timer"
SOON = "PT0.3S"


def _alarm(target: str, *, interrupting: bool, duration: str = SOON) -> Json:
    return {"boundaryEvents": [timer(duration, target, interrupting=interrupting)]}


@shows("5.6 non-interrupting")
async def beside_the_step(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(user_task("p", **_alarm("late", interrupting=False)), service("late"), END)
    await door.until_entered(instance, "late")
    await door.status_is(instance, "WAITING", ["late", "p"])
    (await door.user_task(instance["id"], "p", {"x": 1})).ok("the parent is still open")
    await door.status_is(instance, "COMPLETED")


@shows("5.6 interrupting")
async def instead_of_the_step(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(wait("p", **_alarm("late", interrupting=True)), service("late"), END)
    await door.until_entered(instance, "late")
    await door.status_is(instance, "ACTIVE", ["late"])
    parent = (await door.trail(instance))[0]
    same("the parent", (parent["stepId"], parent["status"]), ("p", "FAILED"))
    same("its reason", parent["failureReason"], INTERRUPTED)
    (await door.signal(instance["id"], "p")).refused("a signal to it", "conflict")


@shows("5.6 interrupting-user-task")
async def an_interrupted_user_task(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(user_task("p", **_alarm("late", interrupting=True)), service("late"), END)
    await door.until_entered(instance, "late")
    (await door.user_task(instance["id"], "p")).refused("a completion of it", "not-found")
    await door.status_is(instance, "ACTIVE", ["late"])


@shows("5.6 ended-step")
async def after_the_step(context: CaseContext) -> None:
    """A later instance's timer has fired, so the earlier one's has had its time."""
    door = context.door
    id = await door.define(
        wait("p", "after", **_alarm("late", interrupting=True)), wait("after"), wait("late"), END
    )
    instance = await door.begin(id)
    (await door.signal(instance["id"], "p")).ok("signal")
    await door.until_entered(await door.begin(id), "late")
    same("steps", [each["stepId"] for each in await door.trail(instance)], ["p", "after"])
    await door.status_is(instance, "WAITING", ["after"])


@shows("5.1 timer-rows", needs=[Need.DATABASE])
async def rows_of_ended_steps(context: CaseContext) -> None:
    alarm = _alarm("end", interrupting=True, duration="PT1H")
    instance = await context.door.run(wait("p", "q", **alarm), wait("q", **alarm), END)
    (await context.door.signal(instance["id"], "p")).ok("signal")
    query = "SELECT count(*) FROM boundary_event_schedule WHERE instance_id = %s AND NOT fired"
    same("timers that may fire", (await context.rows(query, instance["id"]))[0]["count"], 1)
    (await context.door.cancel(instance["id"], "x")).ok("cancel")
    same("after the end", (await context.rows(query, instance["id"]))[0]["count"], 0)


@shows("5.6 to-end")
async def a_timer_that_ends_the_instance(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(user_task("p", **_alarm("late", interrupting=False)), service("late"), END)
    await door.until_entered(instance, "late")
    await door.work_off(instance, "late")
    await door.status_is(instance, "COMPLETED", [])


@shows("5.6 not-early")
async def not_before_its_time(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(
        wait("p", **_alarm("late", interrupting=False, duration="PT1.5S")), wait("late"), END
    )
    fired = await door.until_entered(instance, "late")
    parent = (await door.trail(instance))[0]
    after = datetime.fromisoformat(fired["startedAt"]) - datetime.fromisoformat(parent["startedAt"])
    holds("entered at 1.5 s or later", after >= timedelta(seconds=1.5), after)


@shows("3.3 duration-accepted")
async def durations(context: CaseContext) -> None:
    for duration in ("PT48H", "PT1H30M", "PT0.5S", "P7D", "P1W", "P1DT2H", "PT90M", "P1DT2H3M4.5S"):
        await context.door.define(wait("p", **_alarm("end", interrupting=True, duration=duration)), END)


@shows("3.2 boundary-elsewhere")
async def events_where_nothing_waits(context: CaseContext) -> None:
    alarm = _alarm("end", interrupting=True, duration="PT0.1S")
    id = await context.door.define(
        decision("d", {"true": "w"}) | alarm, wait("w", **_alarm("late", interrupting=False)),
                                 wait("late"), END)  # fmt: skip
    instance = await context.door.begin(id)
    await context.door.until_entered(instance, "late")
    await context.door.status_is(instance, "WAITING", ["late", "w"])
