"""Chained definitions: one child for each parent that reached END (contract 5.9)."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from seatrial.check.blueprint import Blueprints
from seatrial.check.facts import Facts
from seatrial.check.finding import Findings
from seatrial.history import Op


def judge_chains(facts: Facts, blueprints: Blueprints, findings: Findings) -> int:
    """Returns the number of parents. With the parameter `chain_key`, the name of a variable that differs from parent
    to parent and is copied to the child, each parent is matched with its own child; without it they are counted.
    """
    parents: dict[str, list[Op]] = defaultdict(list)
    for row in facts.instances.values():
        plan = blueprints.of(row.value)
        if plan is None or not plan.chained_id or blueprints.latest(plan.chained_id) is None:
            continue
        parents.setdefault(plan.chained_id, [])
        if row.value["status"] == "COMPLETED":
            parents[plan.chained_id].append(row)
    started = _started(facts)
    chain_key = facts.word("chain_key")
    for child_id, rows in parents.items():
        children = [row for row in _of_definition(facts, child_id) if row.value["id"] not in started]
        unknown = _unanswered_without_key(facts, child_id)
        if chain_key is None:
            _judge_counts(child_id, rows, children, unknown, findings)
        else:
            _judge_keys(chain_key, child_id, rows, children, unknown, findings)
    return sum(map(len, parents.values()))


def _judge_counts(
    child_id: str, parents: list[Op], children: list[Op], unknown: int, findings: Findings
) -> None:
    if not len(parents) <= len(children) <= len(parents) + unknown:
        text = f"{len(parents)} completed parents chain to {child_id} and {len(children)} children exist"
        shown = [str(row.value["id"]) for row in (parents + children)[:20]]
        findings.add(text, *shown, at=[row.index for row in (parents + children)[:20]])


def _judge_keys(
    chain_key: str, child_id: str, parents: list[Op], children: list[Op], unknown: int, findings: Findings
) -> None:
    wanted: dict[str, list[Op]] = defaultdict(list)
    found: dict[str, list[Op]] = defaultdict(list)
    for row in parents:
        wanted[_value(row, chain_key)].append(row)
    for row in children:
        found[_value(row, chain_key)].append(row)
    spare = unknown
    for value in dict.fromkeys([*wanted, *found]):
        causes, made = wanted[value], found[value]
        surplus = len(made) - len(causes)
        if 0 < surplus <= spare:
            spare -= surplus
        elif surplus:
            ids = [str(row.value["id"]) for row in (causes + made)[:20]]
            text = f"{len(causes)} completed parents with {chain_key} = {value} have {len(made)} {child_id} children"
            findings.add(text, *ids, at=[row.index for row in (causes + made)[:20]])


def _started(facts: Facts) -> set[str]:
    """Instances that a start call explains: by id, or by the business key of an unanswered one."""
    found = {
        str(call.end.value["instance_id"])
        for call in facts.calls_of("start")
        if call.end is not None and call.outcome == "ok"
    }
    keyed = Counter(
        (call.invoke.value["definition_id"], call.invoke.value["business_key"])
        for call in facts.calls_of("start")
        if call.outcome == "info" and call.invoke.value.get("business_key")
    )
    for instance_id, row in facts.instances.items():
        key = (row.value["definition_id"], row.value.get("business_key"))
        if instance_id not in found and keyed[key]:
            keyed[key] -= 1
            found.add(instance_id)
    return found


def _of_definition(facts: Facts, definition_id: str) -> list[Op]:
    """A child has no business key; an instance with a key comes from a start call (NP judges which)."""
    return [
        row
        for row in facts.instances.values()
        if row.value["definition_id"] == definition_id and not row.value.get("business_key")
    ]


def _unanswered_without_key(facts: Facts, definition_id: str) -> int:
    return sum(
        call.outcome == "info"
        and call.invoke.value["definition_id"] == definition_id
        and not call.invoke.value.get("business_key")
        for call in facts.calls_of("start")
    )


def _value(row: Op, chain_key: str) -> str:
    value: Any = (row.value.get("variables") or {}).get(chain_key)
    return repr(value)
