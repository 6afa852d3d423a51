from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from trial_builder import Trial

from seatrial.check import CHECKS
from seatrial.verdict import Outcome, Verdict

MIB = 1024 * 1024
LIMIT_MIB = 512


def judged(trial: Trial) -> Verdict:
    return CHECKS["MEM"](trial.history())


def used(trial: Trial, node: str, peak_mib: int) -> Trial:
    trial.note(
        "observer",
        "resources",
        node=node,
        rss_bytes=1,
        rss_peak_bytes=peak_mib * MIB,
        descriptors=9,
        log_bytes=0,
    )
    return trial


def ended(trial: Trial, node: str, peak_mib: int | None, kills: int = 0, by: str = "cgroup") -> Trial:
    peak_bytes = None if peak_mib is None else peak_mib * MIB
    trial.note(
        "observer",
        "memory",
        node=node,
        limit_bytes=LIMIT_MIB * MIB,
        enforced_by=by,
        kills=kills,
        rss_peak_bytes=peak_bytes,
    )
    return trial


def test_nodes_within_their_limit_pass_and_show_their_peaks() -> None:
    trial = ended(ended(used(Trial("MEM"), "a", 200), "a", 180), "b", 511)
    verdict = judged(trial)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["memory_peak_a_mib"] == 200, "of the run before"
    assert verdict.figures["memory_peak_b_mib"] == 511
    assert verdict.figures["memory_enforced_by"] == "cgroup"


def test_a_node_that_the_kernel_ended_fails() -> None:
    verdict = judged(ended(used(Trial("MEM"), "a", 400), "a", None, kills=2))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].text == "the kernel ended a 2 times at its limit of 512 MiB"


def test_a_peak_past_the_limit_fails_where_nothing_enforces_it() -> None:
    assert judged(ended(used(Trial("MEM"), "a", 530), "a", 100)).outcome is Outcome.PASS, (
        "files, which others share"
    )
    verdict = judged(ended(used(Trial("MEM"), "a", 600), "a", 100, by="rlimit"))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.witnesses[0].text == "a took 600 MiB, its limit is 512 MiB"


def test_an_allocation_that_failed_fails() -> None:
    trial = ended(Trial("MEM"), "a", 300, by="rlimit")
    trial.note("observer", "log_scan", node="a", pattern="ERROR", matches=["MemoryError"])
    assert judged(trial).outcome is Outcome.PASS, "of another pattern"
    trial.note("observer", "log_scan", node="a", pattern="MemoryError", matches=["MemoryError in a call"])
    verdict = judged(trial)
    assert verdict.outcome is Outcome.FAIL
    assert "an allocation of a failed: MemoryError in a call" in verdict.summary


def test_without_a_limit_or_without_a_peak_it_is_vacuous() -> None:
    assert judged(used(Trial("MEM"), "a", 100)).outcome is Outcome.VACUOUS
    assert judged(ended(Trial("MEM"), "a", None)).outcome is Outcome.VACUOUS


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 1000), st.integers(0, 2)), min_size=1, max_size=6
    )
)
def test_it_agrees_with_looking_at_every_row(rows: list[tuple[str, int, int]]) -> None:
    trial = Trial("MEM")
    for node, peak_mib, kills in rows:
        ended(trial, node, peak_mib, kills, by="rlimit")
    is_broken = any(peak_mib > LIMIT_MIB or kills for _, peak_mib, kills in rows)
    assert (judged(trial).outcome is Outcome.FAIL) == is_broken
