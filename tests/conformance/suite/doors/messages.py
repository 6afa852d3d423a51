"""The messages of contract 2.2 and 2.3, made from its tables: a number that the engine has wrong shows as a difference.

They live in a descriptor pool of their own, so an engine's generated code may be loaded beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2, timestamp_pb2

PACKAGE = "workflow.v1"
SERVICE = f"{PACKAGE}.WorkflowEngine"

ENUMS: Mapping[str, str] = {
    "StepType": "UNSPECIFIED SERVICE_TASK USER_TASK DECISION TRANSFORMATION WAIT PARALLEL_GATEWAY JOIN_GATEWAY END",
    "InstanceStatus": "UNSPECIFIED ACTIVE WAITING COMPLETED FAILED CANCELLED",
    "StepExecutionStatus": "UNSPECIFIED RUNNING COMPLETED FAILED SKIPPED",
    "BoundaryEventType": "UNSPECIFIED TIMER",
}
"""Table 2.2: names from number 0 up, without their prefix."""

MESSAGES: Mapping[str, str] = {
    "WorkflowDefinition": """1 id string; 2 version int32; 3 name string; 4 description string;
        5 auto_start_next_workflow bool; 6 next_workflow_id string; 7 steps repeated WorkflowStep; 8 metadata Struct""",
    "WorkflowStep": """1 id string; 2 name string; 3 type StepType; 4 description string; 10 next_step string;
        11 parallel_next_steps repeated string; 12 join_step string; 20 conditional_next_steps map string;
        30 transformations map Value; 40 job_type string; 41 delegate_class string; 42 retry_count int32;
        50 boundary_events repeated BoundaryEvent""",
    "BoundaryEvent": """1 type BoundaryEventType; 2 duration string; 3 interrupting bool; 4 target_step_id string""",
    "WorkflowInstance": """1 id string; 2 definition_id string; 3 definition_version int32; 4 status InstanceStatus;
        5 current_step_ids repeated string; 6 variables Struct; 7 started_at Timestamp; 8 completed_at Timestamp;
        9 failure_reason string; 10 business_key string""",
    "StepExecution": """1 id string; 2 instance_id string; 3 step_id string; 4 step_type StepType;
        5 attempt_number int32; 6 status StepExecutionStatus; 7 started_at Timestamp; 8 ended_at Timestamp;
        9 failure_reason string""",
    "Job": """1 id string; 2 job_type string; 3 instance_id string; 4 step_id string; 5 step_execution_id string;
        6 retries_remaining int32; 7 variables Struct; 8 lock_expires_at Timestamp""",
    "UploadDefinitionRequest": "1 definition WorkflowDefinition",
    "UploadDefinitionResponse": "1 id string; 2 version int32; 3 uploaded_at Timestamp",
    "GetDefinitionRequest": "1 id string; 2 version int32",
    "GetDefinitionResponse": "1 definition WorkflowDefinition",
    "ListDefinitionsRequest": "1 keyword string; 2 page int32; 3 page_size int32",
    "ListDefinitionsResponse": "1 definitions repeated WorkflowDefinition; 2 total int32",
    "StartInstanceRequest": """1 definition_id string; 2 definition_version int32; 3 variables Struct;
        4 business_key string""",
    "StartInstanceResponse": "1 instance WorkflowInstance",
    "GetInstanceRequest": "1 id string",
    "GetInstanceResponse": "1 instance WorkflowInstance",
    "GetInstanceHistoryRequest": "1 id string",
    "GetInstanceHistoryResponse": "1 executions repeated StepExecution",
    "CancelInstanceRequest": "1 id string; 2 reason string",
    "CancelInstanceResponse": "1 instance WorkflowInstance",
    "ListInstancesRequest": """1 definition_id string; 2 status InstanceStatus; 3 business_key string; 4 page int32;
        5 page_size int32""",
    "ListInstancesResponse": "1 instances repeated WorkflowInstance; 2 total int32",
    "PollJobsRequest": "1 worker_id string; 2 job_types repeated string; 3 max_jobs int32; 4 lease_seconds int32",
    "PollJobsResponse": "1 jobs repeated Job",
    "CompleteJobRequest": "1 job_id string; 2 worker_id string; 3 variables_to_set Struct",
    "CompleteJobResponse": "",
    "FailJobRequest": "1 job_id string; 2 worker_id string; 3 retryable bool; 4 error_message string",
    "FailJobResponse": "",
    "CompleteUserTaskRequest": """2 completed_by string; 3 result Struct; 4 instance_id string;
        5 user_task_step_id string""",
    "CompleteUserTaskResponse": "",
    "SignalWaitRequest": "1 instance_id string; 2 wait_step_id string; 3 variables Struct",
    "SignalWaitResponse": "",
}
"""Table 2.3: `number name [repeated|map] type`."""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "int32": _Field.TYPE_INT32,
    "bool": _Field.TYPE_BOOL,
}
_FILE = "conformance/workflow.proto"


def prefixed(enum: str, word: str) -> str:
    """`STEP_TYPE_WAIT` for `WAIT` (contract 2.2)."""
    return f"{re.sub(r'(?<!^)(?=[A-Z])', '_', enum).upper()}_{word}"


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=_FILE, package=PACKAGE, syntax="proto3")
    file.dependency.extend([struct_pb2.DESCRIPTOR.name, timestamp_pb2.DESCRIPTOR.name])
    for name, words in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, word in enumerate(words.split()):
            enum.value.add(name=prefixed(name, word), number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in filter(None, (each.strip() for each in fields.split(";"))):
            _add_field(message, text)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, text: str) -> None:
    number, name, *label, type = text.split()
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if label == ["map"]:
        entry = message.nested_type.add(name=f"{''.join(part.title() for part in name.split('_'))}Entry")
        entry.options.map_entry = True
        _set_type(entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL), "string")
        _set_type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), type)
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{message.name}.{entry.name}"
    else:
        _set_type(field, type)
    if label:
        field.label = _Field.LABEL_REPEATED


def _set_type(field: descriptor_pb2.FieldDescriptorProto, type: str) -> None:
    if type in _SCALARS:
        field.type = _SCALARS[type]
    elif type in ENUMS:
        field.type, field.type_name = _Field.TYPE_ENUM, f".{PACKAGE}.{type}"
    else:
        package = "google.protobuf" if type in {"Struct", "Value", "Timestamp"} else PACKAGE
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{type}"


def _classes(names: Iterable[str]) -> Mapping[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    for known in (struct_pb2, timestamp_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(_file().SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in names
    }


CLASSES: Mapping[str, Any] = _classes(MESSAGES)
"""Message class by name."""
