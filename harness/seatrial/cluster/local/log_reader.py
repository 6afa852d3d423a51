"""LogReader: the reader of what a replica writes, which may stop."""

from __future__ import annotations

from seatrial.cluster import ClusterError
from seatrial.cluster.ability import LogReader
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.local.processes import LocalKill
from seatrial.cluster.local.replicas import Replicas
from seatrial.cluster.log_pipe import LogPipe


class LocalLogReader(LogReader):
    def __init__(self, replicas: Replicas, foundation: Foundation, processes: LocalKill) -> None:
        self._replicas = replicas
        self._foundation = foundation
        self._processes = processes

    async def attach(self, replica: str) -> None:
        process = self._replicas.named(replica).process
        if process.pipe is not None:
            raise ClusterError(f"the output of {replica} goes through a pipe already; attach a reader once")
        await self._processes.stop(replica)
        process.pipe = pipe = LogPipe(process.log_path)
        self._foundation.before_removal(_closed, pipe)
        # What a stopped reader leaves in the pipe would hold up the process at the end.
        await self._processes.start(replica)

    def stop(self, replica: str) -> None:
        self._pipe(replica).stop()

    def resume(self, replica: str) -> None:
        self._pipe(replica).resume()

    def unread_bytes(self, replica: str) -> int:
        return self._pipe(replica).unread_bytes()

    def _pipe(self, replica: str) -> LogPipe:
        pipe = self._replicas.named(replica).process.pipe
        if pipe is None:
            raise ClusterError(f"the output of {replica} goes to a file; attach a reader first")
        return pipe


async def _closed(pipe: LogPipe) -> None:
    pipe.close()
