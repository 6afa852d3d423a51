"""Variables in a call that takes some, of either door, with what the call needs: an instance, a job, a definition."""

from __future__ import annotations

import struct

import msgspec
from case import USER_TASK_STEP, WAIT_STEP
from pressure_calls import Doors, Reply
from pressure_cases import Door, Filler, Place
from targets import PARKED, PROBE

from windlass.api.gen import workflow_pb2 as pb

WORKER_ID = "fuzz-pressure"
DEFINITION_ID = "fuzz-large"
LARGE_WITHIN_S = 60.0

REST_FILLING = {"arrays": b"[]", "objects": b"{}", "texts": b'""', "nulls": b"null", "exponents": b"1e300"}
GRPC_FILLING = {
    "arrays": b"\x32\x00",
    "objects": b"\x2a\x00",
    "texts": b"\x1a\x00",
    "nulls": b"\x08\x00",
    "exponents": b"\x11" + struct.pack("<d", 1e300),
}
"""A google.protobuf.Value of each."""


def filled(filler: Filler | str, size_bytes: int) -> bytes:
    """A JSON text of that size, near enough."""
    if filler == "one text":
        return b'"' + b"x" * max(0, size_bytes - 2) + b'"'
    filling = REST_FILLING[filler]
    return b"[" + b",".join([filling] * max(1, size_bytes // (len(filling) + 1))) + b"]"


def filled_value(filler: Filler | str, size_bytes: int) -> bytes:
    """The same as a Value of gRPC: a list of so many, or one text."""
    if filler == "one text":
        return field(3, b"x" * size_bytes)
    value = field(1, GRPC_FILLING[filler])
    return field(6, value * max(1, size_bytes // len(value)))


def struct_of(value: bytes) -> bytes:
    """A Struct whose `x` is the Value."""
    return field(1, field(1, b"x") + field(2, value))


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes([*data, number])


class Placed:
    """`await prepare()` first; `instance_id` is the one that gets the variables, "" for a definition."""

    def __init__(self, doors: Doors, door: Door, place: Place) -> None:
        self._doors = doors
        self.door = door
        self.place = place
        self.instance_id = self._job_id = ""

    async def prepare(self) -> None:
        if self.place in {"signal", "user task"}:
            self.instance_id = await self._started(str(PARKED["id"]))
        if self.place == "complete":
            self.instance_id = await self._started(str(PROBE["id"]))
            poll = {"workerId": WORKER_ID, "jobTypes": ["fuzz-probe.work"], "maxJobs": 1}
            (job,) = (await self._doors.posted("/v1/jobs/poll", poll, 200))["jobs"]
            self._job_id = job["id"]

    async def _started(self, definition_id: str) -> str:
        started = await self._doors.posted("/v1/instances", {"definitionId": definition_id}, 201)
        return str(started["id"])

    async def sent(self, variables: bytes) -> Reply:
        """`variables`: a JSON object; over gRPC a Struct."""
        if self.door == "rest":
            path, body = self._request(variables)
            reply = await self._doors.rest("POST", path, body, within_s=LARGE_WITHIN_S)
            if self.place == "start" and reply.is_success:
                self.instance_id = msgspec.json.decode(reply.body)["id"]
            return reply
        reply = await self._doors.grpc(*self._message(variables), within_s=LARGE_WITHIN_S)
        if self.place == "start" and reply.is_success:
            self.instance_id = pb.StartInstanceResponse.FromString(reply.body).instance.id
        return reply

    def _request(self, variables: bytes) -> tuple[str, bytes]:
        match self.place:
            case "start":
                body = b'{"definitionId":"%b","variables":%b}' % (str(PROBE["id"]).encode(), variables)
                return "/v1/instances", body
            case "complete":
                body = b'{"workerId":"%b","variables":%b}' % (WORKER_ID.encode(), variables)
                return f"/v1/jobs/{self._job_id}/complete", body
            case "signal":
                return f"/v1/instances/{self.instance_id}/signals/{WAIT_STEP}", variables
            case "user task":
                path = f"/v1/instances/{self.instance_id}/user-tasks/{USER_TASK_STEP}/complete"
                return path, b'{"variables":%b}' % variables
            case "definition":
                end = b'[{"id":"e","name":"e","type":"END"}]'
                told = (DEFINITION_ID.encode(), variables, end)
                return "/v1/definitions", b'{"id":"%b","name":"l","metadata":%b,"steps":%b}' % told

    def _message(self, struct: bytes) -> tuple[str, bytes]:
        match self.place:
            case "start":
                start = pb.StartInstanceRequest(definition_id=str(PROBE["id"]))
                return "StartInstance", start.SerializeToString() + field(3, struct)
            case "complete":
                complete = pb.CompleteJobRequest(job_id=self._job_id, worker_id=WORKER_ID)
                return "CompleteJob", complete.SerializeToString() + field(3, struct)
            case "signal":
                signal = pb.SignalWaitRequest(instance_id=self.instance_id, wait_step_id=WAIT_STEP)
                return "SignalWait", signal.SerializeToString() + field(3, struct)
            case "user task":
                task = pb.CompleteUserTaskRequest(
                    instance_id=self.instance_id, user_task_step_id=USER_TASK_STEP
                )
                return "CompleteUserTask", task.SerializeToString() + field(3, struct)
            case "definition":
                end = pb.WorkflowStep(id="e", name="e", type="STEP_TYPE_END")
                definition = pb.WorkflowDefinition(id=DEFINITION_ID, name="l", steps=[end])
                return "UploadDefinition", field(1, definition.SerializeToString() + field(8, struct))


def variables_of(door: Door, filler: Filler | str, size_bytes: int) -> bytes:
    """For `Placed.sent`: one variable of about that size."""
    if door == "rest":
        return b'{"x":' + filled(filler, size_bytes) + b"}"
    return struct_of(filled_value(filler, size_bytes))
