"""The `windlass` program itself: what it prints where, how it ends, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine_client import EngineClient
from engine_on_trial import log_lines
from workflow import Json

from patience import WITHIN_S, eventually
from seatrial.cluster.port import Ports

WINDLASS = Path(sys.executable).with_name("windlass")


class EngineProcess:
    """A running or ended process. Its output is in two files, read as often as a test likes."""

    def __init__(
        self, process: asyncio.subprocess.Process, folder: Path, secret: str, rest_port: int
    ) -> None:
        self._process = process
        self._folder = folder
        self._secret = secret
        self.rest_port = rest_port
        self.rest_url = f"http://127.0.0.1:{rest_port}"
        self.stdout_path = folder / "stdout"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdout(self) -> str:
        return self.stdout_path.read_text()

    @property
    def stderr(self) -> str:
        return (self._folder / "stderr").read_text()

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def log(self, **attributes: object) -> list[Json]:
        return [line for line in log_lines(self.stdout) if attributes.items() <= line.items()]

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def until_logged(self, msg: str) -> Json:
        """The first line with that `msg`; fails the test when the process ends without it."""

        def found() -> list[Json]:
            lines = self.log(msg=msg)
            assert lines or self.running, f"it ended without {msg!r}: {self.stdout}{self.stderr}"
            return lines

        return (await eventually(found))[0]

    async def ended(self, within_s: float = WITHIN_S) -> int:
        """The exit code. No password in what it said, and nothing of its process group left running."""
        code = await asyncio.wait_for(self._process.wait(), within_s)
        assert self._secret not in self.stdout + self.stderr
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, 0)
            raise AssertionError(f"process group {self.pid} outlived its first process")
        return code

    async def refused_to_boot(self) -> str:
        """Exit 1 with one message: an `engine: fatal` line on standard output, the same text on standard error."""
        assert await self.ended() == 1
        (fatal,) = self.log(level="ERROR")
        assert fatal["msg"] == "engine: fatal"
        text = str(fatal["err"])
        # A log line masks what looks like a password, also in the example of how to write one.
        told = self.stderr.strip().removeprefix("windlass: ").replace("user:password@", "user:***@")
        assert told == text
        assert "Traceback" not in self.stdout + self.stderr
        return text

    async def close(self) -> None:
        if self.running:
            self._process.kill()
        await self._process.wait()


def _hangup_counts() -> None:
    """Also where these tests run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class RunWindlass:
    """Callable: starts `windlass WORDS` with these variables and nothing of this process's own environment.

    `command` takes the place of `windlass`.
    """

    def __init__(self, folder: Path, *, secret: str, command: Sequence[str] = (str(WINDLASS),)) -> None:
        self._folder = folder
        self._command = command
        self._secret = secret
        self._ports = Ports()
        self._numbers = itertools.count()
        self._started: list[EngineProcess] = []
        self._clients = contextlib.AsyncExitStack()

    async def __call__(self, *words: str, **variables: str) -> EngineProcess:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        rest_port = self._ports.take()
        env = {
            "PATH": os.environ["PATH"],
            "WE_REST_PORT": str(rest_port),
            "WE_GRPC_PORT": "0",
            "WE_METRICS_PORT": "0",
            "WINDLASS_SHUTDOWN_GRACE_SECONDS": "10",
            **variables,
        }
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            process = await asyncio.create_subprocess_exec(
                *self._command, *words, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True, preexec_fn=_hangup_counts,
            )  # fmt: skip
        started = EngineProcess(process, folder, self._secret, _port(env) or rest_port)
        self._started.append(started)
        return started

    async def serving(self, *words: str, **variables: str) -> tuple[EngineProcess, EngineClient]:
        """The same, once it listens, with a client of its own."""
        process = await self(*words, **variables)
        await process.until_logged("engine: REST listening")
        metrics_port = process.log(msg="engine: metrics listening")[0]["addr"].removeprefix(":")
        client = EngineClient(process.rest_url, f"http://127.0.0.1:{metrics_port}")
        return process, await self._clients.enter_async_context(client)

    async def close(self) -> None:
        await self._clients.aclose()
        for process in self._started:
            await process.close()
        self._ports.close()


def _port(env: Mapping[str, str]) -> int | None:
    text = env["WE_REST_PORT"]
    return int(text) if text.isdigit() else None
