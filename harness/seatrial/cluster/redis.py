"""A Redis or Valkey server of this machine, as a process of the harness's own.

It listens on loopback, keeps nothing on disk, and asks for a password when it is given one.

    async with RedisServer(log, password="...") as server:
        await server.ask("PING")
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from seatrial.cluster import ClusterError
from seatrial.cluster.packaged_server import PackagedServer, write_secret

NEED = "needs redis-server or valkey-server (apt-get install redis-server)"
"""What a test that is skipped without the program says."""
ANSWER_WITHIN_S = 5.0


def find_redis() -> str | None:
    """The program's path; None when it is not installed."""
    return next((found for name in ("redis-server", "valkey-server") if (found := shutil.which(name))), None)


class RedisServer(PackagedServer):
    """`settings` are lines of its configuration; with `sentinel` it is one, and watches what they say. With a tls-port
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
        super().__init__("Redis", log_path, program=program or find_redis(), need=NEED)
        self._password = password
        self._settings = dict(settings or {})
        self._sentinel = sentinel

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

    def _configured(self, folder: Path) -> Sequence[str]:
        # Not arguments: they would show the password. A Sentinel writes to its file.
        configuration = write_secret(folder / "redis.conf", self._configuration(folder))
        return [str(configuration), *(["--sentinel"] if self._sentinel else [])]

    async def _look(self) -> None:
        await self.ask("PING")

    def _configuration(self, folder: Path) -> str:
        lines = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(folder)}
        if not self._sentinel:
            lines |= {"save": '""', "appendonly": "no"}
        if self._password:
            lines["requirepass"] = f'"{self._password}"'
        return "".join(f"{name} {value}\n" for name, value in (lines | self._settings).items())


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
