from seatrial.verdict import Outcome, worst


def test_the_worst_outcome_wins_wherever_it_stands() -> None:
    from_best = [Outcome.PASS, Outcome.VACUOUS, Outcome.INVALID, Outcome.UNKNOWN, Outcome.FAIL]
    for number, outcome in enumerate(from_best):
        assert worst(from_best[: number + 1]) is outcome
        assert worst(reversed(from_best[: number + 1])) is outcome


def test_nothing_judged_is_nothing_wrong() -> None:
    assert worst([]) is Outcome.PASS
