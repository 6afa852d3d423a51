"""The few operations around a violation: what a reader needs to see to believe it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from seatrial.history import History, Op
from seatrial.verdict import Verdict, Witness

EVENTS_MAX = 20


class Events:
    """Finds the events of many witnesses in one pass over the history."""

    def __init__(self, history: History, verdicts: Iterable[Verdict]) -> None:
        self._ops = history.ops
        wanted = {id_ for verdict in verdicts for witness in verdict.witnesses for id_ in witness.ids}
        self._by_id: dict[str, list[int]] = {id_: [] for id_ in wanted}
        if wanted:
            for op in history.ops:
                for id_ in {text for text in _texts(op.value) if text in wanted}:
                    self._by_id[id_].append(op.index)

    def around(self, witness: Witness) -> Sequence[Op]:
        """At most EVENTS_MAX, in file order: the ops the check names, then those that mention its ids (the nearest to
        the named ones first), then the direct neighbours.
        """
        named = [index for index in witness.op_indexes if 0 <= index < len(self._ops)]
        related = sorted({index for id_ in witness.ids for index in self._by_id.get(id_, ())})
        centre = named or related
        candidates = [
            *named,
            *_nearest_first(related, named),
            *(index + step for step in (-1, 1, -2, 2) for index in centre[:2]),
        ]
        chosen: dict[int, None] = {}
        for index in candidates:
            if 0 <= index < len(self._ops):
                chosen.setdefault(index)
            if len(chosen) == EVENTS_MAX:
                break
        return [self._ops[index] for index in sorted(chosen)]


def _nearest_first(indexes: Sequence[int], centre: Sequence[int]) -> Sequence[int]:
    if not centre:
        return indexes
    return sorted(indexes, key=lambda index: min(abs(index - named) for named in centre))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
