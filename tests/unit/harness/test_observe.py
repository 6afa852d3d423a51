"""What the observer writes of the end state, over REST, from metrics and from logs."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from small_engine import SmallEngine

from seatrial.client import RecordingClient
from seatrial.cluster import Replica
from seatrial.history import Op, Recorder
from seatrial.observe.final_state import (
    ObservationFailed,
    observe_metrics,
    observe_rest,
    scan_log,
)
from seatrial.observe.outbox_audit import by_replica


@pytest.fixture
async def engine() -> AsyncIterator[SmallEngine]:
    async with SmallEngine() as engine:
        yield engine


def ops(folder: Path) -> list[Op]:
    return [
        msgspec.json.decode(line, type=Op) for line in (folder / "history.jsonl").read_bytes().splitlines()
    ]


async def test_rest_observation_takes_this_runs_instances_in_either_spelling(
    engine: SmallEngine, tmp_path: Path
) -> None:
    recorder = Recorder(tmp_path)
    async with RecordingClient("client-0", [engine.replica], recorder, random.Random(1)) as client:
        for number in range(230):
            await client.start("ends", {"key": f"mine/{number}"})
        await client.start("ends", {"key": "theirs/1"})
        await client.start("ends", {})
        await observe_rest(client, recorder, "mine/")
    recorder.close()
    rows = [op for op in ops(tmp_path) if op.process == "observer"]
    assert sum(op.f == "instance" for op in rows) == 230
    step = next(op.value for op in rows if op.f == "step")
    assert (step["instance_id"], step["step_id"], step["attempt_number"]) == ("replica-0-i1", "end", 1)


async def test_what_cannot_be_observed_is_not_judged(engine: SmallEngine, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    replica = engine.replica
    await engine.close()
    async with RecordingClient("client-0", [replica], recorder, random.Random(1)) as client:
        with pytest.raises(ObservationFailed, match="the instance list cannot be read at replica-0"):
            await observe_rest(client, recorder, "mine/")
    recorder.close()


async def test_metrics_of_the_nodes_that_answer_are_kept(engine: SmallEngine, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    await observe_metrics(
        [engine.replica, replace(engine.replica, name="gone", metrics_url="http://127.0.0.1:1"),
         Replica("none", "http://127.0.0.1:1", None)],
        recorder,
    )  # fmt: skip
    recorder.close()
    assert [op.value for op in ops(tmp_path)] == [
        {"node": "replica-0", "series": {'starts_total{node="replica-0"}': 0.0}}
    ]


def test_a_log_scan_says_what_matched_and_that_nothing_did(tmp_path: Path) -> None:
    class Logging:
        def log_path(self, replica: str) -> Path:
            return tmp_path / f"{replica}.log"

        def run_began_at(self, _replica: str) -> int:
            return 0

    (tmp_path / "replica-0.log").write_text("a kafka line\nnothing\n" * 30)
    recorder = Recorder(tmp_path)
    scan_log(Logging(), "replica-0", ["(?i)KAFKA", "outbox"], recorder)
    recorder.close()
    found, none = (op.value for op in ops(tmp_path))
    assert found == {"node": "replica-0", "pattern": "(?i)KAFKA", "matches": ["a kafka line"] * 20}
    assert none["matches"] == []


def test_an_engine_that_knows_itself_by_another_name_bears_its_replicas() -> None:
    aliases = {"windlass-5d9-x": "replica-1"}
    assert by_replica("windlass-5d9-x", aliases) == "replica-1"
    assert by_replica("windlass/windlass-5d9-x/engine", aliases) == "windlass/replica-1/engine"
    assert by_replica("windlass/windlass-5d9-xy/engine", aliases) == "windlass/windlass-5d9-xy/engine"
    assert by_replica("psql", aliases) == "psql"
