"""What is run against a cluster: definitions, their scheduled starts, how workers answer their jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from seatrial.cluster import Replica
from seatrial.history import TransportName

Way = Literal["poll", "consume"]
"""How a worker gets its jobs: from the engines, or from the broker."""


class Handler(msgspec.Struct, frozen=True):
    """What a worker does with a job of one type; the defaults complete it at once."""

    think_min_s: float = 0.0
    think_max_s: float = 0.0
    hold: bool = False
    """Takes the job and never answers."""
    fail_while_retries_above: int | None = None
    """Fails retryably while the job has more retries left than this, whichever worker gets it."""
    poison_variable: str | None = None
    """Kills its own process (SIGKILL) when the job carries this variable as true."""
    echo: dict[str, str] = {}
    """Result variable -> the job's variable it is copied from."""


class WorkerSpec(msgspec.Struct, frozen=True):
    """How one worker process behaves. It polls for the types it has a handler for."""

    handlers: dict[str, Handler]
    slots: int = 16
    """Jobs worked on at once."""
    lease_s: float = 30.0
    wait_s: float = 1.0
    """Long poll; 0 asks for an immediate answer and then sleeps `idle_s`."""
    idle_s: float = 0.2
    give_up_s: float = 60.0
    """How long one completion is tried again while its outcome is unknown."""
    call_timeout_s: float = 5.0
    send_token: bool = True
    worker_id: str | None = None
    """None: the worker's own name. A fixed one makes several processes look like one worker."""
    acknowledges: Literal["after", "early", "never"] = "after"
    """When a consumer acknowledges a message: when the job is answered, before it works, not at all."""
    session_timeout_s: float = 3.0
    """After this time other consumers get the share of one that is gone."""
    polls_at: str | None = None
    """The replica that it always polls at; None: another one each time."""
    answers_at: str | None = None
    """The replica that it always answers at; None: another one each time."""
    fails_after_lost_complete: bool = False
    """A consumer whose complete failed sends a retryable fail, as all SDKs but Go's do."""


TOKEN_VARIABLE = "SEATRIAL_WORKER_TOKEN"  # noqa: S105  a name
"""What a worker's process makes its calls with; it is in no file of the report."""


class WorkerConfig(msgspec.Struct, frozen=True):
    """The configuration that the pool writes and a worker's process reads; the pool writes it without a token."""

    process: str
    """The name in the history, unique for each start of the process."""
    worker_id: str
    seed: str
    replicas: tuple[Replica, ...]
    history_folder: str
    spec: WorkerSpec
    transports: tuple[TransportName, ...] = ("rest",)


class Start(msgspec.Struct, frozen=True):
    """One planned instance. `key` is its business key and its variable `key`, made unique per run."""

    definition_id: str
    key: str
    variables: dict[str, Any]
    at_s: float = 0.0
    """Not before this long after the load began."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Definitions in upload order, the handlers of their jobs, and the model: what a start must lead to."""

    name: str
    definitions: tuple[Mapping[str, Any], ...]
    handlers: Mapping[str, Handler]
    visits: Callable[[Start], Mapping[str, int]]
    """Step id -> how often a fault-free run enters it, over the start and everything chained to it."""

    def worker(self, **changes: Any) -> WorkerSpec:
        """A spec that answers all of this workload's jobs; keyword arguments as WorkerSpec's fields."""
        return WorkerSpec(**{"handlers": dict(self.handlers), **changes})

    def job_types(self) -> set[str]:
        """Of all its jobs; a step that names none has its own id for a type (contract 6.2)."""
        return {
            step.get("jobType") or step["id"]
            for definition in self.definitions
            for step in definition["steps"]
            if step["type"] == "SERVICE_TASK"
        }

    def jobs(self, start: Start) -> int:
        """How many jobs the start leads to."""
        service_tasks = {
            step["id"]
            for definition in self.definitions
            for step in definition["steps"]
            if step["type"] == "SERVICE_TASK"
        }
        return sum(count for step, count in self.visits(start).items() if step in service_tasks)


def together(*workloads: Workload, **changes: Any) -> WorkerSpec:
    """One worker that answers the jobs of several workloads."""
    handlers = {
        job_type: handler for workload in workloads for job_type, handler in workload.handlers.items()
    }
    return WorkerSpec(**{"handlers": handlers, **changes})


def until(done: asyncio.Event, starts: Iterable[Start]) -> Iterator[Start]:
    """As many of them as there is time for: a load for something whose duration is unknown."""
    for start in starts:
        if done.is_set():
            return
        yield start
