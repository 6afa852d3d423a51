"""Nobody reads standard output, as when the collector of a node hangs: the node serves on, and ends when told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from engine_client import EngineClient
from engine_process import WINDLASS
from workflow import END, service

from patience import WITHIN_S, eventually
from seatrial.cluster.port import Ports

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: makes lines longer
TRACE = {"traceparent": "00-" + "a" * 240}
CALLS = 6_000
CALLS_AT_ONCE = 50
#: past it a node ends itself by force, with another exit code
GRACE_S = 3


class Piped:
    """A node whose standard output is a pipe that is read only while `reads` is set."""

    def __init__(self, process: asyncio.subprocess.Process, pipe: int, ports: list[int]) -> None:
        self.process = process
        self.client = EngineClient(*(f"http://127.0.0.1:{port}" for port in ports))
        self.reads = threading.Event()
        self.reads.set()
        self._text = b""
        self._pipe = pipe
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def said(self, msg: str) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self._text.splitlines(keepends=True) if line.endswith(b"\n")]
        return [line for line in lines if line["msg"] == msg]

    def _read(self) -> None:
        while self.reads.wait(60) and (data := os.read(self._pipe, 65536)):
            self._text += data


@pytest_asyncio.fixture(loop_scope="session")
async def piped(dsn: str, tmp_path: Path) -> AsyncIterator[Piped]:
    taker = Ports()
    ports = [taker.take() for _ in range(3)]
    reading, writing = os.pipe()
    env = dict(zip(("WE_REST_PORT", "WE_METRICS_PORT", "WE_GRPC_PORT"), map(str, ports), strict=True))
    env["WINDLASS_SHUTDOWN_GRACE_SECONDS"] = str(GRACE_S)
    with (tmp_path / "stderr").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            WINDLASS, env={"PATH": os.environ["PATH"], "WE_POSTGRES_DSN": dsn, **env}, stdout=writing, stderr=err
        )  # fmt: skip
    os.close(writing)
    node = Piped(process, reading, ports[:2])
    try:
        async with node.client:
            await eventually(lambda: node.said("engine: REST listening"))
            yield node
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        node.reads.set()
        taker.close()


async def test_a_node_serves_on_when_nobody_reads_its_log(piped: Piped) -> None:
    workflow = await piped.client.define(service("a"), END)
    piped.reads.clear()
    await piped.client.get("/v1/instances/ghost")

    async def ask() -> None:
        for _ in range(CALLS // CALLS_AT_ONCE):
            assert (await piped.client.call("GET", "/v1/instances/ghost", headers=TRACE)).status == 404

    async with asyncio.timeout(60):
        await asyncio.gather(*(ask() for _ in range(CALLS_AT_ONCE)))
    instance = await workflow.start()
    await piped.client.complete(await workflow.lease_one("a"))
    assert await piped.client.status(instance) == "COMPLETED"
    (text,) = re.findall(
        r"^windlass_log_dropped_lines_total (\S+)$", await piped.client.metrics(), re.MULTILINE
    )
    dropped = float(text)
    assert dropped > 0
    piped.reads.set()
    (told,) = await eventually(lambda: piped.said("log: lines dropped"))
    assert told["level"] == "WARN"
    assert told["count"] == dropped


async def test_a_node_that_nobody_hears_ends_within_its_grace_when_told(piped: Piped) -> None:
    piped.reads.clear()
    for _ in range(1_000):
        await piped.client.call("GET", "/v1/instances/ghost", headers=TRACE)
    piped.process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(piped.process.wait(), WITHIN_S) == 0
