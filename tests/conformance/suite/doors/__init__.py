"""The two transports in one set of words, so that a case is told once."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflow import Json, document

from patience import eventually
from suite.case import Differs, Transport, same


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `outcome` is "ok" or the contract's code of the error (1.2), whatever the transport called it."""

    outcome: str
    said: str
    """The status as the transport wrote it."""
    value: Any
    """The body, or the message as JSON with REST's field names; None when empty."""
    text: str
    """What the error says, "" for none."""

    def ok(self, what: str) -> Any:
        if self.outcome != "ok":
            raise Differs(f"{what}: expected to go well, got {self.said}: {self.text}")
        return self.value

    def refused(self, what: str, code: str) -> str:
        """Raises Differs unless it was refused with that code; what it said otherwise."""
        if self.outcome != code:
            raise Differs(f"{what}: expected {code}, got {self.said} {self.text}".rstrip())
        return self.text


class Door(ABC):
    """Calls first, as the wire has them; then words that raise Differs unless all goes well."""

    transport: Transport

    @abstractmethod
    async def upload(self, document: Json) -> Reply: ...
    @abstractmethod
    async def definition(self, id: str, version: int | None = None) -> Reply: ...
    @abstractmethod
    async def definitions(self, **query: Any) -> Reply:
        """`keyword`, `page`, `pageSize`; `value` has `items` and `total`."""

    @abstractmethod
    async def start(self, body: Json) -> Reply:
        """`definitionId`, `definitionVersion`, `variables`, `businessKey`."""

    @abstractmethod
    async def instance(self, id: str) -> Reply: ...
    @abstractmethod
    async def instances(self, **query: Any) -> Reply:
        """`definitionId`, `status`, `businessKey`, `page`, `pageSize`."""

    @abstractmethod
    async def history(self, id: str) -> Reply:
        """`value` is the list of executions."""

    @abstractmethod
    async def cancel(self, id: str, reason: str | None = None) -> Reply: ...
    @abstractmethod
    async def poll(self, body: Json) -> Reply:
        """`workerId`, `jobTypes`, `maxJobs`, `leaseSeconds`; `value` is the list of jobs."""

    @abstractmethod
    async def complete(self, job_id: str, body: Json) -> Reply: ...
    @abstractmethod
    async def fail(self, job_id: str, body: Json) -> Reply: ...
    @abstractmethod
    async def user_task(self, instance_id: str, step_id: str, variables: Json | None = None) -> Reply: ...
    @abstractmethod
    async def signal(self, instance_id: str, step_id: str, variables: Json | None = None) -> Reply: ...

    # -- words

    async def define(self, *steps: Json, id: str | None = None, **top: Any) -> str:
        """Stores these steps under an id of their own, which is returned."""
        id = id or fresh_id()
        (await self.upload(document(id, *steps, **top))).ok("upload of a definition")
        return id

    async def begin(
        self, definition_id: str, variables: Mapping[str, Any] | None = None, **more: Any
    ) -> Json:
        body = {"definitionId": definition_id, "variables": dict(variables or {}), **more}
        started: Json = (await self.start(body)).ok("start of an instance")
        return started

    async def run(self, *steps: Json, variables: Mapping[str, Any] | None = None, **top: Any) -> Json:
        """An instance of a definition of its own, as the start answered it."""
        return await self.begin(await self.define(*steps, **top), variables)

    async def read(self, instance: Json) -> Json:
        found: Json = (await self.instance(instance["id"])).ok("get of an instance")
        return found

    async def trail(self, instance: Json) -> list[Json]:
        found: list[Json] = (await self.history(instance["id"])).ok("history")
        return found

    async def jobs(self, definition_id: str, *names: str, worker: str = "w", **more: Any) -> list[Json]:
        """What one poll of these steps' types gets."""
        types = [f"{definition_id}.{name}" for name in names]
        body = {"workerId": worker, "jobTypes": types, "maxJobs": 10, **more}
        # None differs in the one row that says so (1.6); every SDK takes it for no jobs.
        return (await self.poll(body)).ok("poll") or []

    async def lease(self, instance: Json, name: str, worker: str = "w", **more: Any) -> Json:
        """The job of that step, polled for until it is there; it must be of this instance."""

        async def look() -> list[Json]:
            return await self.jobs(instance["definitionId"], name, worker=worker, **{"maxJobs": 1, **more})

        (job,) = await eventually(look, within_s=LEASE_WITHIN_S)
        same("instance of the only job there is", job["instanceId"], instance["id"])
        return job

    async def work_off(
        self, instance: Json, name: str, variables: Json | None = None, worker: str = "w"
    ) -> Json:
        """Leases the job of that step, completes it and returns it."""
        job = await self.lease(instance, name, worker)
        (await self.complete(job["id"], {"workerId": worker, "variables": variables or {}})).ok("complete")
        return job

    async def status_is(self, instance: Json, status: str, steps: Sequence[str] | None = None) -> Json:
        found = await self.read(instance)
        same("status", found["status"], status)
        if steps is not None:
            same("currentStepIds", sorted(found["currentStepIds"]), sorted(steps))
        return found

    async def until_entered(self, instance: Json, step_id: str) -> Json:
        """The first execution of that step, waited for."""

        async def look() -> list[Json]:
            return [each for each in await self.trail(instance) if each["stepId"] == step_id]

        return (await eventually(look, within_s=LEASE_WITHIN_S))[0]


#: the contract's sweep of 15 s and lease of 30 s, and room for a busy machine
LEASE_WITHIN_S = 60.0


def fresh_id() -> str:
    """For a definition that no other case has."""
    return f"c-{secrets.token_hex(6)}"
