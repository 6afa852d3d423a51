"""A running instance as `advance` sees it: its row plus its progress, nothing else.

Progress is the engine's own memory of an instance (column `workflow_instance.progress`, migration 0010): which step
executions are open, how often each step was entered, and which gateway activations still wait for branches. It lives
in the instance row, so one locked read gives everything a decision needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from windlass.states import FINAL_INSTANCE_STATUSES, InstanceStatus

Variables = dict[str, msgspec.Raw]
"""Top-level variables, values still raw JSON: merging is shallow (contract 5.3), so most are never parsed."""

_variables_decoder = msgspec.json.Decoder(Variables)
_encoder = msgspec.json.Encoder()


class Branch(msgspec.Struct, frozen=True, array_like=True):
    """A token's place inside one gateway activation."""

    activation_id: str
    gateway_step_id: str
    number: int


Scope = tuple[Branch, ...]
"""The activations a token is inside of, outermost first."""


class OpenStep(msgspec.Struct, frozen=True, array_like=True):
    """A RUNNING step execution: a job, a user task or a wait."""

    step_id: str
    work_id: str
    """The job's or user task's id; empty for WAIT."""
    scope: Scope = ()
    timer_ids: tuple[str, ...] = ()
    """Boundary timers of this execution that have not fired."""


class Activation(msgspec.Struct, frozen=True, array_like=True):
    """One run through a PARALLEL_GATEWAY whose join has not fired (contract 5.7)."""

    join_step_id: str
    branches: int
    arrived: tuple[int, ...]
    scope: Scope
    """Of the gateway itself: what the join continues with."""


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    visits: dict[str, int] = {}
    open: dict[str, OpenStep] = {}
    """By step execution id, oldest first."""
    activations: dict[str, Activation] = {}
    trace: str | None = None
    """Of the start call, as `trace_context.py` writes it; jobs are handed out in it."""


_progress_decoder = msgspec.json.Decoder(Progress)


class Instance(msgspec.Struct, frozen=True):
    id: str
    definition_id: str
    definition_version: int
    status: InstanceStatus
    current_step_ids: tuple[str, ...]
    variables: Variables
    progress: Progress
    business_key: str | None = None
    failure_reason: str | None = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL_INSTANCE_STATUSES

    def open_at(self, step_id: str) -> str | None:
        """The oldest open execution of that step."""
        return next((eid for eid, step in self.progress.open.items() if step.step_id == step_id), None)


def decode_variables(text: str | bytes | msgspec.Raw) -> Variables:
    """Compacted if a client indented its JSON: `store.arrays.json_array` needs texts without control characters."""
    raw = text.encode() if isinstance(text, str) else bytes(text)
    if b"\n" in raw or b"\r" in raw or b"\t" in raw:
        raw = msgspec.json.format(raw, indent=-1)
    return _variables_decoder.decode(raw)


def encode_variables(variables: Variables) -> bytes:
    return _encoder.encode(variables)


def decode_progress(text: str | bytes) -> Progress:
    return _progress_decoder.decode(text)


def encode_progress(progress: Progress) -> str:
    return _encoder.encode(progress).decode()


class ParsedVariables(Mapping[str, Any]):
    """The variables that an expression reads; each is parsed when it is first read. `parsing` is called before with
    its size in bytes, and may raise.
    """

    def __init__(self, raw: Variables, parsing: Callable[[int], None]) -> None:
        self._raw = raw
        self._parsing = parsing
        self._parsed: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._parsed:
            raw = self._raw[name]
            self._parsing(memoryview(raw).nbytes)
            self._parsed[name] = msgspec.json.decode(raw)
        return self._parsed[name]

    def forget(self, name: str) -> None:
        """The variable has another value from now on."""
        self._parsed.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._raw

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)
