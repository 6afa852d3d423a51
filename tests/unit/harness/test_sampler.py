"""What the sampler makes of the database's count of connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from seatrial.cluster import ClusterError
from seatrial.history import Op, Recorder
from seatrial.observe.sampler import Sampler


def told(tmp_path: Path, *looks: list[tuple[str, int]]) -> list[dict[str, Any]]:
    recorder = Recorder(tmp_path)
    sampler = Sampler([], None, recorder)
    for rows in looks:
        sampler._tell_sessions(rows)
    recorder.close()
    lines = (tmp_path / "history.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Op).value for line in lines]


def test_connections_are_told_by_engine_and_those_that_name_none_in_the_total(tmp_path: Path) -> None:
    assert told(tmp_path, [("replica-1", 5), ("", 2), ("replica-0", 4)]) == [
        {"total": 11, "nodes": {"replica-0": 4, "replica-1": 5}}
    ]


def test_only_what_changes_is_told(tmp_path: Path) -> None:
    looks = [[("a", 1)], [("a", 1)], [("a", 2)], [("a", 1)], []]
    assert [each["total"] for each in told(tmp_path, *looks)] == [1, 2, 1, 0]


async def test_where_there_is_no_database_nobody_can_look(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="add Database to the drill's needs"):
        await Sampler([], None, Recorder(tmp_path)).watch_sessions()
