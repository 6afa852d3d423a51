"""Instants on the database's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def instant_us(text: str | None) -> int:
    """Microseconds since 1970 of the database's ISO 8601 text; exact, so equal instants compare equal.

    Raises ValueError for any other text, and for none.
    """
    try:
        instant = datetime.fromisoformat(text or "")
    except (TypeError, ValueError) as err:
        raise ValueError(f"{text!r} is not an ISO 8601 time of the database") from err
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return (instant - _EPOCH) // _MICROSECOND
