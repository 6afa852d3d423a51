"""Durations of boundary timers (contract 3.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.definition.duration import DURATION_MAX_S, BadDuration, parse_duration_s


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [
        ("PT48H", 172_800),
        ("PT1H30M", 5_400),
        ("PT0.5S", 0.5),
        ("PT0,5S", 0.5),
        ("PT2S", 2),
        ("PT1M", 60),
        ("PT1.5H", 5_400),
        ("P7D", 604_800),
        ("P2W", 1_209_600),
        ("P1DT2H", 93_600),
        ("P1W2DT3H4M5.25S", 788_645.25),
        ("P0DT1S", 1),
        ("PT0.000001S", 1e-6),
        ("P36600D", DURATION_MAX_S),
    ],
)
def test_length(text: str, duration_s: float) -> None:
    assert parse_duration_s(text) == pytest.approx(duration_s, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("P1Y", "years or months"),
        ("P1M", "years or months"),
        ("P1Y2M3DT4H", "years or months"),
        ("PT0S", "longer than zero"),
        ("P0D", "longer than zero"),
        ("PT0.0000001S", "longer than zero"),
        ("P36601D", "too long"),
        ("P" + "9" * 5000 + "D", "too long"),
        ("", "malformed"),
        ("P", "malformed"),
        ("PT", "malformed"),
        ("P1DT", "malformed"),
        ("P2H", "malformed"),
        ("PT1D", "malformed"),
        ("PT1M1H", "malformed"),
        ("PT1H1H", "malformed"),
        ("PT.5S", "malformed"),
        ("PT5.S", "malformed"),
        ("PT-5S", "malformed"),
        ("-PT5S", "malformed"),
        ("pt5s", "malformed"),
        (" PT5S", "malformed"),
        ("PT5S\n", "malformed"),
        ("PT\u0665S", "malformed"),
        ("48 hours", "malformed"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(BadDuration, match=reason) as caught:
        parse_duration_s(text)
    assert text[:80] in str(caught.value)
    assert len(str(caught.value)) < 250


@given(st.text(alphabet="PTYWDHMS0123456789.,-\n", max_size=30))
def test_any_text_is_a_length_in_range_or_refused(text: str) -> None:
    try:
        duration_s = parse_duration_s(text)
    except BadDuration:
        return
    assert 0 < duration_s <= DURATION_MAX_S


@given(st.tuples(*[st.integers(0, 50)] * 5).filter(any))
def test_components_add_up(numbers: tuple[int, ...]) -> None:
    weeks, days, hours, minutes, seconds = numbers
    date = f"{weeks}W{days}D"
    assert (
        parse_duration_s(f"P{date}T{hours}H{minutes}M{seconds}S")
        == (((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + seconds
    )
