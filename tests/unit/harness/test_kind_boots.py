"""A start as the kubelet tells it: its first run counts, whatever became of the container since."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.cluster.kind.boots import Look

RUNNING = {"running": {"startedAt": "2026-11-26T02:00:10Z"}}
ENDED = {
    "terminated": {
        "startedAt": "2026-11-26T02:00:01Z",
        "finishedAt": "2026-11-26T02:00:03Z",
        "exitCode": 1,
        "containerID": "containerd://first",
    }
}
READY_AT = "2026-11-26T02:00:14Z"


def pod(*, ready: bool = False, **container: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": READY_AT}
    statuses = [{"name": "engine", "containerID": "containerd://newest", "restartCount": 0, **container}]
    return {
        "metadata": {"name": "boot-1-windlass-x"},
        "spec": {"nodeName": "node-1"},
        "status": {"containerStatuses": statuses, "conditions": [condition]},
    }


def test_one_that_is_not_scheduled_has_not_begun() -> None:
    found = {"metadata": {"name": "x"}, "spec": {}, "status": {"phase": "Pending"}}
    assert (Look.at(found).has_begun, Look.at(found).took_s) == (False, None)
    assert not Look.at(pod(state={"waiting": {"reason": "ContainerCreating"}})).has_begun


def test_while_it_runs_and_is_not_ready_nothing_is_decided() -> None:
    look = Look.at(pod(state=RUNNING))
    assert (look.has_begun, look.exit_code, look.ready, look.took_s) == (True, None, False, None)


def test_one_that_is_ready_took_until_then_rounded_up() -> None:
    look = Look.at(pod(state=RUNNING, ready=True))
    assert (look.exit_code, look.ready, look.took_s) == (None, True, 5.0)


@pytest.mark.parametrize(
    "states",
    [
        {"state": ENDED},
        {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ENDED, "restartCount": 1},
        {"state": RUNNING, "lastState": ENDED, "restartCount": 1},
    ],
    ids=["ended", "waits", "runs again"],
)
def test_one_that_has_ended_stays_so_when_it_is_started_again(states: dict[str, Any]) -> None:
    look = Look.at(pod(ready=states["state"] is RUNNING, **states))
    assert (look.exit_code, look.ready, look.took_s, look.container_id) == (1, False, 3.0, "first")


def test_the_end_by_a_signal_is_told_as_of_a_process() -> None:
    killed = {"terminated": {**ENDED["terminated"], "exitCode": 137}}
    assert Look.at(pod(state=killed)).exit_code == -9
