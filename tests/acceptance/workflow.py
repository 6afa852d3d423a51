"""Definitions as tests write them, and a stored one with the words for working it off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine_client import EngineClient

Json = dict[str, Any]

END: Json = {"id": "end", "name": "end", "type": "END"}


def step(id: str, type: str, next: str | None = None, **more: Any) -> Json:
    found = {"id": id, "name": id, "type": type, **more}
    return found | ({"nextStep": next} if next else {})


def service(id: str, next: str | None = "end", **more: Any) -> Json:
    """Its job type is its id, until `document` makes that the definition's own."""
    return step(id, "SERVICE_TASK", next, **{"jobType": id, **more})


def user_task(id: str, next: str | None = "end", **more: Any) -> Json:
    return step(id, "USER_TASK", next, **more)


def wait(id: str, next: str | None = "end", **more: Any) -> Json:
    return step(id, "WAIT", next, **more)


def decision(id: str, branches: Mapping[str, str]) -> Json:
    return step(id, "DECISION", conditionalNextSteps=dict(branches))


def transformation(id: str, changes: Mapping[str, Any], next: str = "end") -> Json:
    return step(id, "TRANSFORMATION", next, transformations=dict(changes))


def fork(id: str, branches: Sequence[str], join: str) -> Json:
    return step(id, "PARALLEL_GATEWAY", parallelNextSteps=list(branches), joinStep=join)


def join(id: str, next: str = "end") -> Json:
    return step(id, "JOIN_GATEWAY", next)


def timer(duration: str, target: str, *, interrupting: bool) -> Json:
    return {"type": "TIMER", "duration": duration, "targetStepId": target, "interrupting": interrupting}


def document(id: str, *steps: Json, **top: Any) -> Json:
    """Job types become the definition's own, so that no test gets another's jobs."""
    own = [{**each, "jobType": f"{id}.{each['jobType']}"} if each.get("jobType") else each for each in steps]
    return {"id": id, "name": id, "steps": own or [END], **top}


@dataclass(frozen=True)
class Workflow:
    """One stored definition; every call is asserted to succeed."""

    engine: EngineClient
    id: str
    version: int

    def job_type(self, name: str) -> str:
        return f"{self.id}.{name}"

    async def start(self, *, business_key: str | None = None, **variables: Any) -> Json:
        body: Json = {"definitionId": self.id, "variables": variables}
        if business_key is not None:
            body["businessKey"] = business_key
        answer = await self.engine.post("/v1/instances", body)
        assert answer.status == 201, answer
        started: Json = answer.json
        return started

    async def lease(self, *names: str, worker: str = "w", jobs_max: int = 10, **more: Any) -> list[Json]:
        """What a poll of these job types gets; `more` goes into its body."""
        return await self.engine.poll(
            [self.job_type(name) for name in names], worker=worker, jobs_max=jobs_max, **more
        )

    async def lease_one(self, name: str, worker: str = "w", **more: Any) -> Json:
        """The next job of that type, waited for."""
        (job,) = await self.lease(name, worker=worker, jobs_max=1, **{"waitMs": 10_000, **more})
        return job

    async def work_off(self, name: str, worker: str = "w", **variables: Any) -> Json:
        """Leases one job, completes it with these variables, and returns it."""
        job = await self.lease_one(name, worker)
        await self.engine.complete(job, worker, **variables)
        return job
