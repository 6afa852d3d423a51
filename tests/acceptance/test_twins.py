"""Two processes of one name: the second ends its boot and says why, and a successor does not wait for the dead."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping

import pytest
from engine_process import RunWindlass

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAME = {"WINDLASS_SERVER_ID": "server-a"}
QUICK = {"WINDLASS_NODE_HEARTBEAT_SECONDS": "1"}
SILENCE_S = 2.25
"""With that heartbeat: how long a row must not have been written to be taken over."""
AWAITED = "node: waiting until the name is free"
WAYS: Mapping[str, Mapping[str, str]] = {
    "direct": {},
    # As behind a pooler, whose sessions outlive an engine.
    "pooled": {"WINDLASS_POSTGRES_POOLER": "transaction"},
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_twin_is_refused_and_told_who_has_its_name(windlass: RunWindlass, dsn: str, way: str) -> None:
    variables = {"WE_POSTGRES_DSN": dsn, **QUICK, **WAYS[way]}
    first, api = await windlass.serving("api", **variables, **NAME)
    # By whichever of the two variables.
    twin = await windlass("serve", **variables, WINDLASS_NODE_NAME="server-a")
    refusal = await twin.refused_to_boot()
    (node,) = (await api.get("/cluster/info")).json["nodes"]
    assert refusal.startswith(
        f"another process has the name 'server-a': role api, version {node['version']}, "
        f"started at {node['startedAt']}, last seen at "
    )
    assert refusal.endswith(
        "; give each process a WINDLASS_SERVER_ID (or WINDLASS_NODE_NAME) of its own, or stop the other one first"
    )
    assert (await api.get("/ready")).status == 200
    assert not first.log(msg="config: warning")
    assert [node["role"] for node in (await api.get("/cluster/info")).json["nodes"]] == ["api"]


@pytest.mark.parametrize("way", WAYS)
async def test_of_two_that_boot_at_one_moment_one_is_refused(
    windlass: RunWindlass, dsn: str, way: str
) -> None:
    variables = {"WE_POSTGRES_DSN": dsn, **QUICK, **WAYS[way], **NAME}
    both = [await windlass("serve", **variables) for _ in range(2)]
    ends = [asyncio.create_task(each.ended()) for each in both]
    done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    await asyncio.sleep(SILENCE_S)
    assert [each.running for each in both].count(True) == 1
    lost, won = sorted(both, key=lambda each: each.running)
    assert lost.log(msg="engine: fatal")[0]["err"].startswith("another process has the name 'server-a'")
    await won.until_logged("engine: REST listening")
    assert not won.log(msg="config: warning")
    for end in ends:
        end.cancel()


async def test_a_successor_of_a_killed_process_does_not_wait_for_its_row_to_age(
    windlass: RunWindlass, dsn: str
) -> None:
    """As a container that is restarted within its pod. The row is fresh, its writer's sessions have ended."""
    variables = {"WE_POSTGRES_DSN": dsn, "WINDLASS_NODE_HEARTBEAT_SECONDS": "600", **NAME}
    killed, _ = await windlass.serving(**variables)
    for _ in range(3):
        killed.send(signal.SIGKILL)
        killed, api = await windlass.serving(**variables)
        assert (await api.get("/cluster/info")).json["alive"] == 1


async def test_a_successor_of_a_stopped_process_comes_at_once(windlass: RunWindlass, dsn: str) -> None:
    variables = {"WE_POSTGRES_DSN": dsn, "WINDLASS_NODE_HEARTBEAT_SECONDS": "600", **NAME}
    stopped, _ = await windlass.serving(**variables)
    stopped.send(signal.SIGTERM)
    assert await stopped.ended() == 0
    successor, _ = await windlass.serving(**variables)
    assert not successor.log(msg=AWAITED)


@pytest.mark.parametrize("way", WAYS)
async def test_a_process_that_is_silent_and_has_its_sessions_is_replaced_when_its_row_is_old(
    windlass: RunWindlass, dsn: str, way: str
) -> None:
    """As a machine that lost its power, whose connections the server still believes in."""
    variables = {"WE_POSTGRES_DSN": dsn, **QUICK, **WAYS[way], **NAME}
    silent, _ = await windlass.serving(**variables)
    silent.send(signal.SIGSTOP)
    try:
        began = time.monotonic()
        successor, api = await windlass.serving(**variables)
        assert time.monotonic() - began < SILENCE_S + 5
        (line,) = successor.log(msg=AWAITED)
        assert (line["role"], line["level"]) == ("serve", "WARN")
        assert 0 < line["within_s"] <= SILENCE_S
        assert (await api.get("/ready")).status == 200
    finally:
        silent.send(signal.SIGCONT)
    # Both live now, which each tells.
    warning = (await silent.until_logged("config: warning"))["warning"]
    assert warning.startswith("another process on this database has the name 'server-a' too")
