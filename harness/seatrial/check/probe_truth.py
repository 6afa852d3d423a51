"""PT: the probes tell the truth, so that a kubelet neither sends calls to a node that cannot serve nor restarts one
needlessly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from seatrial.check.assumptions import EFFECTIVE, PAIRED, assuming
from seatrial.check.facts import Facts, Fault, facts_of
from seatrial.check.finding import Findings
from seatrial.history import Call, History
from seatrial.verdict import Verdict

GUARANTEE = (
    "Readiness says no, and why, exactly while the node cannot serve; liveness stays true, "
    "and no node is restarted."
)
LIVENESS = ("/healthz", "/health")
GRPC_LIVENESS = "/grpc.health.v1.Health/Check"
READINESS = ("/ready", "/readyz")
_DATABASE = "database"


class Window(msgspec.Struct, frozen=True):
    """When readiness must be no, and the word that its reason must contain; shortly before and after, it may be
    no.
    """

    fault: Fault
    reason: str
    begun_s: float
    ended_s: float
    no_until_s: float

    def concerns(self, node: str) -> bool:
        return not self.fault.targets or bool({node, _DATABASE} & set(self.fault.targets))


@assuming("PT", GUARANTEE, PAIRED, EFFECTIVE)
def probe_truth(history: History) -> Verdict:
    """Parameters: `unready_reasons` {fault's name: word that the reason must hold}; `probe_notice_bound_s`: how soon
    readiness must say no after a fault had its effect; `recovery_bound_s`: how soon yes after it was healed;
    `restarts_max` (0); `probes_min`: in a drill in which nodes can serve all the time, how many probes of each kind
    there must be.
    """
    facts = facts_of(history)
    findings = Findings(facts)
    windows = _windows(facts)
    probes = [call for call in facts.calls_of("probe") if call.end is not None]
    liveness = [call for call in probes if _path(call) in (*LIVENESS, GRPC_LIVENESS)]
    readiness = [call for call in probes if _path(call) in READINESS]
    for call in liveness:
        _judge_liveness(call, findings)
    told: dict[str, int] = defaultdict(int)
    for call in readiness:
        _judge_readiness(call, windows, told, findings)
    restarts = _judge_restarts(facts, findings)
    figures = {
        "liveness_probes": len(liveness),
        "readiness_probes": len(readiness),
        "unready_told": sum(told.values()),
        "restarts": restarts,
    }
    summary = f"{len(liveness)} liveness and {len(readiness)} readiness probes, {sum(told.values())} said no and why"
    return findings.verdict(
        "PT", GUARANTEE, summary, figures, vacuous=_vacuous(facts, windows, liveness, readiness, told)
    )


def _windows(facts: Facts) -> Sequence[Window]:
    """The fault is over when its heal is asked for: from then on a yes may be true."""
    reasons: Mapping[str, Any] = facts.header.parameters.get("unready_reasons") or {}
    if not reasons:
        return []
    notice_s = facts.number("probe_notice_bound_s")
    recovery_s = facts.number("recovery_bound_s")
    windows = []
    for fault in facts.faults:
        if fault.name in reasons and fault.effective_s is not None:
            begun_s, reason = fault.effective_s + notice_s, str(reasons[fault.name])
            if fault.heal is None or fault.healed_s is None:
                windows.append(Window(fault, reason, begun_s, float("inf"), float("inf")))
            else:
                asked_s, over_s = fault.heal.invoke.t_s, fault.healed_s + recovery_s
                windows.append(Window(fault, reason, begun_s, asked_s, over_s))
    return windows


def _judge_liveness(call: Call, findings: Findings) -> None:
    if (status := _status(call)) != 200:
        said = f"answered {status}" if status else "did not answer"
        findings.add(f"{_node(call)} {_path(call)} {said}: a kubelet would restart it", at=_at(call))


def _judge_readiness(call: Call, windows: Sequence[Window], told: dict[str, int], findings: Findings) -> None:
    """No answer counts as a no without a reason: allowed whenever a no is."""
    node, status, ended_s = _node(call), _status(call), _ended_s(call)
    near = [
        window
        for window in windows
        if window.concerns(node)
        and call.invoke.t_s <= window.no_until_s
        and ended_s >= window.fault.invoked_s
    ]
    inside = [window for window in near if call.invoke.t_s >= window.begun_s and ended_s <= window.ended_s]
    if status == 200:
        for window in inside:
            late_s = call.invoke.t_s - window.fault.invoked_s
            text = f"{node} {_path(call)} answered 200 while it could not serve, {late_s:.1f} s after {window.fault}"
            findings.add(text, at=(*_at(call), window.fault.call.invoke.index))
        return
    if not near:
        said = f"answered {status}" if status else "did not answer"
        findings.add(f"{node} {_path(call)} {said} although nothing was wrong: {_body(call)}", at=_at(call))
        return
    for window in inside:
        if status == 503 and window.reason.lower() in _reasons(call).lower():
            told[window.fault.name] += 1
        elif status:
            text = (
                f"{node} {_path(call)} answered {status} and no reason names {window.reason!r}: {_body(call)}"
            )
            findings.add(text, at=(*_at(call), window.fault.call.invoke.index))


def _judge_restarts(facts: Facts, findings: Findings) -> int:
    allowed = int(facts.number("restarts_max", 0))
    total = 0
    for op in facts.rows("restarts"):
        total += int(op.value["count"])
        if op.value["count"] > allowed:
            findings.add(f"{op.value['node']} was restarted {op.value['count']} times", at=(op.index,))
    return total


def _vacuous(
    facts: Facts,
    windows: Sequence[Window],
    liveness: Sequence[Call],
    readiness: Sequence[Call],
    told: Mapping[str, int],
) -> str | None:
    if facts.has("probes_min"):
        wanted, asked = int(facts.number("probes_min")), min(len(liveness), len(readiness))
        return f"{asked} probes of a kind were asked, {wanted} were expected" if asked < wanted else None
    if not windows:
        return "nothing was wrong with any node"
    for window in windows:
        if not told[window.fault.name]:
            return f"no readiness probe was answered during {window.fault}"
    if not any(
        window.fault.invoked_s <= call.invoke.t_s <= window.ended_s for window in windows for call in liveness
    ):
        return "no liveness probe was asked while anything was wrong"
    return None


def _path(call: Call) -> str:
    return str(call.invoke.value["path"])


def _node(call: Call) -> str:
    return str(call.invoke.value["node"])


def _status(call: Call) -> int:
    """0 when no answer came."""
    if call.end is None or call.outcome != "ok":
        return 0
    return int(call.end.value["status"])


def _ended_s(call: Call) -> float:
    return call.end.t_s if call.end is not None else call.invoke.t_s


def _body(call: Call) -> str:
    return str(call.end.value.get("body") if call.end is not None else None)[:300]


def _reasons(call: Call) -> str:
    """The texts of `reasons` (or `reason`) in the body; empty when there are none."""
    body = call.end.value.get("body") if call.end is not None else None
    if not isinstance(body, dict):
        return ""
    return str(body.get("reasons") or body.get("reason") or "")


def _at(call: Call) -> tuple[int, ...]:
    return (call.invoke.index,) if call.end is None else (call.invoke.index, call.end.index)
