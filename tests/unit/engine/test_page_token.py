"""The cursor of lists and histories: what it is made of comes back, and anything else is refused by name."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from windlass import wire
from windlass.errors import BadRequest
from windlass.page_token import place_of, token_after


@pytest.mark.parametrize("microsecond", [0, 1, 100_000, 120_000, 123_400, 999_999])
def test_a_place_comes_back(microsecond: int) -> None:
    instant = datetime(2026, 11, 30, 22, 5, 1, microsecond, UTC)
    view = wire.InstanceView("id 1", "d", 1, "ACTIVE", [], wire.EMPTY_OBJECT, wire.format_time(instant))
    assert place_of(token_after(view)) == (instant, "id 1")


@pytest.mark.parametrize(
    "text",
    ["", " ", "2026-11-30T22:05:01Z", "2026-11-30T22:05:01Z ", "9999 i", "2026-11-30T22:05:01.1234567Z i",
     "2026-11-30T22:05:01.xZ i", "2026-11-30T22:05:01Z i\x00", "0000-00-00T00:00:00Z i"],
)  # fmt: skip
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="pageToken"):
        place_of(base64.urlsafe_b64encode(text.encode()).decode())


@pytest.mark.parametrize("token", ["x", "é", "====", "\x00", "_w", "a" * 10_000])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(BadRequest, match="pageToken"):
        place_of(token)
