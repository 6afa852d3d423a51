"""Contract 5.7: a join waits for every branch of its own activation."""

from __future__ import annotations

import asyncio

from workflow import END, decision, document, fork, join, service, transformation

from suite.case import same, shows
from suite.context import CaseContext
from suite.doors import fresh_id


@shows("5.7 all-branches", "5.7 current-once", "5.7 row-per-arrival")
async def every_branch(context: CaseContext) -> None:
    door = context.door
    names = ["a", "b", "c"]
    instance = await door.run(
        fork("g", names, "j"), *(service(name, "j") for name in names), join("j", "z"), service("z"), END
    )
    same("after the gateway", instance["currentStepIds"], names)
    for name, current in (("b", ["a", "c", "j"]), ("a", ["c", "j"]), ("c", ["z"])):
        await door.work_off(instance, name, {name: 1, "last": name})
        await door.status_is(instance, "ACTIVE", current)
    found = await door.read(instance)
    same("variables", found["variables"], {"a": 1, "b": 1, "c": 1, "last": "c"})
    joins = [each for each in await door.trail(instance) if each["stepId"] == "j"]
    same("rows of the join", [(each["attemptNumber"], each["status"]) for each in joins],
         [(1, "COMPLETED"), (2, "COMPLETED"), (3, "COMPLETED")])  # fmt: skip


@shows("5.7 long-branches")
async def branches_of_several_steps(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(
        fork("g", ["a1", "b1"], "j"), service("a1", "a2"), service("a2", "a3"),
        transformation("a3", {"a": 1}, "j"), service("b1", "b2"), service("b2", "j"), join("j", "z"), service("z"), END,
    )  # fmt: skip
    for name, current in (("a1", ["a2", "b1"]), ("b1", ["a2", "b2"]), ("a2", ["b2", "j"]), ("b2", ["z"])):
        await door.work_off(instance, name)
        await door.status_is(instance, "ACTIVE", current)
    await door.work_off(instance, "z")
    steps = [each["stepId"] for each in await door.trail(instance)]
    same("rows of j, z and end", [steps.count(name) for name in ("j", "z", "end")], [2, 1, 1])


@shows("5.7 at-once")
async def branches_at_once(context: CaseContext) -> None:
    door = context.door
    names = [f"b{number}" for number in range(6)]
    instance = await door.run(
        fork("g", names, "j"), *(service(name, "j") for name in names), join("j", "z"), service("z"), END
    )
    jobs = await door.jobs(instance["definitionId"], *names)
    await asyncio.gather(
        *(door.complete(job["id"], {"workerId": "w", "variables": {job["stepId"]: True}}) for job in jobs)
    )
    (job,) = await door.jobs(instance["definitionId"], "z")
    same("variables after the join", job["variables"], dict.fromkeys(names, True))


@shows("5.7 loop", "3.5 cycles")
async def again_in_a_loop(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(
        fork("g", ["a", "b"], "j"), service("a", "j"), service("b", "j"), join("j", "d"),
        decision("d", {"again": "g", "!again": "end"}), END,
    )  # fmt: skip
    for again in (True, False):
        await door.work_off(instance, "a")
        await door.status_is(instance, "ACTIVE", ["b", "j"])
        await door.work_off(instance, "b", {"again": again})
    await door.status_is(instance, "COMPLETED", [])
    trail = await door.trail(instance)
    same("attempts of g", [each["attemptNumber"] for each in trail if each["stepId"] == "g"], [1, 2])
    same("attempts of j", [each["attemptNumber"] for each in trail if each["stepId"] == "j"], [1, 2, 3, 4])


@shows("5.7 nested")
async def gateways_inside_gateways(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(
        fork("outer", ["inner", "c"], "j1"), fork("inner", ["a", "b"], "j2"), service("a", "j2"), service("b", "j2"),
        join("j2", "d"), service("d", "j1"), service("c", "j1"), join("j1"), END,
    )  # fmt: skip
    for name, current in (("a", ["b", "c", "j2"]), ("c", ["b", "j1", "j2"]), ("b", ["d", "j1"])):
        await door.work_off(instance, name)
        await door.status_is(instance, "ACTIVE", current)
    await door.work_off(instance, "d")
    await door.status_is(instance, "COMPLETED", [])


@shows("5.7 join-alone")
async def a_join_of_nobody(context: CaseContext) -> None:
    broken = document(fresh_id(), service("a", "j"), join("j"), END)
    (await context.door.upload(broken)).refused("a join that no gateway names", "bad-request")
