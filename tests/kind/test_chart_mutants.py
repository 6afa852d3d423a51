"""Charts with one promise broken: each must make its drill fail, by a check that its row names."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from seatrial.cluster.kind.shared import SharedServices
from seatrial.drill import run
from seatrial.drills import CATALOGUE
from seatrial.environment import Environment, Options
from seatrial.render import default_chart
from seatrial.verdict import Outcome

ROOT = Path(__file__).parents[2]
MUTANTS = runpy.run_path(str(ROOT / "tests/mutants/chart_catalogue.py"))["CHART_MUTANTS"]

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
async def test_its_drill_notices(mutant: Any, shared: SharedServices, tmp_path: Path) -> None:
    """`shared` only keeps the cluster there for the run."""
    chart = tmp_path / "windlass"
    shutil.copytree(default_chart(), chart)
    template = chart / "templates" / mutant.template
    template.write_text(template.read_text().replace(mutant.old, mutant.new))
    options = Options(seed=7, report_dir=tmp_path / "report", backend="kind", chart=chart)
    async with Environment(options) as environment:
        result = await run(CATALOGUE[mutant.drill], environment)
    failed = {verdict.check for verdict in result.verdicts if verdict.outcome is Outcome.FAIL}
    assert failed & set(mutant.caught_by), (result.outcome, result.notes, sorted(failed))
