"""Cases that press on memory, time and leases instead of on one reader: recipes that `pressure.py` carries out.

What is sent is JSON that says what to do: a flood of twenty bodies is kept, made smaller and run again like any case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec
from broken_json import HUGE_NUMBERS, pick
from case import Case, Surface
from hypothesis import strategies as st
from slow_road import Manner

Door = Literal["rest", "grpc"]
Place = Literal["start", "complete", "signal", "user task", "definition"]
Filler = Literal["arrays", "objects", "texts", "nulls", "exponents"]
Told = Literal["poll", "list", "history", "instance"]

KIB, MIB = 1024, 1024 * 1024
BODY_BYTES_MAX = 16 * MIB
"""The default limit; a body of this family stays just below it with what is around its filling."""
FILLED_BYTES_MAX = BODY_BYTES_MAX - 4 * KIB
FLOOD_BYTES_MAX = 360 * MIB
"""Of all bodies of one flood: the machine of whoever runs it is not on trial."""
STORED_BYTES_MAX = 48 * MIB
"""What one case puts into the database to be read again."""
HISTORY_STEPS_MAX = 600


class Numbers(msgspec.Struct, frozen=True, tag=True):
    """A number at the edge of a double, or beyond it, somewhere inside the variables."""

    door: Door
    place: Place
    number: str
    nesting: list[Literal["array", "object"]]


class HollowBody(msgspec.Struct, frozen=True, tag=True):
    """Many small values: cheap to send, dear to hold as objects, or as digits."""

    door: Door
    place: Place
    filler: Filler
    size_bytes: int


class BodyFlood(msgspec.Struct, frozen=True, tag=True):
    """Large starts at once, small ones beside them."""

    doors: list[Door]
    calls: int
    size_bytes: int
    filler: Filler | Literal["one text"]


class PipelinedUpgrades(msgspec.Struct, frozen=True, tag=True):
    """Calls on one connection that all offer to speak something else."""

    calls: int
    protocol: str
    body_bytes: int
    #: makes what a log would say of them longer
    query_chars: int


class SlowBodies(msgspec.Struct, frozen=True, tag=True):
    """Nearly whole bodies whose rest does not come; a newcomer is served meanwhile."""

    clients: int
    told_bytes: int
    missing_bytes: int
    manner: Manner
    door: Door = "rest"


class CancelledPolls(msgspec.Struct, frozen=True, tag=True):
    """Waiting polls whose callers go away just when there are jobs for them."""

    door: Door
    polls: int
    manner: Literal["closed", "half-closed"]
    #: between a start and the end of its poll: from so long before to so long after
    spread_ms: int


class LargeAnswers(msgspec.Struct, frozen=True, tag=True):
    """Asks for all that there is, at once, of what is large when it is taken together."""

    door: Door
    told: Told
    count: int
    size_bytes: int
    at_once: int


Recipe = Numbers | HollowBody | BodyFlood | PipelinedUpgrades | SlowBodies | CancelledPolls | LargeAnswers
_decoder: msgspec.json.Decoder[Recipe] = msgspec.json.Decoder(Recipe)


def case_of(surface: Surface, kind: str, recipe: Recipe) -> Case:
    return Case(surface, kind, msgspec.json.encode(recipe))


def recipe_of(case: Case) -> Recipe:
    return _decoder.decode(case.sent)


_doors = st.sampled_from(get_args(Door))
_fillers = st.sampled_from(get_args(Filler))


@st.composite
def numbers(draw: st.DrawFn) -> Case:
    digits = st.integers(300, 320).flatmap(
        lambda count: st.sampled_from(("9" * count, "1" + "0" * count, "-" + "8" * count))
    )
    exponents = st.integers(300, 400).map(lambda exponent: f"1.{'7' * 20}e{exponent}")
    number = draw(pick(HUGE_NUMBERS) | digits | exponents)
    recipe = Numbers(
        draw(_doors),
        draw(st.sampled_from(get_args(Place))),
        number,
        draw(st.lists(st.sampled_from(("array", "object")), max_size=5)),
    )
    return case_of("numbers", f"{recipe.door} {recipe.place}: number of {len(number)} characters", recipe)


@st.composite
def hollow_bodies(draw: st.DrawFn) -> Case:
    size_bytes = draw(st.sampled_from((64 * KIB, MIB, 4 * MIB, 15 * MIB)) | st.integers(1, FILLED_BYTES_MAX))
    recipe = HollowBody(draw(_doors), draw(st.sampled_from(get_args(Place))), draw(_fillers), size_bytes)
    return case_of("hollow-bodies", f"{recipe.door} {recipe.place}: empty {recipe.filler}", recipe)


@st.composite
def body_floods(draw: st.DrawFn) -> Case:
    size_bytes = draw(st.sampled_from((MIB, 5 * MIB, 15 * MIB)) | st.integers(1, FILLED_BYTES_MAX))
    recipe = BodyFlood(
        draw(st.sampled_from((["rest"], ["grpc"], ["rest", "grpc"]))),
        draw(st.integers(2, min(64, FLOOD_BYTES_MAX // size_bytes))),
        size_bytes,
        draw(_fillers | st.just("one text")),
    )
    return case_of("body-floods", f"{'+'.join(recipe.doors)} of {recipe.filler}", recipe)


@st.composite
def pipelined_upgrades(draw: st.DrawFn) -> Case:
    recipe = PipelinedUpgrades(
        draw(st.sampled_from((1, 2, 16, 17, 490, 600)) | st.integers(1, 600)),
        draw(st.sampled_from(("h2c", "websocket", "TLS/1.0, HTTP/1.1", "x" * 500))),
        draw(st.sampled_from((0, 2, 1_000))),
        draw(st.sampled_from((0, 600))),
    )
    return case_of("pipelined-upgrades", f"Upgrade: {recipe.protocol[:20]}", recipe)


@st.composite
def slow_bodies(draw: st.DrawFn) -> Case:
    told_bytes = draw(st.sampled_from((1_000, MIB, 15 * MIB)) | st.integers(2, FILLED_BYTES_MAX))
    recipe = SlowBodies(
        draw(st.integers(1, min(60, FLOOD_BYTES_MAX // told_bytes))),
        told_bytes,
        min(told_bytes, draw(st.sampled_from((1, 2, 1_000)))),
        draw(st.sampled_from(get_args(Manner))),
        draw(_doors),
    )
    return case_of("slow-bodies", f"{recipe.door} {recipe.manner}", recipe)


@st.composite
def cancelled_polls(draw: st.DrawFn) -> Case:
    door = draw(_doors)
    recipe = CancelledPolls(
        door,
        draw(st.integers(20, 200)),
        draw(st.sampled_from(("closed", "half-closed") if door == "rest" else ("closed",))),
        draw(st.sampled_from((1, 5, 20))),
    )
    return case_of("cancelled-polls", f"{door} {recipe.manner}", recipe)


@st.composite
def large_answers(draw: st.DrawFn) -> Case:
    told: Told = draw(st.sampled_from(get_args(Told)))
    if told == "history":
        count = draw(st.sampled_from((50, 200, HISTORY_STEPS_MAX)))
        size_bytes = draw(st.sampled_from((KIB, 100 * KIB)))
    else:
        size_bytes = draw(st.sampled_from((KIB, 100 * KIB, MIB, 5 * MIB, 15 * MIB)))
        count = draw(st.integers(1, min(300, STORED_BYTES_MAX // size_bytes)))
    recipe = LargeAnswers(draw(_doors), told, count, size_bytes, draw(st.integers(1, 4)))
    return case_of("large-answers", f"{recipe.door} {told}", recipe)


STRATEGIES: Mapping[Surface, st.SearchStrategy[Case]] = {
    "numbers": numbers(),
    "hollow-bodies": hollow_bodies(),
    "body-floods": body_floods(),
    "pipelined-upgrades": pipelined_upgrades(),
    "slow-bodies": slow_bodies(),
    "cancelled-polls": cancelled_polls(),
    "large-answers": large_answers(),
}
LIGHT: Sequence[Case] = (
    case_of("hollow-bodies", "exponents", HollowBody("rest", "start", "exponents", 15 * MIB)),
    case_of("hollow-bodies", "gRPC", HollowBody("grpc", "start", "objects", 4 * MIB)),
    case_of("pipelined-upgrades", "many", PipelinedUpgrades(490, "h2c", 0, 600)),
    case_of("slow-bodies", "REST", SlowBodies(20, 15 * MIB, 1, "held")),
    case_of("slow-bodies", "gRPC", SlowBodies(20, 15 * MIB, 1_000, "held", "grpc")),
    case_of("large-answers", "polls", LargeAnswers("grpc", "poll", 60, 100 * KIB, 1)),
    case_of("large-answers", "one of four is large", LargeAnswers("grpc", "poll", 4, 5 * MIB, 1)),
)
HEAVY: Sequence[Case] = (
    case_of("hollow-bodies", "REST", HollowBody("rest", "start", "arrays", 15 * MIB)),
    case_of("body-floods", "REST", BodyFlood(["rest"], 12, 12 * MIB, "one text")),
    case_of("body-floods", "gRPC", BodyFlood(["grpc"], 12, 12 * MIB, "one text")),
    case_of("large-answers", "lists", LargeAnswers("rest", "list", 20, 2 * MIB, 4)),
    case_of("large-answers", "history", LargeAnswers("rest", "history", 300, 100 * KIB, 1)),
)
"""One or two of each, as an adversary found them, for the part that runs with the tests: those that take little of a
machine, and the others. Polls given up are not among them: how many answers are on the way at that moment depends on
who else uses the machine, and tests/integration has them one by one.
"""
