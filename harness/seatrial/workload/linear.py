"""Service tasks in a row, then END: for checks of identity and counts, without routing."""

from __future__ import annotations

import random

from seatrial.workload import Handler, Start, Workload


def linear(
    steps: int, *, handler: Handler | None = None, retry_count: int = 0, name: str = "linear"
) -> Workload:
    """Definition `<name>-<steps>`, whose i-th step has the job type `<name>-step-<i>` (from 1)."""
    if steps < 1:
        raise ValueError(f"linear workload of {steps} steps; give at least 1")
    names = [f"step-{number}" for number in range(1, steps + 1)]
    tasks = [
        {
            "id": step,
            "name": step,
            "type": "SERVICE_TASK",
            "jobType": f"{name}-{step}",
            "retryCount": retry_count,
            "nextStep": following,
        }
        for step, following in zip(names, [*names[1:], "done"], strict=True)
    ]
    definition = {
        "id": f"{name}-{steps}",
        "name": f"{steps} service tasks in a row",
        "steps": [*tasks, {"id": "done", "name": "done", "type": "END"}],
    }
    return Workload(
        name=name,
        definitions=(definition,),
        handlers={f"{name}-{step}": handler or Handler() for step in names},
        visits=lambda _start: dict.fromkeys([*names, "done"], 1),
    )


def linear_starts(
    rng: random.Random, steps: int, count: int, *, over_s: float = 0.0, name: str = "linear"
) -> tuple[Start, ...]:
    """`count` starts, spread over `over_s` at random instants; each carries its key and a small payload."""
    instants = sorted(round(rng.uniform(0.0, over_s), 4) for _ in range(count))
    return tuple(
        Start(
            definition_id=f"{name}-{steps}",
            key=f"{name}-{number:05d}",
            variables={"amount": rng.randrange(1, 10_000)},
            at_s=instant,
        )
        for number, instant in enumerate(instants)
    )
