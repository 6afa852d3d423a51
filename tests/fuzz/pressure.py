"""Carries out the recipes of `pressure_cases.py`, and judges what the engine did meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pressure_bodies
import pressure_jobs
from case import Case
from oracle import Broken, judge_log_bytes
from pressure_calls import Doors
from pressure_cases import recipe_of
from subject import Subject

READ_TIMEOUT_S = 3.0
CASE_WITHIN_S = 120.0
"""Also on a busy machine: a case that never ends would end no run of the tests."""

VARIABLES = {
    # The limits that an operator gets who sets none; what takes time is shorter.
    "WINDLASS_BODY_BYTES_MAX": str(16 * 1024 * 1024),
    "WINDLASS_READ_TIMEOUT_SECONDS": f"{READ_TIMEOUT_S:g}",
    "WINDLASS_LONG_POLL_SECONDS_MAX": "3",
}

Family = Callable[[Doors, Any, Subject], Awaitable[int]]
"""Carries out a recipe and returns how many calls that took. Raises Broken."""

FAMILIES: Mapping[str, Family] = {
    "Numbers": pressure_jobs.numbers,
    "HollowBody": pressure_bodies.hollow_body,
    "BodyFlood": pressure_bodies.body_flood,
    "PipelinedUpgrades": pressure_bodies.pipelined_upgrades,
    "SlowBodies": pressure_bodies.slow_bodies,
    "CancelledPolls": pressure_jobs.cancelled_polls,
    "LargeAnswers": pressure_jobs.large_answers,
}


def carry_out(case: Case, subject: Subject) -> None:
    """Leaves no instance behind. Raises Broken."""
    before_bytes = subject.log_bytes()
    try:
        calls = asyncio.run(_carried_out(case, subject))
    finally:
        subject.clear()
    judge_log_bytes(subject.log_bytes() - before_bytes, calls)


async def _carried_out(case: Case, subject: Subject) -> int:
    recipe = recipe_of(case)
    try:
        async with asyncio.timeout(CASE_WITHIN_S), Doors(subject.rest_port, subject.grpc_port) as doors:
            return await FAMILIES[type(recipe).__name__](doors, recipe, subject)
    except TimeoutError:
        raise Broken("in time", f"not carried out within {CASE_WITHIN_S:g} s") from None
