"""PostgreSQL array literals: statements take a batch's columns as text, which saves the driver's slow encoding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

_encoder = msgspec.json.Encoder()


def json_array(items: Sequence[object]) -> str:
    """An array of ids, numbers, states or JSON texts as PostgreSQL writes it.

    A JSON array in braces is exactly that, as long as no element holds a raw control character (JSON texts and ids
    never do). Encoded in C, it costs a thirtieth of what the driver takes for the same array.
    """
    return f"{{{_encoder.encode(items)[1:-1].decode()}}}"


def text_array(items: Iterable[str | None]) -> str:
    """An array of any text (names, reasons, what clients send), every element quoted."""
    quoted = ("NULL" if i is None else '"' + i.replace("\\", "\\\\").replace('"', '\\"') + '"' for i in items)
    return "{" + ",".join(quoted) + "}"
