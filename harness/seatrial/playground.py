"""A cluster to play with: kept up by one process, found again through a state file, ended by another command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import psutil

from seatrial.cluster import Replica
from seatrial.cluster.ability import Database
from seatrial.cluster.options import Misuse
from seatrial.cluster.process import runs, tail
from seatrial.deadline import Deadline, until_blocking
from seatrial.environment import Environment

STATE_FILE = "state.json"
LOG_FILE = "up.log"
UP_WITHIN_S = 120.0
DOWN_WITHIN_S = 60.0
_LOOK_INTERVAL_S = 0.1


class State(msgspec.Struct, frozen=True):
    """What is up. `created_s` tells the process from a later one with the same id."""

    pid: int
    created_s: float
    replicas: tuple[Replica, ...]
    dsn: str
    """Over the Unix socket; holds no secret."""


def read_state(folder: Path) -> State | None:
    """None when nothing is up there. Raises Misuse for a file that is not a state."""
    path = folder / STATE_FILE
    try:
        state = msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as err:
        raise Misuse(f"{path}: not a state file ({err}); remove it") from err
    return state if _process(state) is not None else None


async def serve(environment: Environment, folder: Path, ready: Callable[[State], None]) -> None:
    """Starts a cluster, says so, and keeps it until this task is cancelled; nothing is left behind."""
    _refuse_second(folder)
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    cluster = await environment.cluster(
        folder, replicas=environment.options.replicas or 3, values={}, restart=True
    )
    database = cluster.ability(Database)
    path = folder / STATE_FILE
    try:
        await cluster.up()
        created_s = psutil.Process().create_time()
        state = State(os.getpid(), created_s, tuple(cluster.replicas()), database.dsn())
        unfinished = path.with_suffix(".new")
        unfinished.write_bytes(msgspec.json.encode(state))
        unfinished.replace(path)
        ready(state)
        await asyncio.Event().wait()
    finally:
        path.unlink(missing_ok=True)
        await cluster.down()


def launch(folder: Path, words: Sequence[str]) -> State:
    """Starts `seatrial up --foreground` with `words` in a session of its own; returns when it is up.

    Raises Misuse with the last line of its log when it ends first.
    """
    _refuse_second(folder)
    folder.mkdir(parents=True, exist_ok=True)
    log_path = folder / LOG_FILE
    command = [sys.executable, "-m", "seatrial", "up", "--foreground", "--folder", str(folder), *words]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        return _await_state(process, folder, log_path)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        raise


def end(folder: Path) -> None:
    """Returns when the cluster is gone. Raises Misuse when none is up, or when it does not end."""
    state = read_state(folder)
    process = _process(state) if state is not None else None
    if process is None:
        raise Misuse(f"no cluster is up in {folder}; `seatrial up --folder {folder}` starts one")
    process.send_signal(signal.SIGTERM)
    until_blocking(
        lambda: not runs(process),
        within_s=DOWN_WITHIN_S,
        every_s=_LOOK_INTERVAL_S,
        otherwise=lambda: Misuse(
            f"process {process.pid} has not ended in {DOWN_WITHIN_S:g} s; see {folder / LOG_FILE}"
        ),
    )


def _await_state(process: subprocess.Popen[bytes], folder: Path, log_path: Path) -> State:
    for _ in Deadline(UP_WITHIN_S).attempts(_LOOK_INTERVAL_S):
        state = read_state(folder)
        if state is not None:
            return state
        if process.poll() is not None:
            raise Misuse(tail(log_path, 1).removeprefix("seatrial: "))
    raise Misuse(f"no cluster after {UP_WITHIN_S:g} s; see {log_path}")


def _refuse_second(folder: Path) -> None:
    state = read_state(folder)
    if state is not None and state.pid != os.getpid():
        raise Misuse(
            f"a cluster is up in {folder} (process {state.pid}); `seatrial down --folder {folder}` ends it"
        )


def _process(state: State) -> psutil.Process | None:
    try:
        process = psutil.Process(state.pid)
        return process if abs(process.create_time() - state.created_s) < 1 else None
    except psutil.NoSuchProcess:
        return None
