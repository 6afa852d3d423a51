"""Polls that wait over gRPC do what they say, and the probe beside them is recorded."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from small_grpc_engine import SmallGrpcEngine

from seatrial.check.probe_truth import GRPC_LIVENESS
from seatrial.gen import workflow_pb2 as pb
from seatrial.history import HISTORY_FILE, Recorder
from seatrial.workload.grpc_parked import GrpcParkedPolls


async def test_they_wait_over_one_channel_and_a_probe_goes_beside_them(tmp_path: Path) -> None:
    asked: list[pb.PollJobsRequest] = []

    async def hold(rpc: str, request: Any, _context: Any) -> None:
        if rpc == "PollJobs":
            asked.append(request)
            await asyncio.sleep(30)

    async with SmallGrpcEngine() as engine:
        engine.grpc_script = hold
        recorder = Recorder(tmp_path)
        polls = GrpcParkedPolls(engine.replica, 20, 5.0, recorder)
        task = asyncio.create_task(polls.run())
        await asyncio.sleep(1.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        recorder.close()
        peers = engine.peers
    assert polls.told() == {"kind": "parked polls over gRPC", "bytes": 0, "statuses": {}, "at_once": 20}
    assert {request.wait_ms for request in asked} == {5000}
    assert len(peers) == 1
    ops = [json.loads(line) for line in (tmp_path / HISTORY_FILE).read_text().splitlines()]
    asked_for = [op["value"] for op in ops if op["type"] == "invoke"]
    assert asked_for
    assert all(value == {"node": "replica-0", "path": GRPC_LIVENESS} for value in asked_for)
    # This engine has no health service.
    assert {op["type"] for op in ops} == {"invoke", "info"}
