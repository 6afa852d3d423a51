"""Contract 3: what a definition may hold, every rule that refuses one, and versions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from workflow import (
    END,
    Json,
    decision,
    document,
    fork,
    join,
    service,
    step,
    timer,
    transformation,
    user_task,
    wait,
)

from suite.case import BOTH, REST, add, contains, holds, same, shows
from suite.context import CaseContext
from suite.doors import fresh_id

ALARM = timer("PT1H", "end", interrupting=True)


def _with(event: Json) -> Json:
    return document("r", wait("w", boundaryEvents=[event]), END)


RULES: Mapping[str, tuple[Json, str]] = {
    "rule-1-required": (document("", END), "id is required"),
    "rule-1-charset": (document("not an id", END), "id must match"),
    "rule-2": (document("r", END, name=""), "name is required"),
    "rule-4": (
        document("r", END, autoStartNextWorkflow=True),
        "nextWorkflowId is required when autoStartNextWorkflow",
    ),
    "rule-5": (document("r", step("", "END")), "step[0] id is required"),
    "rule-6": (document("r", service("a"), service("a"), END), "duplicate step id"),
    "rule-7": (document("r", service("a", name=""), END), "step a: name is required"),
    "rule-9": (document("r", step("a", "SERVICE_TASK", "end"), END), "jobType is required"),
    "rule-10-empty": (document("r", decision("d", {}), END), "conditionalNextSteps must not be empty"),
    "rule-10-unknown": (document("r", decision("d", {"true": "ghost"}), END), "references unknown step"),
    "rule-11-next": (
        document("r", step("t", "TRANSFORMATION", transformations={"x": 1}), END),
        "nextStep is required",
    ),
    "rule-11-empty": (document("r", transformation("t", {}), END), "transformations must not be empty"),
    "rule-12-wait": (document("r", wait("w", None), END), "nextStep is required"),
    "rule-12-join": (
        document(
            "r",
            fork("g", ["a", "b"], "j"),
            service("a", "j"),
            service("b", "end"),
            step("j", "JOIN_GATEWAY"),
            END,
        ),
        "nextStep is required",
    ),
    "rule-13-branches": (
        document("r", fork("g", ["a"], "j"), service("a", "j"), join("j"), END),
        "must have at least 2 entries",
    ),
    "rule-13-join": (
        document(
            "r", step("g", "PARALLEL_GATEWAY", parallelNextSteps=["a", "b"]), service("a"), service("b"), END
        ),
        "joinStep is required",
    ),
    "rule-14-next": (document("r", service("a", "ghost"), END), "references unknown step"),
    "rule-14-join": (
        document("r", fork("g", ["a", "b"], "ghost"), service("a"), service("b"), END),
        "references unknown",
    ),
    "rule-14-parallel": (
        document("r", fork("g", ["a", "ghost"], "j"), service("a", "j"), join("j"), END),
        "references unknown step",
    ),
    "rule-14-boundary": (_with(ALARM | {"targetStepId": "ghost"}), "references unknown step"),
    "rule-15-duration": (_with(ALARM | {"duration": ""}), "duration is required"),
    "rule-15-target": (_with(ALARM | {"targetStepId": ""}), "targetStepId is required"),
    "rule-16": (document("r", END, wait("island")), "step island is unreachable"),
    "rule-17": (document("r", wait("w", "v"), wait("v", "w")), "no END step is reachable"),
    "added-refs": (
        document("r", service("a", conditionalNextSteps={"true": "ghost"}), END),
        "references unknown step",
    ),
}
ONLY_IN_JSON: Mapping[str, tuple[Json, str]] = {
    "rule-8": (document("r", step("a", "SCRIPT_TASK", "end"), END), "step a: unsupported type"),
    "rule-15-type": (_with(ALARM | {"type": "SIGNAL"}), "unsupported type"),
}
"""What a message with numbered enums cannot say."""


async def refused_with(context: CaseContext, broken: Json, gist: str) -> str:
    text = (await context.door.upload(broken)).refused("upload", "bad-request")
    contains("text", text, gist)
    return text


def _rule(name: str, broken: Json, gist: str) -> None:
    async def run(context: CaseContext) -> None:
        await refused_with(context, broken, gist)

    add(f"3.5 {name}", run=run, over=REST if name in ONLY_IN_JSON else BOTH, shown_by="RULES")


for name, (broken, gist) in {**RULES, **ONLY_IN_JSON}.items():
    _rule(name, broken, gist)


@shows("3.5 rule-1-long", "3.1 id")
async def length_of_an_id(context: CaseContext) -> None:
    longest = (fresh_id() + "A-z_0:" + "x" * 256)[:256]
    same(
        "version of the longest id",
        (await context.door.upload(document(longest, END))).ok("upload")["version"],
        1,
    )
    text = await refused_with(context, document(longest + "x", END), "too long")
    contains("text", text, "257")


@shows("3.5 rule-3", "3.1 steps")
async def no_steps(context: CaseContext) -> None:
    text = await refused_with(context, {"id": "r", "name": "r", "steps": []}, "steps must not be empty")
    holds("checking stops there", "END" not in text, text)


@shows("3.5 all-at-once")
async def every_violation(context: CaseContext) -> None:
    broken = document("not an id", service("a", "ghost", name=""), wait("w", None), name="")
    text = (await context.door.upload(broken)).refused("upload", "bad-request")
    for gist in ("id must match", "name is required", "step a: name is required", "references unknown step",
                 "nextStep is required", "unreachable", "no END step"):  # fmt: skip
        contains("text", text, gist)


@shows("3.5 expressions-later")
async def syntax_is_met_at_run_time(context: CaseContext) -> None:
    instance = await context.door.run(decision("d", {"this is ) no expression": "end"}), END)
    same("status", instance["status"], "FAILED")


# -- fields


@shows("3.1 version", "3.1 name", "3.1 description", "3.1 metadata", "3.2 description", "3.2 delegate-class")
async def kept_and_assigned(context: CaseContext) -> None:
    id = fresh_id()
    told = document(
        id, service("a", description="step's", delegateClass="x.Y"), END,
        name="its name", description="its own", metadata={"a": [{"b": None}]},
    )  # fmt: skip
    same("version", (await context.door.upload({**told, "version": 42})).ok("upload")["version"], 1)
    same("definition", (await context.door.definition(id)).ok("get"), {**told, "version": 1})


@shows("3.2 id")
async def any_step_id(context: CaseContext) -> None:
    odd = "step: one/two \u00fc " + "x" * 300
    instance = await context.door.run(wait(odd), END)
    same("currentStepIds", instance["currentStepIds"], [odd])


@shows("3.2 types")
async def the_eight_types(context: CaseContext) -> None:
    door = context.door
    instance = await door.run(
        transformation("t", {"x": 1}, "d"), decision("d", {"x == 1": "g"}), fork("g", ["a", "u"], "j"),
        service("a", "j"), user_task("u", "w"), wait("w", "j"), join("j"), END,
    )  # fmt: skip
    await door.work_off(instance, "a")
    (await door.user_task(instance["id"], "u")).ok("user task")
    (await door.signal(instance["id"], "w")).ok("signal")
    await door.status_is(instance, "COMPLETED", [])
    types = {each["stepType"] for each in await door.trail(instance)}
    same("types", types, {"TRANSFORMATION", "DECISION", "PARALLEL_GATEWAY", "SERVICE_TASK", "USER_TASK", "WAIT",
                          "JOIN_GATEWAY", "END"})  # fmt: skip


@shows("3.2 conditional-precedence")
async def conditions_of_parked_steps(context: CaseContext) -> None:
    ways = {"way == 1": "w"}
    task = await context.door.run(user_task("u", "x", conditionalNextSteps=ways), wait("x"), wait("w"), END)
    (await context.door.user_task(task["id"], "u", {"way": 1})).ok("user task")
    await context.door.status_is(task, "WAITING", ["w"])
    parked = await context.door.run(wait("u", "x", conditionalNextSteps=ways), wait("x"), wait("w"), END)
    (await context.door.signal(parked["id"], "u", {"way": 1})).ok("signal")
    await context.door.status_is(parked, "WAITING", ["w"])


@shows("3.2 next-step")
async def task_without_next_step(context: CaseContext) -> None:
    instance = await context.door.run(user_task("u", None, boundaryEvents=[ALARM]), END)
    (await context.door.user_task(instance["id"], "u")).ok("user task")
    await context.door.status_is(instance, "ACTIVE", [])


@shows("3.2 transformations", "3.2 parallel")
async def enough_of_each(context: CaseContext) -> None:
    await refused_with(context, *RULES["rule-11-empty"])
    await refused_with(context, *RULES["rule-13-branches"])


@shows("3.2 join-step-type")
async def join_step_of_another_type(context: CaseContext) -> None:
    broken = document(
        "r", fork("g", ["a", "b"], "c"), service("a", "c"), service("b", "c"), service("c"), END
    )
    await refused_with(context, broken, "JOIN_GATEWAY")


@shows("3.2 job-type-label")
async def label_of_a_user_task(context: CaseContext) -> None:
    instance = await context.door.run(user_task("u", jobType="u"), END)
    same("status", instance["status"], "WAITING")
    same("jobs", await context.door.jobs(instance["definitionId"], "u"), [])


@shows("3.2 retry-count")
async def retry_counts(context: CaseContext) -> None:
    instance = await context.door.run(service("a"), END)
    same("by default", (await context.door.lease(instance, "a"))["retriesRemaining"], 0)
    await refused_with(context, document("r", service("a", retryCount=-1), END), "retryCount")


@shows("3.3 type", over=REST)
async def timers_only(context: CaseContext) -> None:
    await refused_with(context, *ONLY_IN_JSON["rule-15-type"])


@shows("3.3 target")
async def target_is_an_edge(context: CaseContext) -> None:
    await context.door.define(
        wait("w", boundaryEvents=[timer("PT1H", "late", interrupting=True)]), wait("late"), END
    )
    await refused_with(context, *RULES["rule-14-boundary"])


def _durations(name: str, values: tuple[str, ...]) -> None:
    async def run(context: CaseContext) -> None:
        for value in values:
            (await context.door.upload(_with(ALARM | {"duration": value}))).refused(
                f"duration {value}", "bad-request"
            )

    add(f"3.3 {name}", run=run, shown_by="DURATIONS")


DURATIONS: Mapping[str, tuple[str, ...]] = {
    "duration-calendar": ("P1Y", "P1M", "P1Y2M", "P1YT1H"),
    "duration-zero": ("PT0S", "P0D", "PT0.0S", "P0DT0H0M0S"),
    "duration-malformed": ("1H", "PT", "P", "PT1", "P1H", "PT-1S", "pt1s ", "P1DT", "PT1S1M", "soon"),
}

for name, values in DURATIONS.items():
    _durations(name, values)


@shows("3.4 required")
async def job_type_is_required(context: CaseContext) -> None:
    await refused_with(context, *RULES["rule-9"])


# -- versions


@shows("3.6 new", "3.6 different", "3.6 older")
async def versions_count_up(context: CaseContext) -> None:
    id = fresh_id()
    documents = [document(id, END, description=text) for text in ("first", "second", "first", "third")]
    got = [(await context.door.upload(each)).ok("upload")["version"] for each in documents]
    same("versions", got, [1, 2, 1, 3])
    same("the latest", (await context.door.definition(id)).ok("get")["description"], "third")


@shows("3.6 equal", over=REST)
async def equal_content(context: CaseContext) -> None:
    id = fresh_id()
    first = (await context.rest.send("POST", "/v1/definitions", document(id, END))).ok("upload")
    shuffled = f'{{ "steps":[{{"type":"END", "name" : "end","id":"end"}}] ,\n"name":"{id}","id":"{id}"}}'
    again = (await context.rest.send("POST", "/v1/definitions", shuffled.encode())).ok("upload")
    same("summary", again, first)
    same("versions stored", (await context.door.definition(id)).ok("get")["version"], 1)


@shows("3.6 at-once")
async def uploads_at_once(context: CaseContext) -> None:
    id = fresh_id()
    documents = [document(id, END, description=str(number)) for number in range(6)]
    answers = await asyncio.gather(*(context.door.upload(each) for each in documents))
    same("versions", sorted(answer.ok("upload")["version"] for answer in answers), [1, 2, 3, 4, 5, 6])


@shows("3.6 pinned")
async def an_instance_keeps_its_version(context: CaseContext) -> None:
    instance = await context.door.run(wait("w", "old"), wait("old"), END)
    await context.door.define(wait("w", "new"), wait("new"), END, id=instance["definitionId"])
    (await context.door.signal(instance["id"], "w")).ok("signal")
    await context.door.status_is(instance, "WAITING", ["old"])
