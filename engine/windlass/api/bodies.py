"""The request bodies of contract 1.6, typed: exact names, unknown fields ignored, a string for a number refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from windlass.errors import BadRequest
from windlass.wire import EMPTY_OBJECT

#: Copies of a large body on its way from the socket to the database and back; measured with a start of 15 MB.
COPIES = 10
#: Of one value of a body that is made into objects: its object and the place in its array.
VALUE_BYTES = 100
NULL = msgspec.Raw(b"null")


class _Body(msgspec.Struct, rename="camel"):
    pass


class StartBody(_Body):
    definition_id: str | None = None
    definition_version: int | None = None
    variables: msgspec.Raw = EMPTY_OBJECT
    business_key: str | None = None


class CancelBody(_Body):
    reason: str | None = None


class PollBody(_Body):
    """`lease_seconds` and `wait_ms` are optional and ours: how long to hold, how long to wait for a job."""

    worker_id: str | None = None
    job_types: list[str] | None = None
    max_jobs: int | None = None
    lease_seconds: int | float | None = None
    wait_ms: int | float | None = None


class CompleteBody(_Body):
    worker_id: str | None = None
    lease_token: str | None = None
    variables: msgspec.Raw = EMPTY_OBJECT


class FailBody(_Body):
    worker_id: str | None = None
    lease_token: str | None = None
    error_message: str | None = None
    retryable: bool | None = None


class WorkerBody(_Body):
    """Ours: what a worker says of itself."""

    id: str | None = None
    job_types: list[str] | None = None
    version: str | None = None
    capacity: int | float | None = None
    heartbeat_seconds: int | float | None = None


class UserTaskBody(_Body):
    """Both spellings in use: the code's `variables` and `workerId`, the documents' `result` and `completedBy`."""

    variables: msgspec.Raw = NULL
    result: msgspec.Raw = NULL
    worker_id: str | None = None
    completed_by: str | None = None


def weight_of(body: bytes, *, is_raw: bool) -> int:
    """Bytes of memory that reading and serving it takes at most; `is_raw`: its variables stay text."""
    weight = COPIES * len(body)
    return (
        weight if is_raw else weight + VALUE_BYTES * (body.count(b",") + body.count(b"[") + body.count(b"{"))
    )


Body = TypeVar("Body", bound=_Body)


def reader(kind: type[Body]) -> Callable[[bytes], Body]:
    """The function that reads such a body; it raises BadRequest naming the field."""
    decode = msgspec.json.Decoder(kind).decode

    def read(data: bytes) -> Body:
        try:
            return decode(data)
        except msgspec.DecodeError as error:
            cause = str(error) if data.strip() else "it is empty; a JSON object is expected"
        except UnicodeDecodeError:
            cause = "it is not valid UTF-8"
        except RecursionError:
            cause = "it is nested too deep"
        raise BadRequest(f"invalid request body: {cause}")

    return read


def text(value: str | None, name: str) -> str:
    """The text, "" for none; BadRequest when it cannot be stored."""
    if value is None:
        return ""
    if "\x00" in value:
        raise BadRequest(f"invalid request body: {name} contains the character U+0000; remove it")
    return value


def note(value: str | None) -> str:
    """A free text for people: accepted whatever it contains, since refusing a fail can kill its worker (contract
    10.3).
    """
    return value.replace("\x00", "\ufffd") if value else ""
