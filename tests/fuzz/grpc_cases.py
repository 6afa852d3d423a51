"""Cases for the gRPC door: every call's messages with odd fields, bytes that are no message, calls that are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import broken_json
from case import (
    INSTANCE_ID,
    JOB_ID,
    JOB_TYPE,
    PARKED_DEFINITION,
    SERVICE_DEFINITION,
    USER_TASK_STEP,
    WAIT_STEP,
    WORKER_ID,
    Case,
)
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st
from subject import BODY_BYTES_MAX

from windlass.api.gen import workflow_pb2 as pb

SERVICE = "workflow.v1.WorkflowEngine"

#: For each call a request that the contract takes.
CALLS: dict[str, Message] = {
    "UploadDefinition": pb.UploadDefinitionRequest(
        definition=pb.WorkflowDefinition(
            id="fuzz-grpc",
            name="g",
            steps=[
                pb.WorkflowStep(
                    id="a",
                    name="a",
                    type="STEP_TYPE_SERVICE_TASK",
                    job_type="fuzz-grpc.a",
                    next_step="d",
                    boundary_events=[
                        pb.BoundaryEvent(
                            type="BOUNDARY_EVENT_TYPE_TIMER", duration="PT1H", target_step_id="end"
                        )
                    ],
                ),
                pb.WorkflowStep(
                    id="d",
                    name="d",
                    type="STEP_TYPE_DECISION",
                    conditional_next_steps={"n > 1": "end", "true": "end"},
                ),
                pb.WorkflowStep(id="end", name="e", type="STEP_TYPE_END"),
            ],
        )
    ),
    "GetDefinition": pb.GetDefinitionRequest(id=SERVICE_DEFINITION, version=1),
    "ListDefinitions": pb.ListDefinitionsRequest(keyword="fuzz", page_size=5),
    "StartInstance": pb.StartInstanceRequest(definition_id=PARKED_DEFINITION, business_key="k"),
    "GetInstance": pb.GetInstanceRequest(id=INSTANCE_ID),
    "GetInstanceHistory": pb.GetInstanceHistoryRequest(id=INSTANCE_ID),
    "CancelInstance": pb.CancelInstanceRequest(id=INSTANCE_ID, reason="r"),
    "ListInstances": pb.ListInstancesRequest(definition_id=PARKED_DEFINITION, page_size=5),
    "PollJobs": pb.PollJobsRequest(worker_id=WORKER_ID, job_types=[JOB_TYPE], max_jobs=1, lease_seconds=3600),
    "CompleteJob": pb.CompleteJobRequest(job_id=JOB_ID, worker_id=WORKER_ID, lease_token="1"),
    "FailJob": pb.FailJobRequest(job_id=JOB_ID, worker_id=WORKER_ID, lease_token="1", error_message="e"),
    "CompleteUserTask": pb.CompleteUserTaskRequest(
        instance_id=INSTANCE_ID, user_task_step_id=USER_TASK_STEP, completed_by=WORKER_ID
    ),
    "SignalWait": pb.SignalWaitRequest(instance_id=INSTANCE_ID, wait_step_id=WAIT_STEP),
}
for _name in ("variables", "variables_to_set", "result"):
    for _request in CALLS.values():
        if _name in _request.DESCRIPTOR.fields_by_name:
            getattr(_request, _name).update({"n": 2, "s": "x", "o": {"l": [1, None]}})

NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31), 200, 100_000)
DOUBLES = (0.0, -0.0, 1.5, 1e308, -1e308, 5e-324, 2.0**53, 1e21, float("nan"), float("inf"), float("-inf"))
OVERSIZE_BYTES = BODY_BYTES_MAX + 1


@st.composite
def _odd_fields(draw: st.DrawFn) -> Case:
    """A right request with some of its fields set to something else."""
    name = draw(st.sampled_from(tuple(CALLS)))
    request = type(CALLS[name])()
    request.CopyFrom(CALLS[name])
    for _ in range(draw(st.integers(1, 3))):
        _spoil(draw, request)
    return _case(name, "odd fields", request.SerializeToString())


def _spoil(draw: st.DrawFn, message: Message) -> None:
    fields: Any = message.DESCRIPTOR.fields
    if not fields:
        return
    spec = draw(broken_json.pick(fields))
    if _is_map(spec) or (spec.message_type and spec.message_type.full_name.startswith("google.protobuf.")):
        _spoil_free(draw, message, spec)
    elif spec.message_type:
        if spec.is_repeated:
            items = getattr(message, spec.name)
            _spoil(draw, items[draw(st.integers(0, len(items) - 1))] if len(items) else items.add())
        else:
            _spoil(draw, getattr(message, spec.name))
    elif spec.is_repeated:
        # A text that is no UTF-8 never leaves a protobuf library; `_broken_bytes` has those.
        del getattr(message, spec.name)[:]
        getattr(message, spec.name).extend(
            draw(st.lists(broken_json.pick(broken_json.ODD_TEXTS), max_size=3))
        )
    else:
        setattr(message, spec.name, _odd_scalar(draw, spec))


def _odd_scalar(draw: st.DrawFn, spec: FieldDescriptor) -> Any:
    kinds = FieldDescriptor
    if spec.type == kinds.TYPE_STRING:
        return draw(broken_json.pick(broken_json.ODD_TEXTS) | st.text(max_size=10))
    if spec.type == kinds.TYPE_BOOL:
        return draw(st.booleans())
    if spec.type == kinds.TYPE_BYTES:
        return draw(st.binary(max_size=10))
    if spec.type == kinds.TYPE_ENUM:
        return draw(st.sampled_from((*range(9), 99, -1, 2**31 - 1, -(2**31))))
    return draw(st.sampled_from(NUMBERS))


def _is_map(spec: FieldDescriptor) -> bool:
    kind: Descriptor | None = spec.message_type
    return kind is not None and kind.GetOptions().map_entry


def _spoil_free(draw: st.DrawFn, message: Message, spec: Any) -> None:
    """Struct, Value and maps: what JSON can say, and what it cannot."""
    target: Any = getattr(message, spec.name)
    key = draw(broken_json.pick(broken_json.ODD_TEXTS[:18]))
    if _is_map(spec):
        value = spec.message_type.fields_by_name["value"]
        if value.message_type is None:
            target[key] = draw(st.sampled_from(("end", "a", "", "\0")))
        else:
            _fill(draw, target[key])
    elif spec.message_type.full_name == "google.protobuf.Struct":
        _fill(draw, target.fields[key])


def _fill(draw: st.DrawFn, value: Any) -> None:
    kind = draw(st.sampled_from(("number", "string", "bool", "null", "none", "list", "deep")))
    if kind == "number":
        value.number_value = draw(st.sampled_from(DOUBLES))
    elif kind == "string":
        value.string_value = draw(broken_json.pick(broken_json.ODD_TEXTS))
    elif kind == "bool":
        value.bool_value = True
    elif kind == "null":
        value.null_value = draw(st.sampled_from((0, 7)))
    elif kind == "list":
        value.list_value.values.add().number_value = draw(st.sampled_from(DOUBLES))
    elif kind == "deep":
        inner = value
        for _ in range(draw(st.sampled_from((5, 28, 29, 30, 31)))):
            inner = inner.list_value.values.add()
        inner.bool_value = True


@st.composite
def _broken_bytes(draw: st.DrawFn) -> Case:
    """Bytes that were a request: cut, changed, lengthened; or never one."""
    name = draw(st.sampled_from(tuple(CALLS)))
    whole = CALLS[name].SerializeToString()
    how = draw(st.sampled_from(("cut", "changed", "appended", "doubled", "raw", "invalid UTF-8", "endless")))
    if how == "cut":
        data = whole[: draw(st.integers(0, len(whole)))]
    elif how == "changed":
        at = draw(st.integers(0, len(whole) - 1))
        data = whole[:at] + draw(st.binary(min_size=1, max_size=4)) + whole[at + 1 :]
    elif how == "appended":
        data = whole + draw(st.binary(min_size=1, max_size=20))
    elif how == "doubled":
        data = whole * draw(st.sampled_from((2, 50)))
    elif how == "invalid UTF-8":
        data = (
            draw(
                st.sampled_from(
                    (b"\x0a\x02\xff\xfe", b"\x0a\x03\xed\xa0\x80", b"\x12\x01\xff", b"\x0a\x01\xc0")
                )
            )
            + whole
        )
    elif how == "endless":
        depth = draw(st.sampled_from((10, 99, 101, 5_000)))
        data = b"\x1a" + _nested(depth)
    else:
        data = draw(st.binary(max_size=100))
    return _case(name, f"bytes: {how}", data)


def _nested(depth: int) -> bytes:
    """Length-delimited fields inside each other: a Struct of Structs, near enough."""
    data = b""
    for _ in range(depth):
        data = b"\x0a" + _varint(len(data)) + data
    return _varint(len(data)) + data


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes([*data, number])


_unknown_methods = broken_json.pick(
    (
        f"/{SERVICE}/NoSuchCall", f"/{SERVICE}/", f"/{SERVICE}/getinstance", "/grpc.health.v1.Health/Nope", "/", "/a",
        "/a/b/c", f"/{SERVICE}/GetInstance/", f"/{SERVICE}/" + "x" * 3_000, "/workflow.v2.WorkflowEngine/GetInstance",
        f"/{SERVICE}/%47etInstance",
    )
).map(lambda method: Case("grpc", "unknown method", b"", must_refuse=True, method=method))  # fmt: skip

_METADATA: Sequence[tuple[tuple[str, str | bytes], ...]] = (
    (("traceparent", "x" * 2_000),),
    (("traceparent", "00-1-2-3"), ("traceparent", "again")),
    (("x-bin", b"\x00\xff" * 100),),
    (("x-long", "y" * 7_000),),
    (("x-past-the-cap", "y" * 60_000),),
    tuple((f"x-{n}", "y") for n in range(100)),
    tuple((f"x-{n}", "y" * 40) for n in range(2_000)),
    (("content-type", "application/json"),),
    (("grpc-timeout", "1n"),),
    (("grpc-encoding", "gzip"),),
    (("te", "nothing"),),
    (("user-agent", "~" * 500),),
    (("authorization", ""),),
)


@st.composite
def _odd_metadata(draw: st.DrawFn) -> Case:
    name = draw(st.sampled_from(tuple(CALLS)))
    metadata = draw(broken_json.pick(_METADATA))
    size = sum(len(key) + len(value) for key, value in metadata)
    return Case(
        "grpc",
        f"metadata {metadata[0][0]}",
        CALLS[name].SerializeToString(),
        must_refuse=size > 33_000,
        method=f"/{SERVICE}/{name}",
        metadata=metadata,
    )


_oversize = broken_json.pick(("StartInstance", "UploadDefinition", "PollJobs")).map(
    lambda name: Case(
        "grpc", "past the cap", b"\0" * OVERSIZE_BYTES, must_refuse=True, method=f"/{SERVICE}/{name}"
    )
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"

#: Over a bare socket. The library behind the door may cut the caller off without a word.
_frames = st.one_of(
    broken_json.pick(
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            PREFACE[:10],
            PREFACE,
            PREFACE + b"\0\0\0\4\1\0\0\0\1",
            PREFACE + SETTINGS + b"\xff\xff\xff\0\0\0\0\0\1",
            PREFACE + SETTINGS + b"\0\0\4\3\0\0\0\0\0\0\0\0\0",
            PREFACE + SETTINGS + b"\0\0\4\x08\0\0\0\0\0\xff\xff\xff\xff",
            PREFACE + SETTINGS + b"\0\0\5\1\4\0\0\0\1\xff\xff\xff\xff\xff",
            PREFACE + SETTINGS + b"\0\0\0\x09\0\0\0\0\1" * 500,
            PREFACE + SETTINGS * 2_000,
            PREFACE + SETTINGS + b"\0\0\x08\6\0\0\0\0\0aaaaaaaa" * 2_000,
            PREFACE + SETTINGS + b"\0\0\4\7\0\0\0\0\0\0\0\0\0",
        )
    ),
    st.binary(min_size=1, max_size=100),
    st.binary(max_size=100).map(lambda data: PREFACE + SETTINGS + data),
).map(lambda data: Case("grpc", "frames", data, answers=0))


def _case(name: str, kind: str, data: bytes) -> Case:
    return Case("grpc", f"{name}: {kind}", data, method=f"/{SERVICE}/{name}")


cases: st.SearchStrategy[Case] = broken_json.weighted(
    {
        _odd_fields(): 90,
        _broken_bytes(): 60,
        _odd_metadata(): 20,
        _unknown_methods: 15,
        _frames: 13,
        _oversize: 2,
    }
)
