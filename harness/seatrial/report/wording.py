"""Texts that all reports share: words and signs for outcomes, figures with their units, the command to run again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeGuard

from seatrial.history import RunHeader
from seatrial.verdict import DrillResult, Outcome

SIGN: Mapping[Outcome, str] = {
    Outcome.PASS: "✓",
    Outcome.FAIL: "✗",
    Outcome.VACUOUS: "∅",
    Outcome.INVALID: "!",
    Outcome.UNKNOWN: "?",
}
MEANING: Mapping[Outcome, str] = {
    Outcome.PASS: "the situation that the drill is about came up, and every guarantee held",
    Outcome.FAIL: "a guarantee was broken; the witnesses name the ids",
    Outcome.VACUOUS: "the situation that the drill is about never came up, so nothing was proved",
    Outcome.INVALID: "the fault had no effect, or the run could not be carried out",
    Outcome.UNKNOWN: "a check crashed before it could judge",
}
_UNITS = {"_per_s": "/s", "_s": " s", "_ms": " ms", "_bytes": " B", "_ratio": "", "_percent": " %"}
_TELLING = (
    "lost",
    "duplicates",
    "leased_again",
    "stale_completes_refused",
    "takeover_p95_s",
    "redelivered",
    "republished",
    "drain_ratio",
    "stuck",
    "errors",
    "slowest_s",
)
_NOT_TELLING = ("_bound_s", "_bound", "_max", "_min", "_from_s", "_at_s", "violations")


def tally(results: Sequence[DrillResult]) -> str:
    """One sentence for headings: `13 of 14 drills passed; 1 fail`."""
    passed = sum(result.outcome is Outcome.PASS for result in results)
    others = [
        f"{count} {outcome.value}"
        for outcome in (Outcome.FAIL, Outcome.UNKNOWN, Outcome.INVALID, Outcome.VACUOUS)
        if (count := sum(result.outcome is outcome for result in results))
    ]
    noun = "drill" if len(results) == 1 else "drills"
    return "; ".join((f"{passed} of {len(results)} {noun} passed", *others))


def recovery_s(result: DrillResult) -> float | None:
    """The longest recovery any check measured, in seconds; None when none did."""
    measured = (verdict.figures.get("recovery_s") for verdict in result.verdicts)
    return max((float(value) for value in measured if _is_number(value)), default=None)


def seconds(value_s: float | None) -> str:
    if value_s is None:
        return "—"
    # Compared as they will be rounded, so that nothing reads "1000 ms" or "60.0 s".
    if value_s < 0.9995:
        return f"{value_s * 1000:.0f} ms"
    if value_s < 59.95:
        return f"{value_s:.1f} s"
    minutes, rest_s = divmod(round(value_s), 60)
    return f"{minutes} min {rest_s:02d} s"


def instant(text: str) -> str:
    """ISO 8601 as people read it; whatever else it is, unchanged."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return text


def figure(name: str, value: Any) -> tuple[str, str]:
    """A figure's label and its value with the unit its name ends in: `recovery_s`, 3.21 -> recovery, 3.21 s."""
    if _is_number(value):
        for ending, unit in _UNITS.items():
            if name.endswith(ending):
                return name.removesuffix(ending).replace("_", " "), number(value) + unit
    return name.replace("_", " "), _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_number(value):
        return number(value)
    if isinstance(value, Mapping):
        return ", ".join(" ".join(figure(str(name), inner)) for name, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return "; ".join(_plain(inner) for inner in value) or "none"
    return str(value)


def number(value: float) -> str:
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


def key_figures(result: DrillResult, most: int = 4) -> list[tuple[str, str]]:
    """The most important figures: those of _TELLING, then the rest in the checks' order. Recovery has a
    column of its own, and bounds are what a figure is held against, not what was found.
    """
    found: dict[str, Any] = {}
    for verdict in result.verdicts:
        for name, value in verdict.figures.items():
            if _is_number(value) and not name.startswith("recovery") and not name.endswith(_NOT_TELLING):
                found.setdefault(name, value)
    ordered = sorted(found, key=lambda name: _TELLING.index(name) if name in _TELLING else len(_TELLING))
    return [figure(name, found[name]) for name in ordered[:most]]


def rerun_command(result: DrillResult, header: RunHeader | None) -> str:
    """The exact command that repeats the same schedule; addresses of an attached cluster are not kept."""
    words = ["seatrial", "run", result.drill]
    if header is not None:
        if header.backend == "attach":
            words += ["--attach", ",".join(["URL"] * header.replicas)]
            if header.transport != "rest":
                words += ["--attach-grpc", ",".join(["HOST:PORT"] * header.replicas)]
        else:
            words += ["--backend", header.backend, "--replicas", str(header.replicas)]
        if header.engine_command:
            words += ["--engine-command", header.engine_command]
        if header.transport != "rest":
            words += ["--transport", header.transport]
        if header.tls and header.backend != "attach":
            words += ["--tls"]
        if header.principal is not None:
            words += ["--token-file", "FILE"]
    return shlex.join([*words, "--seed", str(result.seed)])


def _is_number(value: object) -> TypeGuard[int | float]:
    # A figure that is not finite (a file edited by hand) is shown as text rather than computed with.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
