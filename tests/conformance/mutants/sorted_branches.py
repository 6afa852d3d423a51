"""A decision's branches are tried in the order of their keys, as jsonb keeps them, not as they were declared."""

from __future__ import annotations

import dataclasses

import mutation

from windlass import advance
from windlass.definition.model import Step

declared = advance._Run._choose


def choose(self: advance._Run, step: Step) -> str:
    return declared(self, dataclasses.replace(step, branches=tuple(sorted(step.branches))))


advance._Run._choose = choose  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()
