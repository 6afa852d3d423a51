"""A loan from application to payment: two chained definitions with every step type and every way to wait.

register -> split -> (credit-pull -> credit-score | income-check) -> checks-done -> ratio -> decide
    approved       -> offer (its handler fails first) -> agreed
    manual-review  -> a person answers, or the timer escalates -> review -> offer or decline
    declined       -> declined
and, chained to whichever end: loan-disbursement waits for a signature and pays, or closes at once.

Branches and transformations stand in the order of their keys, the only one that gRPC can carry.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from seatrial.workload import Handler, Start, Workload

APPLICATION = "loan-application"
DISBURSEMENT = "loan-disbursement"
ESCALATE_AFTER = "PT4S"
RETRY_COUNT = 2

Route = Literal["approved", "manual", "declined"]

_APPLICATION: dict[str, Any] = {
    "id": APPLICATION,
    "name": "Loan application",
    "autoStartNextWorkflow": True,
    "nextWorkflowId": DISBURSEMENT,
    "metadata": {"owner": "seatrial"},
    "steps": [
        {"id": "register", "name": "Register", "type": "SERVICE_TASK", "jobType": "loan-register",
         "nextStep": "split"},
        {"id": "split", "name": "Check both sides", "type": "PARALLEL_GATEWAY",
         "parallelNextSteps": ["credit-pull", "income-check"], "joinStep": "checks-done"},
        {"id": "credit-pull", "name": "Pull credit file", "type": "SERVICE_TASK",
         "jobType": "loan-credit-pull", "nextStep": "credit-score"},
        {"id": "credit-score", "name": "Score it", "type": "SERVICE_TASK", "jobType": "loan-credit-score",
         "nextStep": "checks-done"},
        {"id": "income-check", "name": "Check income", "type": "SERVICE_TASK", "jobType": "loan-income-check",
         "nextStep": "checks-done"},
        {"id": "checks-done", "name": "Both checked", "type": "JOIN_GATEWAY", "nextStep": "ratio"},
        {"id": "ratio", "name": "Debt ratio", "type": "TRANSFORMATION", "nextStep": "decide",
         "transformations": {"debt_ratio": "${amount / income}",
                             "policy": {"name": "standard", "limits": [3, 6]},
                             "rated_at": "${now()}", "ratio_twice": "${debt_ratio * 2}"}},
        {"id": "decide", "name": "Decide", "type": "DECISION", "conditionalNextSteps": {
            "score < 500 || debt_ratio > 6": "decline",
            "score >= 700 && debt_ratio <= 3": "approve",
            "true": "manual-review"}},
        {"id": "manual-review", "name": "A person decides", "type": "USER_TASK", "nextStep": "review",
         "boundaryEvents": [{"type": "TIMER", "duration": ESCALATE_AFTER, "interrupting": True,
                             "targetStepId": "escalate"}]},
        {"id": "escalate", "name": "The superior decides", "type": "SERVICE_TASK", "jobType": "loan-escalate",
         "nextStep": "review"},
        {"id": "review", "name": "Read the review", "type": "DECISION", "conditionalNextSteps": {
            "review != 'yes'": "decline", "review == 'yes'": "approve"}},
        {"id": "approve", "name": "Approve", "type": "TRANSFORMATION", "nextStep": "offer",
         "transformations": {"outcome": "approved"}},
        {"id": "offer", "name": "Send the offer", "type": "SERVICE_TASK", "jobType": "loan-offer",
         "retryCount": RETRY_COUNT, "nextStep": "agreed"},
        {"id": "agreed", "name": "Agreed", "type": "END"},
        {"id": "decline", "name": "Decline", "type": "TRANSFORMATION", "nextStep": "declined",
         "transformations": {"outcome": "declined"}},
        {"id": "declined", "name": "Declined", "type": "END"},
    ],
}  # fmt: skip

_DISBURSEMENT: dict[str, Any] = {
    "id": DISBURSEMENT,
    "name": "Loan disbursement",
    "steps": [
        {"id": "payable", "name": "Anything to pay?", "type": "DECISION", "conditionalNextSteps": {
            "outcome != 'approved'": "closed", "outcome == 'approved'": "signature"}},
        {"id": "signature", "name": "Wait for the signature", "type": "WAIT", "nextStep": "transfer"},
        {"id": "transfer", "name": "Transfer", "type": "SERVICE_TASK", "jobType": "loan-transfer",
         "retryCount": RETRY_COUNT, "nextStep": "paid"},
        {"id": "paid", "name": "Paid", "type": "END"},
        {"id": "closed", "name": "Nothing to pay", "type": "END"},
    ],
}  # fmt: skip


def route(start: Start) -> Route:
    """Which branch of `decide` the start's variables lead to."""
    score, ratio = start.variables["bureau_score"], start.variables["amount"] / start.variables["income"]
    if score >= 700 and ratio <= 3:
        return "approved"
    return "declined" if score < 500 or ratio > 6 else "manual"


def visits(start: Start) -> Mapping[str, int]:
    """The model: step id -> entries, over both definitions. A join is entered once per branch."""
    entered = Counter(
        ["register", "split", "credit-pull", "credit-score", "income-check", "checks-done", "checks-done"]
    )
    entered.update(["ratio", "decide"])
    way = route(start)
    if way == "manual":
        entered.update(["manual-review", "review", *(["escalate"] if start.variables["hesitates"] else [])])
    agreed = way == "approved" or (way == "manual" and start.variables["reviewer_says"] == "yes")
    entered.update(["approve", "offer", "agreed"] if agreed else ["decline", "declined"])
    entered.update(["payable", *(["signature", "transfer", "paid"] if agreed else ["closed"])])
    return dict(entered)


def loan(*, think_max_s: float = 0.02) -> Workload:
    """`offer` and `transfer` fail once before they succeed; the reviewer is `actor.Actor`."""
    normal = Handler(think_max_s=think_max_s)
    fails_first = Handler(think_max_s=think_max_s, fail_while_retries_above=RETRY_COUNT - 1)
    return Workload(
        name="loan",
        # The chained definition first: an instance must find it when it ends.
        definitions=(_DISBURSEMENT, _APPLICATION),
        handlers={
            "loan-register": normal,
            "loan-credit-pull": normal,
            "loan-credit-score": Handler(think_max_s=think_max_s, echo={"score": "bureau_score"}),
            "loan-income-check": normal,
            "loan-escalate": Handler(think_max_s=think_max_s, echo={"review": "reviewer_says"}),
            "loan-offer": fails_first,
            "loan-transfer": fails_first,
        },
        visits=visits,
    )


def loan_starts(rng: random.Random, count: int, *, over_s: float = 0.0) -> tuple[Start, ...]:
    """`count` applications over `over_s`; from 4 on, every route and an escalation are among them."""
    instants = sorted(round(rng.uniform(0.0, over_s), 4) for _ in range(count))
    ways: list[tuple[Route, bool]] = [
        ("approved", False),
        ("declined", False),
        ("manual", False),
        ("manual", True),
    ]
    drawn = [ways[number] if number < len(ways) else rng.choice(ways) for number in range(count)]
    rng.shuffle(drawn)
    return tuple(
        Start(APPLICATION, f"loan-{number:05d}", _applicant(rng, way, hesitates=hesitates), instant)
        for number, (instant, (way, hesitates)) in enumerate(zip(instants, drawn, strict=True))
    )


def _applicant(rng: random.Random, way: Route, *, hesitates: bool) -> dict[str, Any]:
    income = rng.randrange(20_000, 90_000)
    score, ratio = {
        "approved": (rng.randrange(700, 850), rng.uniform(0.5, 2.9)),
        "declined": (rng.randrange(300, 500), rng.uniform(0.5, 5.0)),
        "manual": (rng.randrange(520, 690), rng.uniform(0.5, 5.5)),
    }[way]
    return {
        "applicant": {"name": f"applicant-{rng.randrange(10_000):04d}", "tags": ["new", "web"]},
        "income": income,
        "amount": int(income * ratio),
        "bureau_score": score,
        "hesitates": hesitates,
        "reviewer_says": rng.choice(["yes", "no"]),
    }
