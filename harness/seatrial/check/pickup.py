"""PK: how long jobs wait while a worker waits for them. Hints between nodes make it short; without them a node looks at
intervals (contract 6.1).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import msgspec

from seatrial.check.assumptions import EFFECTIVE, LOADED, OBSERVED, PAIRED, assuming
from seatrial.check.facts import Facts, facts_of
from seatrial.check.finding import Findings
from seatrial.check.instant import instant_us
from seatrial.check.probe_truth import READINESS
from seatrial.history import History
from seatrial.verdict import Verdict

GUARANTEE = (
    "A job for which a worker waits is leased within the bound, and at once where nodes can tell each other; "
    "when they cannot, no node is unready for it."
)


class Pickup(msgspec.Struct, frozen=True):
    job_id: str
    created_s: float
    """Monotonic: from its answer back by as long as it waited on the database's clock."""
    waited_s: float
    index: int


@assuming("PK", GUARANTEE, PAIRED, OBSERVED, EFFECTIVE, LOADED)
def pickup(history: History) -> Verdict:
    """Parameters: `pickup_bound_s`, of every job; `pickup_usual_s` (none), of half of the jobs of each stretch of time
    in which hints come: those without a fault, from `pickup_settle_s` (0) after a heal on; `pickups_min` (1): how many
    jobs each stretch and each fault must have met.

    The drill has to see to it that a worker waits all the time.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    bound_s = facts.number("pickup_bound_s")
    wanted = int(facts.number("pickups_min", 1))
    pickups = sorted(_pickups(facts), key=lambda each: each.created_s)
    for each in pickups:
        if each.waited_s > bound_s:
            text = f"job {each.job_id} waited {each.waited_s:.3f} s for a waiting worker, the bound is {bound_s:g} s"
            findings.add(text, each.job_id, at=(each.index,))
    meanwhile, usual = _parted(facts, pickups)
    if facts.has("pickup_usual_s"):
        _judge_usual(usual, facts.number("pickup_usual_s"), findings)
    _judge_readiness(facts, findings)
    fewest = min((len(part) for part in (*meanwhile, *usual)), default=0)
    figures = {
        "pickups": len(pickups),
        "pickup_max_s": round(max((each.waited_s for each in pickups), default=0.0), 3),
        "pickup_bound_s": bound_s,
        "pickup_median_s": [_median_s(part) for part in usual],
        "pickup_median_during_faults_s": [_median_s(part) for part in meanwhile],
    }
    summary = (
        f"{len(pickups)} pickups, the slowest after {figures['pickup_max_s']} s of at most {bound_s:g} s"
    )
    vacuous = (
        f"{fewest} pickups in a stretch of time, at least {wanted} were expected" if fewest < wanted else None
    )
    return findings.verdict("PK", GUARANTEE, summary, figures, vacuous=vacuous)


def _pickups(facts: Facts) -> Iterator[Pickup]:
    for job_id, tenure in facts.tenures.items():
        row = facts.jobs.get(job_id)
        if row is None or not row.value.get("created_at"):
            continue
        first = tenure.leases[0]
        waited_s = (first.locked_us - instant_us(row.value["created_at"])) / 1e6
        index = first.poll.end.index if first.poll.end is not None else first.poll.invoke.index
        yield Pickup(job_id, first.answered_s - waited_s, waited_s, index)


def _parted(
    facts: Facts, pickups: Sequence[Pickup]
) -> tuple[Sequence[Sequence[Pickup]], Sequence[Sequence[Pickup]]]:
    """By fault: those that began while it held. By stretch without one: those that ended in it."""
    settle_s = facts.number("pickup_settle_s", 0)
    meanwhile: list[list[Pickup]] = []
    usual: list[list[Pickup]] = []
    begun_s, load_ends_s = facts.load_window_s
    for fault in sorted(facts.faults, key=lambda each: each.invoked_s):
        healed_s = fault.healed_s if fault.healed_s is not None else load_ends_s
        usual.append(
            [each for each in pickups if begun_s <= each.created_s <= fault.invoked_s - each.waited_s]
        )
        effective_s = fault.effective_s or fault.invoked_s
        meanwhile.append([each for each in pickups if effective_s <= each.created_s < healed_s])
        begun_s = healed_s + settle_s
    usual.append([each for each in pickups if begun_s <= each.created_s < load_ends_s])
    return meanwhile, usual


def _judge_usual(usual: Sequence[Sequence[Pickup]], usual_s: float, findings: Findings) -> None:
    for number, part in enumerate(usual, 1):
        median_s = _median_s(part)
        if median_s > usual_s:
            slowest = max(part, key=lambda each: each.waited_s)
            text = f"half of the jobs of stretch {number} waited {median_s:.3f} s or more, {usual_s:g} s is usual"
            findings.add(text, slowest.job_id, at=(slowest.index,))


def _judge_readiness(facts: Facts, findings: Findings) -> None:
    """Every probe that was answered; a busy machine may leave one without an answer."""
    for call in facts.calls_of("probe"):
        if call.end is None or call.outcome != "ok" or call.invoke.value["path"] not in READINESS:
            continue
        if (status := int(call.end.value["status"])) != 200:
            text = f"{call.invoke.value['node']} {call.invoke.value['path']} answered {status}"
            findings.add(
                f"{text}, although at most hints between nodes were missing",
                at=(call.invoke.index, call.end.index),
            )


def _median_s(part: Sequence[Pickup]) -> float:
    return round(statistics.median(each.waited_s for each in part), 4) if part else 0.0
