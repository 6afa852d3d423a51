"""A run of many cases on one surface, drawn by hypothesis from a seed; the first fault is made as small as it gets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import definition_cases
import expression_cases
import grpc_cases
import hypothesis
import pressure_cases
import rest_cases
import stranger_cases
from attempt import Attempts
from case import Case, Finding, Surface
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from oracle import (
    Broken,
    growth_per_1000,
    judge_ending,
    judge_log,
    judge_memory,
    judge_peak,
    judge_rows,
    judge_service,
)
from socket_caller import call
from subject import MEMORY_BYTES_MAX, Rows, Subject
from targets import Targets

STRATEGIES: Mapping[Surface, st.SearchStrategy[Case]] = {
    "rest": rest_cases.cases,
    "grpc": grpc_cases.cases,
    "definition": definition_cases.cases,
    "expression": expression_cases.cases,
    **stranger_cases.STRATEGIES,
    **pressure_cases.STRATEGIES,
}
SHARES: Mapping[Surface, float] = {
    "rest": 0.39,
    "grpc": 0.245,
    "definition": 0.195,
    "expression": 0.145,
    "numbers": 0.0184,
    # These take seconds.
    "hollow-bodies": 0.0012,
    "body-floods": 0.0008,
    "pipelined-upgrades": 0.0016,
    "slow-bodies": 0.0008,
    "cancelled-polls": 0.0008,
    "large-answers": 0.0014,
}
"""Of all cases, how many go where."""
STRANGERS: Mapping[Surface, float] = {"strangers-rest": 0.6, "strangers-grpc": 0.4}
"""The same with authentication on."""
WIRE: Sequence[Surface] = ("rest", "grpc", "definition", "expression", *STRANGERS)
"""Surfaces whose engine has small limits; the others get one with the default limits."""

ROWS_EVERY = 25
"""Cases that must be refused, between two looks at the rows."""
MEMORY_EVERY = 50
PROBES = 7
SHRINK_WITHIN_S = 60.0


@dataclass(slots=True)
class Result:
    surface: str
    cases: int = 0
    accepted: int = 0
    refused: int = 0
    worst_s: float = 0.0
    worst_kind: str = ""
    peak_bytes: int = 0
    memory: list[tuple[int, int]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def growth_per_1000(self) -> float:
        return growth_per_1000(self.memory)[0]


class Campaign:
    """`told` hears of every case that counts."""

    def __init__(self, subject: Subject, seed: int, told: Callable[[Case], None] = lambda _: None) -> None:
        self._subject = subject
        self._seed = seed
        self.told = told
        self._targets = Targets(subject)
        self._before_s = [self._targets.run_probe() for _ in range(PROBES)]
        #: a warm engine: the first calls of each kind fill what only grows once
        subject.complaints()

    def run(self, surface: Surface, count: int) -> Result:
        """So many cases; less when one breaks a promise."""
        result = Result(surface)
        with Attempts(self._subject) as attempts:
            run = _Run(self._subject, self._targets, attempts, result, self.told)
            run.draw(STRATEGIES[surface], count, self._seed)
            if run.wants_each_row_watched:
                run.watch_each_row()
                run.draw(STRATEGIES[surface], count, self._seed)
            self._judge_whole(result)
        return result

    def replay(self, case: Case) -> Result:
        """One case, with every oracle but the slow growth."""
        result = Result(case.surface)
        with Attempts(self._subject) as attempts:
            run = _Run(self._subject, self._targets, attempts, result, self.told)
            run.watch_each_row()
            run.one(case)
            self._judge_whole(result)
        return result

    def _judge_whole(self, result: Result) -> None:
        """What is judged of the engine rather than of an answer."""
        judgements: list[Callable[[], None]] = [
            lambda: judge_log(self._complaints(result.surface)),
            lambda: judge_memory(result.memory),
            lambda: judge_service(self._before_s, [self._targets.run_probe() for _ in range(PROBES)]),
            self._judge_readiness,
        ]
        for judge in judgements:
            try:
                judge()
            except Broken as broken:
                result.findings.append(Finding(broken.oracle, broken.text))
            except (AssertionError, OSError) as error:
                result.findings.append(Finding("still serving", f"the valid workflow fails: {error}"))

    def _complaints(self, surface: str) -> list[str]:
        complaints = self._subject.complaints()
        if surface in WIRE:
            return complaints
        # A node that is pressed says so of each call that it turns away.
        return [line for line in complaints if '"status":503' not in line]

    def _judge_readiness(self) -> None:
        answer = call(self._subject.rest_port, "GET", "/ready")
        if answer.status != 200 or answer.json["ready"] is not True:
            raise Broken("still serving", f"/ready answers {answer.status}: {answer.body[:300]!r}")


class _Run:
    """The cases of one surface, with what is known of the rows meanwhile."""

    def __init__(
        self,
        subject: Subject,
        targets: Targets,
        attempts: Attempts,
        result: Result,
        told: Callable[[Case], None],
    ) -> None:
        self._subject, self._targets, self._attempts = subject, targets, attempts
        self._result = result
        self._told = told
        self._rows: Rows = subject.rows()
        self._unwatched = 0
        self._each_row = False
        self._smallest: Finding | None = None
        self._shrink_until_s = 0.0
        self.wants_each_row_watched = False

    def watch_each_row(self) -> None:
        """From now on the rows are compared after every case, so that the one at fault is known."""
        self._each_row = True

    def draw(self, strategy: st.SearchStrategy[Case], count: int, seed: int) -> None:
        self._result.cases = self._result.accepted = self._result.refused = 0
        rounds = 0
        while self._result.cases < count and self._smallest is None and not self._row_fault():
            settings = hypothesis.settings(
                max_examples=count - self._result.cases,
                database=None,
                deadline=None,
                phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
                suppress_health_check=tuple(hypothesis.HealthCheck),
                report_multiple_bugs=False,
                print_blob=False,
                verbosity=hypothesis.Verbosity.quiet,
            )
            drawn = hypothesis.seed(f"{seed}/{rounds}")(settings(hypothesis.given(strategy)(self._one_drawn)))
            try:
                drawn()
            except (Broken, HypothesisException, ExceptionGroup):
                # The last word of the search is about its smallest case, which is kept below.
                if self._smallest is None and not self._row_fault():
                    raise
            rounds += 1
        self._look_at_rows_at_end()
        if self._smallest is not None:
            self._result.findings.append(self._smallest)

    def one(self, case: Case) -> None:
        try:
            self._carry_out(case)
        except Broken as broken:
            self._result.findings.append(Finding(broken.oracle, broken.text, case))
            self._recover()

    def _row_fault(self) -> bool:
        return self.wants_each_row_watched and not self._each_row

    def _one_drawn(self, case: Case) -> None:
        if self._row_fault() or (self._smallest is not None and time.monotonic() > self._shrink_until_s):
            return
        try:
            self._carry_out(case)
        except Broken as broken:
            if self._smallest is None:
                self._shrink_until_s = time.monotonic() + SHRINK_WITHIN_S
            known = self._smallest.case if self._smallest else None
            if known is None or len(case.sent) <= len(known.sent):
                self._smallest = Finding(broken.oracle, broken.text, case)
            self._recover()
            raise

    def _recover(self) -> None:
        """The next case finds an engine and rows to aim at, whatever the last one left."""
        if self._subject.ending() is not None or self._subject.forget_peak() > MEMORY_BYTES_MAX:
            self._subject.restart()
        self._targets.renew()
        self._rows, self._unwatched = self._subject.rows(), 0

    def _carry_out(self, case: Case) -> None:
        aimed = self._targets.aimed(case)
        if not case.must_refuse:
            self._look_at_rows()
        resident_bytes = self._subject.forget_peak()
        began_s = time.monotonic()
        try:
            accepted = self._attempts.make(aimed)
        except Broken:
            # An engine that is gone, or swollen, answers late or never: the cause comes first.
            self._judge_process(resident_bytes)
            raise
        took_s = time.monotonic() - began_s
        self._judge_process(resident_bytes)
        self._judge_rows_of(case, accepted=accepted)
        if self._smallest is None:
            self._note(case, took_s, accepted=accepted)

    def _judge_process(self, resident_before_bytes: int) -> None:
        judge_ending(self._subject.ending(), MEMORY_BYTES_MAX)
        peak_bytes = self._subject.peak_bytes()
        self._result.peak_bytes = max(self._result.peak_bytes, peak_bytes)
        judge_peak(peak_bytes, resident_before_bytes, MEMORY_BYTES_MAX)

    def _judge_rows_of(self, case: Case, *, accepted: bool) -> None:
        if accepted:
            self._targets.renew()
            self._rows, self._unwatched = self._subject.rows(), 0
            return
        self._unwatched += 1
        # An expression without a value, and a definition's faults at run time, are instances that failed: rows.
        if case.surface == "expression":
            self._rows, self._unwatched = self._subject.rows(), 0
        elif self._each_row or not case.must_refuse:
            judge_rows(self._rows, self._subject.rows())
            self._unwatched = 0
        elif self._unwatched >= ROWS_EVERY:
            self._look_at_rows()

    def _look_at_rows(self) -> None:
        if not self._unwatched:
            return
        self._unwatched = 0
        try:
            judge_rows(self._rows, self._subject.rows())
        except Broken:
            if self._each_row:
                raise
            self.wants_each_row_watched = True

    def _look_at_rows_at_end(self) -> None:
        if not self._row_fault():
            self._look_at_rows()

    def _note(self, case: Case, took_s: float, *, accepted: bool) -> None:
        result = self._result
        result.cases += 1
        result.accepted += accepted
        result.refused += not accepted
        if took_s > result.worst_s:
            result.worst_s, result.worst_kind = took_s, case.kind
        if result.cases % MEMORY_EVERY == 0:
            result.memory.append((result.cases, self._subject.rss_bytes()))
        self._told(case)
