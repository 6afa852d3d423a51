"""The leader's own clock, lag from offsets, destinations being watched, an event's bytes: all without a broker."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.api.gen import workflow_pb2 as pb
from windlass.dispatch.kafka.event import encode
from windlass.dispatch.kafka.lag import PartitionHistory
from windlass.dispatch.kafka.publisher import PartitionEnds
from windlass.dispatch.kafka.topics import group_of, topic_of
from windlass.dispatch.leader import MARGIN_PER_TERM, RENEWALS_PER_TERM, term
from windlass.dispatch.watch import DestinationWatch
from windlass.job_event import JobEvent

# -- the term


def test_a_term_ends_here_before_it_ends_in_the_database() -> None:
    """The database counted from later than the question was sent, so its term ends later still."""
    mine = term(7, asked_at_s=100.0, term_s=3.0)
    assert mine.epoch == 7
    assert mine.covers(100.0)
    assert mine.covers(101.9)
    assert not mine.covers(102.0)
    assert not mine.covers(103.0)


@given(st.floats(0.5, 60), st.floats(0, 5))
def test_whatever_the_round_trip_no_moment_is_led_twice(term_s: float, round_trip_s: float) -> None:
    asked_at_s = 1000.0
    expires_in_database_at_s = asked_at_s + round_trip_s / 2 + term_s
    mine = term(1, asked_at_s, term_s)
    assert not mine.covers(expires_in_database_at_s - term_s * MARGIN_PER_TERM + 1e-6)


def test_there_is_time_for_a_renewal_that_fails_and_one_that_does_not() -> None:
    assert 2 / RENEWALS_PER_TERM < 1 - MARGIN_PER_TERM


# -- lag


def test_no_lag_while_everything_is_committed() -> None:
    history = PartitionHistory()
    assert history.lag_s(10.0, PartitionEnds(end=0, committed=-1)) == 0
    assert history.lag_s(15.0, PartitionEnds(end=9, committed=9)) == 0


def test_lag_counts_from_when_the_partition_passed_what_is_committed() -> None:
    history = PartitionHistory()
    history.lag_s(0.0, PartitionEnds(100, 100))
    history.lag_s(10.0, PartitionEnds(200, 100))
    assert history.lag_s(20.0, PartitionEnds(200, 100)) == 20.0
    assert history.lag_s(20.0, PartitionEnds(200, 150)) == pytest.approx(15.0)
    assert history.lag_s(20.0, PartitionEnds(200, 200)) == 0


def test_a_group_that_never_committed_lags_since_the_first_look() -> None:
    history = PartitionHistory()
    assert history.lag_s(100.0, PartitionEnds(5, -1)) == 0.0
    assert history.lag_s(130.0, PartitionEnds(9, -1)) == 30.0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(-1, 400)), min_size=1, max_size=40))
def test_lag_is_between_nothing_and_the_time_watched(steps: list[tuple[int, int]]) -> None:
    history, end = PartitionHistory(), 0
    for number, (more, committed) in enumerate(steps):
        end += more
        now_s = number * 5.0
        found = PartitionEnds(end, min(committed, end))
        lag_s = history.lag_s(now_s, found)
        assert 0 <= lag_s <= now_s
        assert found.committed < end or lag_s == 0


# -- destinations


class Cluster:
    """Job types with a destination; the one question of `Broker` that the watch asks."""

    def __init__(self, *job_types: str) -> None:
        self.job_types = set(job_types)
        self.asked: list[list[str]] = []

    async def unusable(self, job_types: Collection[str]) -> Mapping[str, str]:
        self.asked.append(sorted(job_types))
        return {job_type: "UNKNOWN" for job_type in job_types if job_type not in self.job_types}


async def test_a_destination_is_told_of_once_and_again_when_it_is_well() -> None:
    said: list[Any] = []
    cluster = Cluster("a")
    watch = DestinationWatch(
        cluster,  # type: ignore[arg-type]
        became_unusable=lambda job_type, reason: said.append((job_type, reason)),
        became_usable=said.append,
    )
    await watch.learn({"a", "b"})
    await watch.learn({"a", "b"})
    watch.blame("b", "told by the relay")
    await watch.look_again()
    assert said == [("b", "UNKNOWN")]
    assert cluster.asked[1] == [], "what is known is not asked again"
    cluster.job_types.add("b")
    await watch.look_again()
    await watch.look_again()
    assert said == [("b", "UNKNOWN"), "b"]
    assert watch.unusable == {}
    assert watch.job_types == {"a", "b"}


# -- the event


def test_an_event_has_the_numbers_that_every_consumer_reads() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)
    encoded = encode(JobEvent("dedup", "job", "instance", "execution", "send-email", 2, b'{"a":1}', at))
    assert encoded == b"".join(
        (
            b"\x08\x01",
            b"\x12\x05dedup",
            b"\x52\x03job",
            b"\x5a\x08instance",
            b"\x62\x09execution",
            b"\x6a\x0asend-email",
            b"\xa0\x01\x02",
            b'\xf2\x01\x07{"a":1}',
            b"\xc2\x02\x0c\x08\xa5\xeb\xdc\xca\x06\x10\x80\x8c\x8d\x9e\x02",
        )
    )
    assert pb.JobDispatchEvent.FromString(encoded).created_at.ToDatetime(UTC) == at
    assert (topic_of("send-email"), group_of("send-email")) == (
        "workflow.jobs.send-email",
        "workflow.workers.send-email",
    )
