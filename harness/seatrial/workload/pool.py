"""The worker processes of a drill: started, killed, paused, resumed and stopped from the scenario.

Each kill and each pause is recorded as a fault of its worker, with the `heal` that ends it, so the timeline
shows it and checks can see that it had an effect.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from seatrial.cluster import ClusterError, Replica
from seatrial.cluster.process import Process, tail
from seatrial.cluster.reaper import Reaper
from seatrial.history import Recorder, TransportName
from seatrial.workload import TOKEN_VARIABLE, Way, WorkerConfig, WorkerSpec

if TYPE_CHECKING:
    from seatrial.cluster.broker import ConsumerAccess

STOP_GRACE_S = 15.0
#: How the access to the broker reaches a worker: it may hold a password, and so stays out of the configuration's file.
ACCESS_VARIABLE = "SEATRIAL_BROKER_ACCESS"
_MODULES = {"poll": "seatrial.workload.worker", "consume": "seatrial.workload.broker_worker"}


@dataclass(slots=True)
class Member:
    """One worker; `name` is stable, `process_name` is new at each start of its process."""

    name: str
    process_name: str
    spec: WorkerSpec
    process: Process
    way: Way

    @property
    def worker_id(self) -> str:
        return self.spec.worker_id or self.name

    @property
    def alive(self) -> bool:
        return self.process.running

    @property
    def log_path(self) -> Path:
        return self.process.log_path


class WorkerPool:
    """`folder` is the run's: the workers append to its history and log to its `logs/`.

    `way` is how workers get their jobs unless `start` says otherwise; `broker` is where those that consume find them.
    """

    def __init__(
        self,
        folder: Path,
        replicas: Sequence[Replica],
        recorder: Recorder,
        seed: str,
        *,
        transports: Sequence[TransportName] = ("rest",),
        way: Way = "poll",
        broker: ConsumerAccess | None = None,
    ) -> None:
        self._folder = folder
        self._replicas = tuple(replicas)
        self._recorder = recorder
        self._seed = seed
        self._transports = tuple(transports)
        self._way = way
        self._broker = broker
        self._reaper: Reaper | None = None
        self._members: list[Member] = []
        self._keepers: dict[int, asyncio.Task[None]] = {}
        self._names: set[str] = set()
        self._starts = 0

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, index: int) -> Member:
        return self._members[index]

    def start(
        self, spec: WorkerSpec, count: int = 1, *, keep_alive: bool = False, way: Way | None = None
    ) -> list[int]:
        """Starts `count` processes and returns their indexes; with `keep_alive` one that is killed starts again."""
        first = len(self._members)
        for index in range(first, first + count):
            member = self._make(f"worker-{index}", spec, way or self._way)
            self._members.append(member)
            member.process.start()
            if keep_alive:
                self._keepers[index] = asyncio.create_task(self._keep_alive(index))
        return list(range(first, first + count))

    def consumers(self) -> dict[str, set[str]]:
        """By job type, the names of the running workers that take it from the broker."""
        found: dict[str, set[str]] = {}
        for member in self._members:
            if member.way == "consume" and member.alive:
                for job_type in member.spec.handlers:
                    found.setdefault(job_type, set()).add(member.process_name)
        return found

    async def kill(self, index: int) -> None:
        """SIGKILL; returns when the process is gone. `restart` is its heal."""
        member = self._members[index]
        self._stop_keeping_alive(index)
        call = self._invoke(member, "kill_worker")
        await member.process.kill()
        self._record_effect(member, "kill_worker", call, {"exit_code": member.process.exit_code})

    def restart(self, index: int) -> None:
        """Starts a fresh process in place of one that ended; it has a new name in the history."""
        member = self._members[index]
        call = self._invoke(member, "heal", fault="kill_worker")
        fresh = self._make(member.name, member.spec, member.way)
        fresh.process.start()
        self._members[index] = fresh
        self._record_effect(member, "heal", call, {"process": fresh.process_name})

    async def pause(self, index: int) -> None:
        """SIGSTOP; returns when the kernel shows the process stopped."""
        member = self._members[index]
        call = self._invoke(member, "pause_worker")
        await member.process.pause()
        self._record_effect(member, "pause_worker", call, {"stopped": True})

    async def resume(self, index: int) -> None:
        member = self._members[index]
        call = self._invoke(member, "heal", fault="pause_worker")
        await member.process.resume()
        self._record_effect(member, "heal", call, {"stopped": False})

    async def stop(self, index: int, grace_s: float = STOP_GRACE_S) -> int:
        """SIGTERM, and SIGKILL after `grace_s`; returns the exit code, negative for a signal."""
        member = self._members[index]
        self._stop_keeping_alive(index)
        if member.process.paused:
            await self.resume(index)
        return await member.process.stop(grace_s)

    async def stop_all(self, grace_s: float = STOP_GRACE_S) -> None:
        """Stops all at once. Raises ClusterError when one had failed by a bug of its own (exit code above 0)."""
        running = [index for index, member in enumerate(self._members) if member.alive]
        await asyncio.gather(*(self.stop(index, grace_s) for index in running))
        broken = [member for member in self._members if (member.process.exit_code or 0) > 0]
        if broken:
            worst = broken[0]
            raise ClusterError(
                f"{worst.process_name} exited with {worst.process.exit_code}; the end of {worst.log_path}:\n"
                f"{tail(worst.log_path)}"
            )

    async def close(self) -> None:
        """Nothing is left running; safe to call twice."""
        for index, member in enumerate(self._members):
            self._stop_keeping_alive(index)
            await member.process.kill()
        if self._reaper is not None:
            self._reaper.close()
            self._reaper = None

    def _make(self, name: str, spec: WorkerSpec, way: Way) -> Member:
        if self._reaper is None:
            self._reaper = Reaper()
        self._starts += 1
        process_name = name if name not in self._names else f"{name}.{self._starts}"
        self._names.add(process_name)
        config = WorkerConfig(
            process=process_name,
            worker_id=spec.worker_id or name,
            seed=f"{self._seed}:{process_name}",
            replicas=tuple(replace(replica, token=None) for replica in self._replicas),
            history_folder=str(self._folder.resolve()),
            spec=spec,
            transports=self._transports,
        )
        env = dict(os.environ)
        if self._replicas[0].token is not None:
            env[TOKEN_VARIABLE] = self._replicas[0].token
        if way == "consume":
            if self._broker is None:
                raise ClusterError(
                    f"{name} is to consume and the cluster has no broker; see the drill's mode"
                )
            env[ACCESS_VARIABLE] = msgspec.json.encode(self._broker).decode()
        path = self._folder / "workers" / f"{process_name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(config))
        command = [sys.executable, "-m", _MODULES[way], str(path.resolve())]
        log_path = self._folder / "logs" / f"{name}.log"
        process = Process(process_name, command, env=env, log_path=log_path, reaper=self._reaper)
        return Member(name, process_name, spec, process, way)

    async def _keep_alive(self, index: int) -> None:
        while True:
            code = await self._members[index].process.wait()
            if code != -signal.SIGKILL:
                return  # it left, or failed by a bug: `stop_all` reports that
            member = self._make(
                self._members[index].name, self._members[index].spec, self._members[index].way
            )
            self._members[index] = member
            member.process.start()

    def _stop_keeping_alive(self, index: int) -> None:
        keeper = self._keepers.pop(index, None)
        if keeper is not None:
            keeper.cancel()

    def _invoke(self, member: Member, f: str, **more: str) -> int:
        parameters = {"worker": member.name, "worker_id": member.worker_id}
        value = {"target": member.process_name, "parameters": parameters, **more}
        return self._recorder.invoke(f"fault-{member.name}", f, value)

    def _record_effect(self, member: Member, f: str, call: int, shown: dict[str, Any]) -> None:
        self._recorder.end(f"fault-{member.name}", "ok", f, call, shown)
