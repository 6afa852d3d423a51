"""Running cases, and what came of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from suite import cases, contract
from suite.case import Case, Differs, Transport
from suite.context import CaseContext
from suite.target import Target

CASE_WITHIN_S = 120.0
AT_ONCE = 8


class Outcome(StrEnum):
    SAME = "same"
    DIFFERS = "differs"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Result:
    """`text` is the difference, or why it was not tried."""

    row: contract.Row
    transport: Transport | None
    outcome: Outcome
    text: str = ""


def chosen(patterns: Sequence[str]) -> list[Case]:
    """The cases with a row that matches any of the patterns, all of them without one."""
    return [case for case in cases.CASES if any(contract.matches(row, patterns) for row in case.rows)]


async def play(target: Target, case: Case, transport: Transport) -> None:
    """Raises Differs, or another AssertionError, when the engine differs."""
    door = target.rest if transport is Transport.REST else target.grpc
    assert door is not None, f"no {transport} door; ask target.lacks() first"
    await asyncio.wait_for(case.run(CaseContext(target, door, target.boots)), CASE_WITHIN_S)


async def judge(target: Target, case: Case, transport: Transport) -> tuple[Outcome, str]:
    """What came of it: the difference, or why it was not tried."""
    if reason := target.lacks(case, transport):
        return Outcome.NOT_TRIED, reason
    try:
        await play(target, case, transport)
    except Differs as difference:
        return Outcome.DIFFERS, str(difference)
    except TimeoutError:
        return Outcome.DIFFERS, f"no end of it within {CASE_WITHIN_S:g} s"
    except KeyError as missing:
        return Outcome.DIFFERS, f"an answer lacks {missing}"
    except Exception as error:
        # An answer that no case foresaw, a closed connection, a body that is no JSON: the engine differs.
        return Outcome.DIFFERS, f"{type(error).__name__}: {error}"
    return Outcome.SAME, ""


async def run(
    target: Target, cases: Sequence[Case], told: Callable[[Outcome], None] = lambda _: None
) -> list[Result]:
    """Several cases at once, each with definitions of its own; `told` is called at the end of each."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case, transport: Transport) -> list[Result]:
        async with gate:
            judged = await judge(target, case, transport)
        told(judged[0])
        return [Result(row, transport, *judged) for row in case.rows]

    plays = [one(case, transport) for case in cases for transport in case.transports]
    return [result for results in await asyncio.gather(*plays) for result in results]


def untried() -> Iterable[Result]:
    """The rows that no case of this suite can show."""
    for row in contract.rows().values():
        if row.kafka:
            yield Result(row, None, Outcome.NOT_TRIED, "needs a runner on a broker")
        elif row.elsewhere:
            yield Result(row, None, Outcome.NOT_TRIED, f"no case of this suite; {row.elsewhere} shows it")


def in_order(results: Iterable[Result], patterns: Sequence[str]) -> list[Result]:
    """Those whose row matches, in the order of the contract."""
    order = {key: number for number, key in enumerate(contract.rows())}
    wanted = (result for result in results if contract.matches(result.row, patterns))
    return sorted(wanted, key=lambda result: (order[result.row.key], str(result.transport)))
