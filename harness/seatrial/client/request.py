"""The calls of contract 1 and 2 as data, as the history records them; each transport encodes them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import msgspec

from seatrial.client.answer import Answer


class Request(msgspec.Struct, frozen=True):
    """A call that was not yet made; its fields are the invoke's value unless `recorded` says otherwise."""

    f: ClassVar[str]

    def recorded(self) -> dict[str, Any]:
        return msgspec.structs.asdict(self)

    def kept(self, answer: Answer) -> dict[str, Any]:  # noqa: ARG002  most answers say nothing worth keeping
        """What the history keeps of an ok answer. Raises KeyError or TypeError for a body of another form."""
        return {}

    def only_over_rest(self) -> str | None:
        """Why gRPC cannot carry this call; None when it can."""
        return None


class Upload(Request, frozen=True):
    f: ClassVar[str] = "upload"
    definition: Mapping[str, Any]

    def kept(self, answer: Answer) -> dict[str, Any]:
        return {"id": answer.body["id"], "version": answer.body["version"]}

    def only_over_rest(self) -> str | None:
        """A map has no order on gRPC's wire: the engine tries branches in the order of their sorted keys."""
        for step in self.definition.get("steps") or ():
            for name in ("conditionalNextSteps", "transformations"):
                keys = list(step.get(name) or ())
                if keys != sorted(keys):
                    return f"{name} of step {step.get('id')} would be tried in another order"
        return None


class Start(Request, frozen=True):
    f: ClassVar[str] = "start"
    definition_id: str
    business_key: str | None
    variables: Mapping[str, Any]

    def kept(self, answer: Answer) -> dict[str, Any]:
        return {"instance_id": answer.body["id"], "status": answer.body["status"]}


class Poll(Request, frozen=True):
    f: ClassVar[str] = "poll"
    worker_id: str
    job_types: tuple[str, ...]
    max_jobs: int
    lease_s: float
    wait_s: float

    def kept(self, answer: Answer) -> dict[str, Any]:
        return {"jobs": [job.recorded() for job in answer.jobs]}

    def only_over_rest(self) -> str | None:
        return None if float(self.lease_s).is_integer() else "gRPC counts a lease in whole seconds"


class Complete(Request, frozen=True):
    f: ClassVar[str] = "complete"
    job_id: str
    instance_id: str
    worker_id: str
    lease_token: str | None
    variables: Mapping[str, Any]


class FailJob(Request, frozen=True):
    f: ClassVar[str] = "fail_job"
    job_id: str
    instance_id: str
    worker_id: str
    lease_token: str | None
    retryable: bool
    error_message: str


class Signal(Request, frozen=True):
    f: ClassVar[str] = "signal"
    instance_id: str
    step_id: str
    variables: Mapping[str, Any]


class UserTask(Request, frozen=True):
    f: ClassVar[str] = "user_task"
    instance_id: str
    step_id: str
    variables: Mapping[str, Any]
    person: str

    def recorded(self) -> dict[str, Any]:
        return {"instance_id": self.instance_id, "step_id": self.step_id, "variables": self.variables}


class RegisterWorker(Request, frozen=True):
    f: ClassVar[str] = "register_worker"
    worker_id: str
    job_types: tuple[str, ...]
    version: str
    capacity: int

    def only_over_rest(self) -> str | None:
        return "gRPC has no call for it"


class Cancel(Request, frozen=True):
    f: ClassVar[str] = "cancel"
    instance_id: str
    reason: str

    def kept(self, answer: Answer) -> dict[str, Any]:
        return {"status": answer.body["status"]}


class Read(Request, frozen=True):
    """Recorded by the path of what is read, which names it on either transport."""

    f: ClassVar[str] = "get"

    @property
    @abstractmethod
    def path(self) -> str: ...

    def recorded(self) -> dict[str, Any]:
        return {"path": self.path}


class GetInstance(Read, frozen=True):
    instance_id: str

    @property
    def path(self) -> str:
        return f"/v1/instances/{segment(self.instance_id)}"

    def kept(self, answer: Answer) -> dict[str, Any]:
        named = sorted(answer.body.get("variables") or {})
        return {"id": answer.body["id"], "status": answer.body["status"], "variable_names": named}


class GetHistory(Read, frozen=True):
    instance_id: str

    @property
    def path(self) -> str:
        return f"/v1/instances/{segment(self.instance_id)}/history"

    def kept(self, answer: Answer) -> dict[str, Any]:
        return {"items": len(answer.body["items"])}


class ListInstances(Read, frozen=True):
    definition_id: str | None
    status: str | None
    business_key: str | None
    page: int
    page_size: int

    @property
    def path(self) -> str:
        asked = {
            "definitionId": self.definition_id,
            "status": self.status,
            "businessKey": self.business_key,
            "page": self.page,
            "pageSize": self.page_size,
        }
        return "/v1/instances?" + urlencode(
            {name: value for name, value in asked.items() if value is not None}
        )

    def kept(self, answer: Answer) -> dict[str, Any]:
        return {"total": answer.body["total"]}


class Probe(Request, frozen=True):
    f: ClassVar[str] = "probe"
    node: str
    path: str

    def kept(self, answer: Answer) -> dict[str, Any]:
        return {"status": answer.status, "body": answer.body}

    def only_over_rest(self) -> str | None:
        return "a kubelet probes over HTTP"


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")
