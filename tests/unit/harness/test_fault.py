import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from patience import eventually
from seatrial.cluster import Cluster, ClusterError
from seatrial.cluster.ability import Promotion
from seatrial.cluster.attach.cluster import AttachedCluster
from seatrial.fault import (
    ALL_REPLICAS,
    BROKER,
    DATABASE,
    WAKE_BUS,
    Evidence,
    Fault,
    FaultError,
    FaultHadNoEffect,
    inflicted,
)
from seatrial.fault.broker import CrashBroker, CutBroker
from seatrial.fault.credentials import ChangePassword, RotatePassword
from seatrial.fault.database import (
    CrashDatabase,
    FillDisk,
    FillDiskUnderLog,
    MakeReadOnly,
    ReadWithoutEnd,
    TerminateLeaderSession,
    TerminateSessions,
)
from seatrial.fault.destination import MissingDestination
from seatrial.fault.failover import LosePrimary, SwitchOver
from seatrial.fault.kill import KillAllReplicas, KillReplica, KillScheduler, RestartReplica, StopReplica
from seatrial.fault.partition import CutNetwork
from seatrial.fault.pause import PauseReplica
from seatrial.fault.pooler import CutPooler, StopPooler
from seatrial.fault.replacement import ReplaceNode, StopTheWorld
from seatrial.fault.scale import ScaleRelease
from seatrial.fault.wake_bus import CutWakeBus, StopWakeBus
from seatrial.history import HISTORY_FILE, Recorder


async def unsurveyed(_promotion: Promotion) -> None:
    """Nobody looks."""


PHASES = ["setup", "inject", "wait_until_effective", "heal", "wait_until_healed", "cleanup"]


class Diary:
    """A fault that only writes down its phases; the one called `raises_in` raises, `hangs_in` never returns."""

    name: ClassVar[str] = "diary"
    needs: ClassVar[tuple[type, ...]] = ()

    def __init__(
        self,
        target: str = "replica-0",
        *,
        raises_in: str = "",
        error: Exception | None = None,
        hangs_in: str = "",
    ) -> None:
        self.target = target
        self.phases: list[str] = []
        self.entered = asyncio.Event()
        self.may_heal = asyncio.Event()
        self.may_heal.set()
        self._raises_in = raises_in
        self._error = error or RuntimeError("spilt ink")
        self._hangs_in = hangs_in

    async def _phase(self, name: str, cluster: Cluster) -> None:
        assert cluster.replicas()
        self.phases.append(name)
        if name == self._raises_in:
            raise self._error
        if name == self._hangs_in:
            self.entered.set()
            await asyncio.Event().wait()

    def parameters(self) -> Mapping[str, Any]:
        return {"depth_m": 3}

    async def setup(self, cluster: Cluster) -> None:
        await self._phase("setup", cluster)

    async def inject(self, cluster: Cluster) -> None:
        await self._phase("inject", cluster)

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        await self._phase("wait_until_effective", cluster)
        return {"pages": 1}

    async def heal(self, cluster: Cluster) -> None:
        self.entered.set()
        await self.may_heal.wait()
        await self._phase("heal", cluster)

    async def wait_until_healed(self, cluster: Cluster) -> None:
        await self._phase("wait_until_healed", cluster)

    async def cleanup(self, cluster: Cluster) -> None:
        await self._phase("cleanup", cluster)


class Recorded:
    def __init__(self, folder: Path) -> None:
        self._path = folder / HISTORY_FILE
        self.recorder = Recorder(folder)

    def ops(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._path.read_bytes().splitlines()]

    def words(self) -> list[str]:
        return [f"{op['type']} {op['f']}" for op in self.ops()]


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    made = Recorded(tmp_path)
    yield made
    made.recorder.close()


@pytest.fixture
def cluster() -> AttachedCluster:
    return AttachedCluster(["http://127.0.0.1:1", "http://127.0.0.1:2"])


async def carried_out(fault: Fault, cluster: Cluster, recorder: Recorder, hold_s: float = 0.0) -> Evidence:
    async with inflicted(fault, cluster, recorder) as evidence:
        await asyncio.sleep(hold_s)
    return evidence


async def test_the_six_phases_in_order_and_what_is_recorded(
    cluster: AttachedCluster, recorded: Recorded
) -> None:
    fault = Diary()
    assert await carried_out(fault, cluster, recorded.recorder) == {"pages": 1}
    assert fault.phases == PHASES
    invoke, ok, heal, healed = recorded.ops()
    assert {op["process"] for op in recorded.ops()} == {"fault-0"}
    assert recorded.words() == ["invoke diary", "ok diary", "invoke heal", "ok heal"]
    assert invoke["value"] == {"target": "replica-0", "parameters": {"depth_m": 3}}
    assert ok["value"] == {"target": "replica-0", "pages": 1}
    assert heal["value"] == healed["value"] == {"target": "replica-0", "fault": "diary"}
    assert invoke["call"] == ok["call"] != heal["call"] == healed["call"]


async def test_it_holds_between_the_bite_and_the_heal(cluster: AttachedCluster, recorded: Recorded) -> None:
    await carried_out(Diary(), cluster, recorded.recorder, 0.2)
    _, bit, heal, _ = recorded.ops()
    assert heal["t_s"] - bit["t_s"] >= 0.2


async def test_all_replicas_are_recorded_by_name(cluster: AttachedCluster, recorded: Recorded) -> None:
    await carried_out(Diary(ALL_REPLICAS), cluster, recorded.recorder)
    assert all(op["value"]["target"] == ["replica-0", "replica-1"] for op in recorded.ops())


async def test_an_unknown_replica_is_refused_before_anything_happens(
    cluster: AttachedCluster, recorded: Recorded
) -> None:
    fault = Diary("replica-7")
    with pytest.raises(FaultError, match="diary: no node 'replica-7'; there are replica-0, replica-1"):
        await carried_out(fault, cluster, recorded.recorder)
    assert (fault.phases, recorded.ops()) == ([], [])


async def test_a_fault_that_did_not_bite_fails_and_is_healed(
    cluster: AttachedCluster, recorded: Recorded
) -> None:
    fault = Diary(raises_in="wait_until_effective", error=FaultHadNoEffect("not a mark"))
    with pytest.raises(FaultHadNoEffect, match="not a mark"):
        await carried_out(fault, cluster, recorded.recorder)
    assert fault.phases == ["setup", "inject", "wait_until_effective", "heal", "cleanup"]
    assert recorded.words() == ["invoke diary", "fail diary", "invoke heal", "ok heal"]
    assert recorded.ops()[1]["error"] == {"code": "fault-did-not-bite", "status": 0, "message": "not a mark"}


async def test_a_fault_that_breaks_off_is_healed_and_its_outcome_unknown(
    cluster: AttachedCluster, recorded: Recorded
) -> None:
    fault = Diary(raises_in="inject", error=ClusterError("the saw broke"))
    with pytest.raises(ClusterError, match="the saw broke"):
        await carried_out(fault, cluster, recorded.recorder)
    assert fault.phases == ["setup", "inject", "heal", "cleanup"]
    assert recorded.words() == ["invoke diary", "info diary", "invoke heal", "ok heal"]


async def test_a_refused_setup_leaves_no_record(cluster: AttachedCluster, recorded: Recorded) -> None:
    fault = Diary(raises_in="setup", error=FaultError("cannot"))
    with pytest.raises(FaultError, match="cannot"):
        await carried_out(fault, cluster, recorded.recorder)
    assert (fault.phases, recorded.ops()) == (["setup"], [])


async def test_a_heal_that_fails_is_told_and_recorded(cluster: AttachedCluster, recorded: Recorded) -> None:
    fault = Diary(raises_in="heal", error=ClusterError("no glue"))
    with pytest.raises(FaultError, match="diary of replica-0 cannot be healed: no glue"):
        await carried_out(fault, cluster, recorded.recorder)
    assert fault.phases[-2:] == ["heal", "cleanup"]
    assert recorded.words()[-1] == "fail heal"


async def test_an_error_inside_the_block_heals_and_goes_on(
    cluster: AttachedCluster, recorded: Recorded
) -> None:
    fault = Diary()

    async def break_inside() -> None:
        async with inflicted(fault, cluster, recorded.recorder, process="fault-3") as evidence:
            assert evidence == {"pages": 1}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_inside()
    assert "heal" in fault.phases
    assert {op["process"] for op in recorded.ops()} == {"fault-3"}


@pytest.mark.parametrize("hangs_in", ["inject", "wait_until_effective"])
async def test_a_cancelled_injection_is_healed(
    cluster: AttachedCluster, recorded: Recorded, hangs_in: str
) -> None:
    fault = Diary(hangs_in=hangs_in)
    await cancel(asyncio.create_task(carried_out(fault, cluster, recorded.recorder)), fault)
    assert fault.phases[-2:] == ["heal", "cleanup"]
    assert recorded.words() == ["invoke diary", "info diary", "invoke heal", "ok heal"]


async def test_a_cancelled_hold_is_healed_even_when_cancelled_again_while_healing(
    cluster: AttachedCluster, recorded: Recorded
) -> None:
    fault = Diary()
    fault.may_heal.clear()
    task = asyncio.create_task(carried_out(fault, cluster, recorded.recorder, 3600))
    await eventually(lambda: "wait_until_effective" in fault.phases)
    task.cancel()
    await asyncio.wait_for(fault.entered.wait(), 5)
    task.cancel()
    fault.may_heal.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fault.phases == ["setup", "inject", "wait_until_effective", "heal", "cleanup"]
    assert recorded.words()[-1] == "ok heal"


async def test_waiting_for_the_recovery_can_be_cancelled(
    cluster: AttachedCluster, recorded: Recorded
) -> None:
    fault = Diary(hangs_in="wait_until_healed")
    task = asyncio.create_task(carried_out(fault, cluster, recorded.recorder))
    await eventually(lambda: "wait_until_healed" in fault.phases)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    assert fault.phases == PHASES


async def cancel(task: asyncio.Task[Evidence], fault: Diary) -> None:
    await asyncio.wait_for(fault.entered.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("fault", "ability"),
    [
        (KillReplica("replica-0"), "Kill"),
        (StopReplica("replica-0"), "Kill"),
        (RestartReplica("replica-0"), "Kill"),
        (KillAllReplicas(), "Kill"),
        (KillScheduler("scheduler-0"), "Schedulers"),
        (ChangePassword(), "Database"),
        (ReplaceNode("replica-0", "next", {}), "Database, Reconfigure"),
        (StopTheWorld({}), "Database, Kill, Reconfigure, Schedulers"),
        (PauseReplica("replica-0"), "Pause, Kill"),
        (CutNetwork("replica-0", "blackhole"), "Partition, Kill"),
        (TerminateSessions("replica-0"), "Database, Kill"),
        (CrashDatabase(), "Database, Kill"),
        (MakeReadOnly(), "Database, Kill"),
        (FillDisk(), "Database, Disk, Kill"),
        (StopPooler(), "Pooler, Kill"),
        (StopWakeBus(), "WakeBus, Kill"),
        (ReadWithoutEnd("job"), "Database"),
        (LosePrimary(unsurveyed), "Database, Failover, Kill"),
        (SwitchOver((), 1.0), "Database, Failover, Kill"),
        (TerminateLeaderSession("replica-0"), "Database, Kill"),
        (CrashBroker(), "BrokerProcess"),
        (CutBroker("refuse"), "BrokerNetwork"),
        (MissingDestination(("late",)), "Broker, Kill"),
        (ScaleRelease(5), "Scale"),
        (RotatePassword(), "Credentials"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
async def test_a_cluster_without_the_ability_is_refused(
    cluster: AttachedCluster, recorded: Recorded, fault: Fault, ability: str
) -> None:
    with pytest.raises(
        FaultError,
        match=f"^{fault.name} needs {ability}, which an attached cluster does not have; run this drill on another",
    ):
        await carried_out(fault, cluster, recorded.recorder)
    assert recorded.ops() == []


@pytest.mark.parametrize(
    ("fault", "name", "target", "parameters"),
    [
        (KillReplica("r"), "kill_replica", "r", {"signal": "SIGKILL"}),
        (StopReplica("r"), "stop_replica", "r", {"signal": "SIGTERM"}),
        (RestartReplica("r"), "restart_replica", "r", {"signal": "SIGTERM"}),
        (KillAllReplicas(), "kill_all_replicas", ALL_REPLICAS, {"signal": "SIGKILL"}),
        (PauseReplica("r"), "pause_replica", "r", {"signal": "SIGSTOP"}),
        (CutNetwork("r", "delay", delay_s=0.5), "cut_network", "r", {"mode": "delay", "delay_s": 0.5}),
        (CutNetwork("r", "refuse"), "cut_network", "r", {"mode": "refuse", "delay_s": 0.0}),
        (KillScheduler("s"), "kill_scheduler", "s", {"signal": "SIGKILL"}),
        (ReplaceNode("r", "next", {}), "replace_node", "r", {"release": "next"}),
        (StopTheWorld({}), "stop_the_world", ALL_REPLICAS, {"release": "next"}),
        (ChangePassword(), "change_password", DATABASE, {}),
        (TerminateSessions("r"), "terminate_sessions", "r", {}),
        (CrashDatabase("fast"), "crash_database", DATABASE, {"how": "fast"}),
        (MakeReadOnly(), "make_read_only", DATABASE, {}),
        (FillDisk(), "fill_disk", DATABASE, {}),
        (StopPooler(), "stop_pooler", DATABASE, {}),
        (CutPooler(), "cut_pooler", DATABASE, {}),
        (StopWakeBus(), "stop_wake_bus", WAKE_BUS, {}),
        (CutWakeBus(), "cut_wake_bus", WAKE_BUS, {}),
        (FillDiskUnderLog(), "fill_disk_under_log", DATABASE, {}),
        (ReadWithoutEnd("job"), "read_without_end", DATABASE, {"table": "job"}),
        (LosePrimary(unsurveyed), "lose_primary", DATABASE, {"signal": "SIGKILL"}),
        (SwitchOver(("r",), 1.0), "switch_over", DATABASE, {"late": ["r"], "lag_s": 1.0}),
        (TerminateLeaderSession("r"), "terminate_leader_session", "r", {}),
        (CrashBroker(), "crash_broker", BROKER, {"signal": "SIGKILL"}),
        (CutBroker("half-open"), "cut_broker", BROKER, {"mode": "half-open", "delay_s": 0.0}),
        (MissingDestination(("t",)), "missing_destination", BROKER, {"job_types": ["t"]}),
        (ScaleRelease(5), "scale_release", ALL_REPLICAS, {"replicas": 5}),
        (RotatePassword(), "rotate_password", DATABASE, {}),
    ],
)
def test_what_a_fault_calls_itself(fault: Fault, name: str, target: str, parameters: dict[str, Any]) -> None:
    assert (fault.name, fault.target, dict(fault.parameters())) == (name, target, parameters)
