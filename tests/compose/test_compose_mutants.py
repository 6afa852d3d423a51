"""Balancers with one promise broken: each must make its drill fail, by a check that its row names."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
from drill_image import ROOT, built

from seatrial.cluster.compose.project import default_file
from seatrial.cluster.options import Options
from seatrial.drill import run
from seatrial.drills import CATALOGUE
from seatrial.environment import Environment
from seatrial.verdict import Outcome

MUTANTS = runpy.run_path(str(ROOT / "tests/mutants/compose_catalogue.py"))["COMPOSE_MUTANTS"]

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
async def test_its_drill_notices(mutant: Any, tmp_path: Path) -> None:
    built()
    original = default_file()
    file = tmp_path / original.name
    shutil.copy(original, file)
    shutil.copytree(
        original.parent / "compose", tmp_path / "compose", ignore=shutil.ignore_patterns("secrets")
    )
    changed = tmp_path / "compose" / mutant.file
    text = changed.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.name}: mend the mutant"
    changed.write_text(text.replace(mutant.old, mutant.new))
    options = Options(seed=7, report_dir=tmp_path / "report", backend="compose", compose_file=file)
    async with Environment(options) as environment:
        result = await run(CATALOGUE[mutant.drill], environment)
    failed = {verdict.check for verdict in result.verdicts if verdict.outcome is Outcome.FAIL}
    assert failed & set(mutant.caught_by), (result.outcome, result.notes, sorted(failed))
