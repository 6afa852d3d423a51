"""Boots: one start of an engine, watched until it is ready, has refused, or its time is over."""

from __future__ import annotations

import time
from collections.abc import Mapping

import psutil

from seatrial.cluster import ClusterSpec
from seatrial.cluster.ability import BootReport, Boots
from seatrial.cluster.local.foundation import Foundation
from seatrial.cluster.local.launch import Launcher
from seatrial.cluster.local.replicas import LocalReplica
from seatrial.cluster.probe import failure
from seatrial.cluster.process import children, runs
from seatrial.cluster.values import merge
from seatrial.deadline import Deadline

_LOOK_INTERVAL_S = 0.05


class LocalBoots(Boots):
    def __init__(self, spec: ClusterSpec, foundation: Foundation, launcher: Launcher) -> None:
        self._spec = spec
        self._foundation = foundation
        self._launcher = launcher
        self._count = 0

    async def boot(self, values: Mapping[str, object], *, bound_s: float) -> BootReport:
        await self._foundation.lay()
        self._count += 1
        replica = await self._launcher.new(f"boot-{self._count}", merge(self._spec.values, values))
        try:
            return await self._observed(replica, bound_s)
        finally:
            await replica.process.kill()
            await replica.proxy.close()

    async def _observed(self, replica: LocalReplica, bound_s: float) -> BootReport:
        """Starts the process, which still runs afterwards if it did not exit by itself. The output is all it wrote."""
        process, probe = replica.process, replica.container.probes.get("readiness")
        began_s = time.monotonic()
        process.start()
        seen: dict[int, psutil.Process] = {}
        ready = False
        async for _ in Deadline(bound_s).attempts(_LOOK_INTERVAL_S):
            if not process.running:
                break
            for child in children(process.pid):
                seen.setdefault(child.pid, child)
            ready = probe is not None and await failure(self._foundation.session, probe) is None
            if ready:
                break
        took_s = time.monotonic() - began_s
        left = sum(map(runs, seen.values())) if not process.running else 0
        written = process.log_path.read_text(errors="replace")
        output = self._launcher.without_secret(written)
        return BootReport(process.exit_code, ready, output, output != written, round(took_s, 3), left)
