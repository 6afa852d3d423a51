"""A Redis or Valkey server of this machine, as a process of the harness's own.

It listens on loopback, keeps nothing on disk, and asks for a password when it is given one.

    async with RedisServer(log, password="...") as server:
        await server.ask("PING")
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from seatrial.cluster import ClusterError
from seatrial.cluster.installation import short_folder
from seatrial.cluster.port import Ports
from seatrial.cluster.process import Process, tail
from seatrial.cluster.reaper import Reaper
from seatrial.cluster.startable import Startable
from seatrial.deadline import until_passes

NEED = "needs redis-server or valkey-server (apt-get install redis-server)"
"""What a test that is skipped without the program says."""
READY_WITHIN_S = 15.0
STOP_WITHIN_S = 10.0
ANSWER_WITHIN_S = 5.0
_LOOK_INTERVAL_S = 0.02


def find_redis() -> str | None:
    """The program's path; None when it is not installed."""
    return next((found for name in ("redis-server", "valkey-server") if (found := shutil.which(name))), None)


class RedisServer(Startable):
    """`start` ... `close`. Usable again after `stop` and `kill`; the port stays the same.

    `settings` are lines of its configuration; with `sentinel` it is one, and watches what they say. With a tls-port
    among them the plain port is used by the harness alone.
    """

    def __init__(
        self,
        log_path: Path,
        *,
        password: str = "",
        settings: Mapping[str, str] | None = None,
        sentinel: bool = False,
        program: str | None = None,
    ) -> None:
        self.log_path = log_path
        self._password = password
        self._settings = dict(settings or {})
        self._sentinel = sentinel
        self._program = program
        self._ports = Ports()
        self._reaper: Reaper | None = None
        self._folder: Path | None = None
        self._process: Process | None = None
        self.port = 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ClusterError("Redis was never started, or is closed; start it first")
        return self._process.pid

    async def start(self) -> None:
        """Returns when it answers. Nothing happens when it runs. Raises ClusterError when it is not installed."""
        if self.running:
            return
        process = self._process or await self._prepare()
        process.start()
        await self._answer(process)

    async def stop(self) -> None:
        """SIGTERM: it closes all its connections. Nothing happens when it does not run."""
        if self._process is not None and self._process.running:
            await self._process.stop(STOP_WITHIN_S)

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        if self._process is not None:
            await self._process.kill()

    def url(self, port: int | None = None) -> str:
        """As WINDLASS_REDIS_URL has it; `port` is that of a proxy. Holds the password: never log it."""
        login = f":{quote(self._password, safe='')}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{port or self.port}"

    async def ask(self, *words: str) -> Any:
        """Its answer to a command: text, a number, None, or a list of such. Raises ClusterError."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    if self._password:
                        await _asked(reader, writer, ("AUTH", self._password))
                    return await _asked(reader, writer, words)
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as err:
            raise ClusterError(f"Redis does not answer {words[0]}: {type(err).__name__}: {err}") from err

    async def close(self) -> None:
        """The server and its folder are gone afterwards; safe to call twice and half-way."""
        await self.kill()
        self._process = None
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._folder = None
        if self._reaper is not None:
            self._reaper.close()
            self._reaper = None
        self._ports.close()

    async def _prepare(self) -> Process:
        program = self._program or find_redis()
        if program is None:
            raise ClusterError(f"Redis cannot be started: {NEED}")
        self._reaper = self._reaper or Reaper()
        self._folder = Path(tempfile.mkdtemp(prefix="sr-", dir=short_folder()))
        self._reaper.watch_folder(self._folder)
        self.port = self._ports.take()
        # Not arguments: they would show the password. A Sentinel writes to its file.
        configuration = self._folder / "redis.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(self._configuration())
        self._process = Process(
            "redis",
            [program, str(configuration), *(["--sentinel"] if self._sentinel else [])],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            log_path=self.log_path,
            reaper=self._reaper,
        )
        return self._process

    def _configuration(self) -> str:
        lines = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(self._folder)}
        if not self._sentinel:
            lines |= {"save": '""', "appendonly": "no"}
        if self._password:
            lines["requirepass"] = f'"{self._password}"'
        return "".join(f"{name} {value}\n" for name, value in (lines | self._settings).items())

    async def _answer(self, process: Process) -> None:
        def failure(cause: str) -> ClusterError:
            return ClusterError(
                f"Redis did not start: {cause}; the end of {self.log_path}:\n{tail(self.log_path)}"
            )

        async def looked() -> str | None:
            if not process.running:
                raise failure(f"it exited with {process.exit_code}")
            with contextlib.suppress(ClusterError):
                await self.ask("PING")
                return None
            return "it does not answer"

        await until_passes(looked, within_s=READY_WITHIN_S, every_s=_LOOK_INTERVAL_S, otherwise=failure)


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, words: tuple[str, ...]) -> Any:
    encoded = [word.encode() for word in words]
    writer.write(
        b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
    )
    await writer.drain()
    return await _answered(reader)


async def _answered(reader: asyncio.StreamReader) -> Any:
    """One value of RESP 2. Raises ClusterError for an error of the server's."""
    line = (await reader.readuntil(b"\r\n"))[:-2].decode(errors="replace")
    kind, rest = line[:1], line[1:]
    if kind == "-":
        raise ClusterError(f"Redis refused: {rest}")
    if kind == "+":
        return rest
    if kind == ":":
        return int(rest)
    length = int(rest)
    if length < 0:
        return None
    if kind == "$":
        return (await reader.readexactly(length + 2))[:-2].decode(errors="replace")
    return [await _answered(reader) for _ in range(length)]
