"""Resources: the memory and the descriptors of the replicas' processes, from proc(5) and from their limit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from seatrial.cluster.local.replicas import Replicas
from seatrial.cluster.resources import MemoryBound, Resources, ResourceUse

_KILOBYTES = re.compile(r"^(VmRSS|VmHWM):\s+(\d+) kB$", re.MULTILINE)


class LocalResources(Resources):
    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    def nodes(self) -> Sequence[str]:
        return [replica.name for replica in self._replicas]

    def memory_bound(self, replica: str) -> MemoryBound | None:
        memory = self._replicas.named(replica).memory
        return None if memory is None else MemoryBound(memory.limit_bytes, memory.enforced_by, memory.kills())

    def use(self, replica: str) -> ResourceUse | None:
        process = self._replicas.named(replica).process
        if not process.running:
            return None
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            descriptors = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        except OSError:
            return None
        # One that has ended and was not yet waited for has no memory.
        sizes = {name: int(kilobytes) * 1024 for name, kilobytes in _KILOBYTES.findall(status)}
        if len(sizes) < 2:
            return None
        log_bytes = process.log_path.stat().st_size if process.log_path.exists() else 0
        return ResourceUse(sizes["VmRSS"], sizes["VmHWM"], descriptors, log_bytes)
