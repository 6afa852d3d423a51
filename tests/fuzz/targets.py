"""What the cases aim at: a stored definition of each kind, an instance that waits in two places, a job under lease."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from case import (
    JOB_TYPE,
    PARKED_DEFINITION,
    SERVICE_DEFINITION,
    USER_TASK_STEP,
    WAIT_STEP,
    WORKER_ID,
    Case,
)
from socket_caller import Answer, call
from subject import Subject

END = {"id": "end", "name": "end", "type": "END"}
SERVICE = {
    "id": SERVICE_DEFINITION,
    "name": "one job",
    "steps": [
        {
            "id": "work",
            "name": "w",
            "type": "SERVICE_TASK",
            "jobType": JOB_TYPE,
            "retryCount": 3,
            "nextStep": "end",
        },
        END,
    ],
}
PARKED = {
    "id": PARKED_DEFINITION,
    "name": "two waits",
    "steps": [
        {"id": "fork", "name": "f", "type": "PARALLEL_GATEWAY", "joinStep": "join",
         "parallelNextSteps": [USER_TASK_STEP, WAIT_STEP]},
        {"id": USER_TASK_STEP, "name": "a", "type": "USER_TASK", "nextStep": "join"},
        {"id": WAIT_STEP, "name": "p", "type": "WAIT", "nextStep": "join"},
        {"id": "join", "name": "j", "type": "JOIN_GATEWAY", "nextStep": "end"},
        END,
    ],
}  # fmt: skip
PROBE = {
    "id": "fuzz-probe",
    "name": "the valid workflow",
    "steps": [
        {"id": "work", "name": "w", "type": "SERVICE_TASK", "jobType": "fuzz-probe.work", "nextStep": "end"},
        END,
    ],
}


class Targets:
    """`renew` after each call that was accepted: it may have used up what the next case aims at."""

    def __init__(self, subject: Subject) -> None:
        self._port, self._token = subject.rest_port, subject.token
        for definition in (SERVICE, PARKED, PROBE):
            self._post("/v1/definitions", definition, 201)
        self.instance_id = self.job_id = ""
        self.renew()

    def renew(self) -> None:
        self.instance_id = self._post("/v1/instances", {"definitionId": PARKED_DEFINITION}, 201).json["id"]
        self._post("/v1/instances", {"definitionId": SERVICE_DEFINITION}, 201)
        poll = {"workerId": WORKER_ID, "jobTypes": [JOB_TYPE], "maxJobs": 1, "leaseSeconds": 3600}
        (job,) = self._post("/v1/jobs/poll", poll, 200).json["jobs"]
        self.job_id = job["id"]

    def aimed(self, case: Case) -> Case:
        return replace(case.aimed(self.instance_id, self.job_id))

    def run_probe(self) -> float:
        """Seconds that a valid workflow takes from its start to its end. AssertionError when it does not get there."""
        began_s = time.monotonic()
        instance = self._post("/v1/instances", {"definitionId": PROBE["id"], "variables": {"n": 1}}, 201).json
        poll = {"workerId": "probe", "jobTypes": ["fuzz-probe.work"], "maxJobs": 1}
        (job,) = self._post("/v1/jobs/poll", poll, 200).json["jobs"]
        self._post(f"/v1/jobs/{job['id']}/complete", {"workerId": "probe", "variables": {"m": 2}}, 204)
        ended: dict[str, Any] = call(
            self._port, "GET", f"/v1/instances/{instance['id']}", token=self._token
        ).json
        assert (ended["status"], ended["variables"]) == ("COMPLETED", {"n": 1, "m": 2}), ended
        return time.monotonic() - began_s

    def _post(self, path: str, body: object, status: int) -> Answer:
        answer = call(self._port, "POST", path, body, token=self._token)
        assert answer.status == status, f"POST {path}: {answer}"
        return answer
