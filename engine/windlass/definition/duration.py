"""ISO-8601 durations of boundary timers: weeks, days and, after T, hours, minutes, seconds (contract 3.3)."""

from __future__ import annotations

import re

#: A longer timer is probably a typing error, and `now + duration` must stay a valid timestamp.
DURATION_MAX_S = 100 * 366 * 86_400.0

#: The database keeps microseconds; anything shorter would be stored as zero.
DURATION_MIN_S = 1e-6

_NUMBER = r"([0-9]+(?:[.,][0-9]+)?)"
DURATION = re.compile(
    rf"P(?=[0-9T])(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?=[0-9])(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?"
)
_YEAR_OR_MONTH = re.compile(r"P[^T]*[YM]")
_UNITS_S = (604_800.0, 86_400.0, 3_600.0, 60.0, 1.0)
_SHOWN_CHARS_MAX = 80


class BadDuration(ValueError):
    """The text is not a duration that the engine can keep; the message names the text and the remedy."""


def parse_duration_s(text: str) -> float:
    """Return the length in seconds, more than zero and at most DURATION_MAX_S.

    A fraction is accepted in any component, with a point or a comma. Years and months are refused:
    their length depends on the date. Raises BadDuration.
    """
    shown = text if len(text) <= _SHOWN_CHARS_MAX else text[:_SHOWN_CHARS_MAX] + "…"
    found = DURATION.fullmatch(text)
    if found is None:
        if _YEAR_OR_MONTH.match(text):
            raise BadDuration(
                f'duration "{shown}" uses years or months, whose length varies; use weeks or days'
            )
        raise BadDuration(f'duration "{shown}" is malformed; write ISO-8601 like PT30S, PT1H30M, P7D or P2W')
    numbers = (float(number.replace(",", ".")) if number else 0.0 for number in found.groups())
    duration_s = sum(number * unit_s for number, unit_s in zip(numbers, _UNITS_S, strict=True))
    if duration_s < DURATION_MIN_S:
        raise BadDuration(f'duration "{shown}" must be longer than zero (at least one microsecond)')
    if duration_s > DURATION_MAX_S:
        raise BadDuration(f'duration "{shown}" is too long; at most 100 years (P36600D)')
    return duration_s
