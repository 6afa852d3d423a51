"""The visit model: against every run of small definitions, and against trying all assignments."""

from __future__ import annotations

from collections import Counter
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from reference_engine import DOCUMENTS

from seatrial.check.blueprint import parse
from seatrial.check.flow import unmet
from seatrial.check.replay import Tally, imbalances, sources_of

# -- the flow against trying all assignments -------------------------------------------------------


def best_cover(needs: list[int], offers: list[int], serves: list[set[int]]) -> int:
    """The most units of need that can be met, by trying every way to spend each unit of each offer."""
    units = [served for amount, served in zip(offers, serves, strict=True) for _ in range(amount)]
    reached = {tuple(needs)}
    for served in units:
        reached |= {
            (*left[:need], left[need] - 1, *left[need + 1 :])
            for left in reached
            for need in served
            if left[need]
        }
    return sum(needs) - min(map(sum, reached))


@settings(max_examples=500)
@given(st.data())
def test_unmet_is_what_no_assignment_can_meet(data: st.DataObject) -> None:
    needs = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    offers = data.draw(st.lists(st.integers(0, 3), max_size=4))
    serves = [data.draw(st.sets(st.integers(0, len(needs) - 1))) for _ in offers]
    lacking = unmet(needs, offers, serves)
    assert all(0 <= missing <= need for missing, need in zip(lacking, needs, strict=True))
    assert sum(needs) - sum(lacking) == best_cover(needs, offers, serves)


@given(st.data())
def test_two_flows_stand_for_one_assignment(data: st.DataObject) -> None:
    """Mendelsohn and Dulmage: all entries can have a source and all musts an entry exactly when both hold at once."""
    entries = data.draw(st.lists(st.integers(1, 2), min_size=1, max_size=3))
    sources = data.draw(
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 1), st.sets(st.integers(0, len(entries) - 1))),
            max_size=4,
        )
    )
    most = [least + more for least, more, _ in sources]
    served = [set(targets) for _, _, targets in sources]
    reached_by = [
        {number for number, targets in enumerate(served) if step in targets} for step in range(len(entries))
    ]
    two_flows = not any(unmet(entries, most, served)) and not any(
        unmet([least for least, _, _ in sources], entries, reached_by)
    )
    assert two_flows == can_assign(entries, sources)


def can_assign(entries: list[int], sources: list[tuple[int, int, set[int]]]) -> bool:
    reached = {tuple(entries)}
    for least, more, targets in sources:
        after: set[tuple[int, ...]] = set()
        for left in reached:
            for spent in range(least, least + more + 1):
                after |= spendings(left, spent, sorted(targets))
        reached = after
    return any(not any(left) for left in reached)


def spendings(left: tuple[int, ...], spent: int, targets: list[int]) -> set[tuple[int, ...]]:
    states = {left}
    for _ in range(spent):
        states = {
            (*state[:target], state[target] - 1, *state[target + 1 :])
            for state in states
            for target in targets
            if state[target]
        }
    return states


# -- the model against every run -------------------------------------------------------------------

VISITS_MAX = 6
State = tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...], str]


def every_run(name: str) -> set[State]:
    """(entered, completed, status) of every state that an unforked definition can be in, each transaction one move."""
    plan = {step["id"]: step for step in DOCUMENTS[name]["steps"]}
    first = DOCUMENTS[name]["steps"][0]["id"]
    found: set[State] = set()
    fresh = enter(plan, Counter(), Counter(), first)
    while fresh:
        entered, completed, status, running = fresh.pop()
        state = (tuple(sorted(entered.items())), tuple(sorted(completed.items())), status)
        if state in found or sum(entered.values()) > VISITS_MAX:
            continue
        found.add(state)
        if status != "ACTIVE" or running is None:
            continue
        fresh += [(entered, completed, ended, None) for ended in ("CANCELLED", "FAILED")]
        after = completed + Counter([running])
        step = plan[running]
        if step.get("conditionalNextSteps"):
            fresh.append((entered, after, "FAILED", None))
            for target in step["conditionalNextSteps"].values():
                fresh += enter(plan, entered, after, target)
        elif step.get("nextStep"):
            fresh += enter(plan, entered, after, step["nextStep"])
        else:
            # It rests for ever; why an instance FAILED is not the model's business.
            fresh += [(entered, after, ended, None) for ended in ("ACTIVE", "CANCELLED", "FAILED")]
    return found


def enter(
    plan: dict[str, dict[str, object]], entered: Counter[str], completed: Counter[str], step_id: str
) -> list[tuple[Counter[str], Counter[str], str, str | None]]:
    step = plan[step_id]
    entered = entered + Counter([step_id])
    if sum(entered.values()) > VISITS_MAX:
        return []
    after = completed + Counter([step_id])
    if step["type"] == "END":
        return [(entered, after, "COMPLETED", None)]
    if step["type"] == "TRANSFORMATION":
        return [(entered, completed, "FAILED", None), *enter(plan, entered, after, str(step["nextStep"]))]
    if step["type"] == "DECISION":
        branches = step["conditionalNextSteps"]
        assert isinstance(branches, dict)
        states = [state for target in branches.values() for state in enter(plan, entered, after, target)]
        return [(entered, completed, "FAILED", None), *states]
    return [(entered, completed, "ACTIVE", step_id)]


def test_the_model_accepts_exactly_the_runs_of_definitions_without_forks() -> None:
    """Of all counts of visits up to a size, those that no run reaches are refused, and no others."""
    for name in ("line", "loop", "dead-end"):
        runs = every_run(name)
        plan = parse(DOCUMENTS[name])
        steps = sorted(plan.steps)
        judged = 0
        for counts in product(range(3), repeat=len(steps)):
            if sum(counts) > VISITS_MAX:
                continue
            for open_step in (None, *(step for step, count in zip(steps, counts, strict=True) if count)):
                for status in ("ACTIVE", "COMPLETED", "FAILED", "CANCELLED"):
                    entered = {step: count for step, count in zip(steps, counts, strict=True) if count}
                    completed = {step: count - (step == open_step) for step, count in entered.items()}
                    tallies = {
                        step: Tally(entered=count, completed=completed[step])
                        for step, count in entered.items()
                    }
                    left = tuple(sorted((step, count) for step, count in completed.items() if count))
                    is_run = (tuple(sorted(entered.items())), left, status) in runs
                    assert (not imbalances(plan, status, tallies)) == is_run, (name, tallies, status)
                    judged += 1
        assert judged > 100


def test_the_sources_of_a_fork_count_activations() -> None:
    plan = parse(DOCUMENTS["fork"])
    tallies = {"g": Tally(2, 2), "j": Tally(3, 3)}
    join = next(source for source in sources_of(plan, "ACTIVE", tallies) if source.text.endswith("join j"))
    assert (join.most, join.least) == (1, 1)
    crowded = {"g": Tally(1, 1), "j": Tally(4, 4)}
    join = next(source for source in sources_of(plan, "ACTIVE", crowded) if source.text.endswith("join j"))
    assert (join.most, join.least) == (1, 1)
