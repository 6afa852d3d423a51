"""Our engine against the contract: every case of the suite, over each transport that its rows have."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from suite import contract, report
from suite.case import Case
from suite.cases import CASES
from suite.run import Outcome, run
from suite.target import Target, started

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUICK_CASES = [case for case in CASES if not case.slow]
SECTIONS = [
    section.number
    for section in contract.sections()
    if any(case.rows[0].section == section.number for case in QUICK_CASES)
]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    """One engine and one database for all: each case has definitions of its own."""
    command = shutil.which("windlass")
    assert command is not None, "windlass is not on PATH; source scripts/setup"
    async with started([command], tmp_path_factory.mktemp("conformance")) as running:
        yield running


async def no_row_differs(target: Target, cases: Sequence[Case]) -> None:
    results = await run(target, cases)
    assert len(results) == sum(len(case.rows) * len(case.transports) for case in cases)
    others = [result for result in results if result.outcome is not Outcome.SAME]
    assert not others, report.table(others)


@pytest.mark.parametrize("section", SECTIONS)
async def test_section(target: Target, section: str) -> None:
    """Its cases at once, since most of their time is waiting; a failure names the rows that differ."""
    await no_row_differs(target, [case for case in QUICK_CASES if case.rows[0].section == section])


@pytest.mark.slow
async def test_what_takes_longer(target: Target) -> None:
    await no_row_differs(target, [case for case in CASES if case.slow])
