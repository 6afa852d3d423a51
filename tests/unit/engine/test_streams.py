"""Which polls of a gRPC connection are ended for other calls."""

from __future__ import annotations

from collections import Counter

from windlass.api.streams import Streams
from windlass.early_end import EarlyEnd

LIMIT, KEPT = 20, 18


def test_calls_above_the_limit_end_the_polls_that_have_waited_for_longest() -> None:
    counted: Counter[str] = Counter()
    streams = Streams(LIMIT, lambda: counted.update(["ended"]))
    polls = [EarlyEnd() for _ in range(KEPT)]
    for poll in polls:
        streams.enter("a", poll)
    assert not any(poll.asked for poll in polls)
    for _ in range(2):
        streams.enter("a", None)
    newest = EarlyEnd()
    streams.enter("a", newest)
    assert [poll.asked for poll in (*polls, newest)] == [True] * 3 + [False] * (KEPT - 2)
    assert counted["ended"] == 3


def test_connections_do_not_count_for_each_other_and_what_has_left_is_not_ended() -> None:
    streams = Streams(LIMIT, lambda: None)
    gone, polls = EarlyEnd(), [EarlyEnd() for _ in range(KEPT - 1)]
    streams.enter("a", gone)
    for poll in polls:
        streams.enter("a", poll)
    for _ in range(LIMIT):
        streams.enter("b", None)
    assert not any(poll.asked for poll in (gone, *polls))
    streams.leave("a", gone)
    streams.enter("a", None)
    assert not any(poll.asked for poll in (gone, *polls))
    streams.enter("a", None)
    assert [poll.asked for poll in (gone, *polls[:2])] == [False, True, False]


def test_calls_that_do_not_wait_are_never_ended() -> None:
    streams = Streams(LIMIT, lambda: None)
    for _ in range(3 * LIMIT):
        streams.enter("a", None)
    for _ in range(3 * LIMIT):
        streams.leave("a", None)
    assert streams.connections == 0


def test_with_few_streams_none_is_kept_free() -> None:
    streams = Streams(2, lambda: None)
    polls = [EarlyEnd() for _ in range(2)]
    for poll in polls:
        streams.enter("a", poll)
    assert not any(poll.asked for poll in polls)
