"""Our engine against the contract: every case of the suite, over each transport that its rows have."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from suite import contract, report
from suite.case import Case
from suite.cases import CASES
from suite.run import Outcome, Result, run
from suite.target import Target, started

#: In one process, so that one engine answers them all.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("conformance")]

QUICK_CASES = [case for case in CASES if not case.slow]
SECTIONS = [
    section.number
    for section in contract.sections()
    if any(row.section == section.number for case in QUICK_CASES for row in case.rows)
]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    """One engine and one database for all: each case has definitions of its own."""
    command = shutil.which("windlass")
    assert command is not None, "windlass is not on PATH; source scripts/setup"
    async with started([command], tmp_path_factory.mktemp("conformance")) as running:
        yield running


async def results_of(target: Target, cases: Sequence[Case]) -> list[Result]:
    """All of them, several at once: most of their time is waiting."""
    results = await run(target, cases)
    assert len(results) == sum(len(case.rows) * len(case.transports) for case in cases)
    return results


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def results(target: Target, request: pytest.FixtureRequest) -> list[Result]:
    """Of every case with a row in the sections that were asked for."""
    items = (item for item in request.session.items if isinstance(item, pytest.Function))
    asked = {item.callspec.params["section"] for item in items if item.originalname == test_section.__name__}
    return await results_of(
        target, [case for case in QUICK_CASES if asked & {row.section for row in case.rows}]
    )


def no_row_differs(results: Sequence[Result]) -> None:
    """A failure names the rows."""
    others = [result for result in results if result.outcome is not Outcome.SAME]
    assert not others, report.table(others)


@pytest.mark.parametrize("section", SECTIONS)
async def test_section(results: list[Result], section: str) -> None:
    mine = [result for result in results if result.row.section == section]
    assert mine
    no_row_differs(mine)


@pytest.mark.slow
async def test_what_takes_longer(target: Target) -> None:
    no_row_differs(await results_of(target, [case for case in CASES if case.slow]))
