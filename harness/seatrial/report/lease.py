"""Leases as clients saw them: from the poll that brought the job to its completion, or to the expiry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from seatrial.check.lease import lease_of, leased_jobs, token_of
from seatrial.history import Call, History

State = Literal["completed", "failed", "refused", "expired", "open"]
_ACCEPTED: Mapping[str, State] = {"complete": "completed", "fail_job": "failed"}


@dataclass(frozen=True, slots=True)
class Lease:
    """`completed` and `failed` were reported by the worker in time and accepted; `refused` means that the engine
    refused the answer; `expired` that nobody answered in time; `open` that the run ended or the answer was lost.
    """

    worker: str
    start_s: float
    end_s: float
    state: State
    text: str


def leases(history: History, zero_s: float, end_s: float) -> list[Lease]:
    """Times are seconds since `zero_s` (CLOCK_MONOTONIC); nothing reaches beyond `end_s`."""
    reports = _reports(history)
    return [
        _lease(call, job, reports.get(_key(call.invoke.process, job)), zero_s, end_s)
        for call, job in leased_jobs(history.calls_of("poll"))
    ]


def _reports(history: History) -> dict[tuple[str, str], Call]:
    """The report that ended each lease: an accepted one if there is any, else the first."""
    found: dict[tuple[str, str], Call] = {}
    for call in history.calls:
        if call.invoke.f in _ACCEPTED:
            key = _key(call.invoke.process, call.invoke.value)
            if key not in found or (call.outcome == "ok" and found[key].outcome != "ok"):
                found[key] = call
    return found


def _key(process: str, value: Mapping[str, Any]) -> tuple[str, str]:
    """Engines without lease tokens are told apart by the worker."""
    return str(value.get("job_id")), token_of(value) or process


def _lease(poll: Call, job: Mapping[str, Any], report: Call | None, zero_s: float, end_s: float) -> Lease:
    if poll.end is None:
        raise ValueError("only an answered poll brings leases")
    start_s = poll.end.t_s - zero_s
    expiry_s = start_s + _length_s(poll, job)
    about = f"job {job.get('job_id')} · {job.get('job_type', '?')} · {poll.invoke.process}"
    answer = report.end if report is not None else None
    if report is None or answer is None:
        if expiry_s < end_s:
            return Lease(
                poll.invoke.process, start_s, expiry_s, "expired", f"{about} · never answered, expired"
            )
        return Lease(poll.invoke.process, start_s, end_s, "open", f"{about} · still held at the end")
    answered_s = max(start_s, answer.t_s - zero_s)
    if answer.type == "ok":
        state = _ACCEPTED[report.invoke.f]
        return Lease(poll.invoke.process, start_s, min(answered_s, end_s), state, f"{about} · {state}")
    said = (answer.error or {}).get("code") or answer.type
    if answered_s > expiry_s:
        text = f"{about} · expired; reported {answered_s - expiry_s:.1f} s late: {said}"
        return Lease(poll.invoke.process, start_s, min(expiry_s, end_s), "expired", text)
    state = "refused" if answer.type == "fail" else "open"
    return Lease(poll.invoke.process, start_s, min(answered_s, end_s), state, f"{about} · {said}")


def _length_s(poll: Call, job: Mapping[str, Any]) -> float:
    """By the database's own two times when the engine gives them, else what the worker asked for."""
    try:
        lease = lease_of(poll, job)
    except ValueError:
        asked = poll.invoke.value.get("lease_s")
        return float(asked) if isinstance(asked, int | float) else 30.0
    return max((lease.expires_us - lease.locked_us) / 1e6, 0.0)
