"""The JSON document of a definition: strict reading of an upload, its stored text, and what the engine runs.

The stored text keeps the order of the source, because branches and transformations are tried in that order.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec

from windlass import errors
from windlass.definition import duration, operators, validation
from windlass.definition.model import BoundaryEvent, Definition, Step, StepType

NESTING_MAX = 100

#: Of more errors in the form of a document, this many are listed and the rest is counted.
PROBLEMS_SHOWN_MAX = 100

#: Only these wait long enough for a timer; boundary events elsewhere are accepted and ignored (contract 3.2).
TIMED_TYPES = frozenset({StepType.SERVICE_TASK, StepType.USER_TASK, StepType.WAIT})

_SHOWN_CHARS_MAX = 80
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Upload:
    """A valid document, ready to be stored. `content` is its JSON text, without a version."""

    definition_id: str
    name: str
    description: str | None
    content: bytes
    #: set only when autoStartNextWorkflow is true
    chained_definition_id: str | None


def parse_upload(body: bytes) -> Upload:
    """Read and check an uploaded document as a whole, so that the caller learns all errors at once.

    Raises BadRequest ("parse error: …") for unreadable JSON, wrong types or unknown fields, and
    InvalidDefinition with every violated rule of contract 3.5.
    """
    problems = _Problems()
    document = _Form(problems).document(_read(body, problems))
    problems.refuse_any()
    violations = validation.violations(document)
    if violations:
        raise errors.InvalidDefinition(violations)
    return Upload(
        definition_id=document["id"],
        name=document["name"],
        description=document.get("description"),
        content=json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(),
        chained_definition_id=document["nextWorkflowId"] if document.get("autoStartNextWorkflow") else None,
    )


def with_version(content: bytes, version: int) -> bytes:
    """Return the stored text with its assigned version, right behind the id (contract 1.4)."""
    document = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    numbered = {"id": document.pop("id"), "version": version}
    document.pop("version", None)
    return msgspec.json.encode(numbered | document)


def compile_definition(definition_id: str, version: int, content: bytes) -> Definition:
    """Make stored text runnable. Tolerates what another engine may have stored (contract 3.4).

    Raises InvalidDefinition, naming id and version, only for what cannot be run at all: a step
    without an id, an unknown step type, a duration that has no length in seconds.
    """
    try:
        stored = msgspec.json.decode(content, type=_StoredDocument)
        steps = {step.id: _compiled(step) for step in stored.steps}
    except (msgspec.DecodeError, duration.BadDuration) as error:
        raise errors.InvalidDefinition(
            [f'stored definition "{definition_id}" version {version}: {error}; upload a corrected version']
        ) from error
    gateway_of_join: dict[str, str] = {}
    for step in stored.steps:
        if step.type is StepType.PARALLEL_GATEWAY and step.join_step:
            gateway_of_join.setdefault(step.join_step, step.id)
    return Definition(
        id=definition_id,
        version=version,
        name=stored.name,
        description=stored.description or None,
        chained_definition_id=(stored.next_workflow_id or None) if stored.auto_start_next_workflow else None,
        steps=steps,
        first_step_id=stored.steps[0].id,
        gateway_of_join=gateway_of_join,
    )


class _StoredEvent(msgspec.Struct, rename="camel"):
    duration: str
    target_step_id: str
    interrupting: bool = False


class _StoredStep(msgspec.Struct, rename="camel"):
    id: str
    type: StepType
    name: str = ""
    next_step: str | None = None
    conditional_next_steps: dict[str, str] | None = None
    transformations: dict[str, Any] | None = None
    parallel_next_steps: tuple[str, ...] | None = None
    join_step: str | None = None
    job_type: str | None = None
    retry_count: int | None = None
    boundary_events: tuple[_StoredEvent, ...] | None = None


class _StoredDocument(msgspec.Struct, rename="camel"):
    steps: Annotated[list[_StoredStep], msgspec.Meta(min_length=1)]
    name: str = ""
    description: str | None = None
    auto_start_next_workflow: bool | None = None
    next_workflow_id: str | None = None


def _compiled(step: _StoredStep) -> Step:
    timed = step.boundary_events or () if step.type in TIMED_TYPES else ()
    return Step(
        id=step.id,
        name=step.name,
        type=step.type,
        next_step=step.next_step or None,
        branches=tuple((step.conditional_next_steps or {}).items()),
        transformations=tuple((step.transformations or {}).items()),
        parallel_next_steps=step.parallel_next_steps or (),
        join_step=step.join_step or None,
        job_type=step.job_type or None,
        retry_count=max(0, step.retry_count or 0),
        boundary_events=tuple(
            BoundaryEvent(
                duration_s=duration.parse_duration_s(event.duration),
                interrupting=event.interrupting,
                target_step_id=event.target_step_id,
            )
            for event in timed
        ),
    )


class _Problems:
    """The errors in a document's form: the first ones in full, the rest as a number."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.more = 0

    def add(self, problem: str) -> None:
        if len(self.shown) < PROBLEMS_SHOWN_MAX:
            self.shown.append(problem)
        else:
            self.more += 1

    def refuse_any(self) -> None:
        if self.shown:
            _refuse("; ".join(self.shown) + (f"; and {self.more} more" if self.more else ""))


def _refuse(problem: str) -> NoReturn:
    raise errors.BadRequest(f"parse error: {problem}")


def _read(body: bytes, problems: _Problems) -> Any:
    """Decode JSON text as strictly as the database stores it. Raises BadRequest."""
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_real,
        )
    except UnicodeDecodeError as error:
        _refuse(f"the document is not UTF-8 at byte {error.start}")
    except json.JSONDecodeError as error:
        _refuse(f"{error.msg} at line {error.lineno}, column {error.colno}")
    except RecursionError:
        _refuse(f"the document is nested deeper than {NESTING_MAX} levels")
    _check_storable(value, [], problems)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        problems = _Problems()
        for key in (key for key, count in counts.items() if count > 1):
            problems.add(f"duplicate key {_quoted(key)} in one object")
        problems.refuse_any()
    return found


def _constant(word: str) -> NoReturn:
    _refuse(f"{word} is not a JSON value")


def _integer(digits: str) -> int:
    if len(digits) > operators.INTEGER_DIGITS_MAX:
        _refuse(f"the number {digits[:_SHOWN_CHARS_MAX]}… is outside the range of a double")
    return int(digits)


def _real(text: str) -> int | float:
    number = float(text)
    if not math.isfinite(number):
        _refuse(f"the number {text[:_SHOWN_CHARS_MAX]} is outside the range of a double")
    return operators.whole(number)


def _check_storable(value: Any, trail: list[str | int], problems: _Problems) -> None:
    """Find texts that the database cannot hold, and nesting past the limit. `trail` leads to the value."""
    if type(value) is str:
        _check_text(value, trail, problems)
    elif type(value) is dict or type(value) is list:
        if len(trail) >= NESTING_MAX:
            _refuse(f"the document is nested deeper than {NESTING_MAX} levels")
        items = value.items() if type(value) is dict else enumerate(value)
        for key, item in items:
            trail.append(key)
            if type(key) is str:
                _check_text(key, trail, problems)
            if type(item) in (str, dict, list):
                _check_storable(item, trail, problems)
            trail.pop()


def _check_text(text: str, trail: Sequence[str | int], problems: _Problems) -> None:
    if "\0" in text:
        problems.add(f"{_path(trail)}: the character U+0000 cannot be stored")
    if not text.isascii() and _SURROGATE.search(text):
        problems.add(f"{_path(trail)}: half a surrogate pair is not a character")


Field = Callable[[Any, str], Any]
Fields = Mapping[str, Field]
T = TypeVar("T", str, int, bool, "list[Any]", "dict[str, Any]")

_TYPE_WORDS: Mapping[type, str] = {
    str: "a string",
    int: "an integer",
    bool: "true or false",
    list: "an array",
    dict: "an object",
    float: "a number with a fraction",
    type(None): "null",
}


class _Form:
    """Copies a document into its canonical form and collects every wrong type and unknown field.

    Null means absent. Optional fields that say nothing ("", 0, false, [], {}) are left out, except
    `interrupting`, which is always present (contract 1.4). `metadata` and `transformations` are free.
    """

    def __init__(self, problems: _Problems) -> None:
        self.problems = problems
        self.boundary_event_fields: Fields = {
            "type": self.text,
            "duration": self.text,
            "interrupting": self.flag,
            "targetStepId": self.text,
        }
        self.step_fields: Fields = {
            "id": self.text,
            "name": self.text,
            "type": self.text,
            "description": self.text,
            "nextStep": self.text,
            "conditionalNextSteps": self.texts_by_key,
            "transformations": self.free,
            "parallelNextSteps": self.array_of(self.text),
            "joinStep": self.text,
            "jobType": self.text,
            "delegateClass": self.text,
            "retryCount": self.integer,
            "boundaryEvents": self.array_of(self.boundary_event),
        }
        self.document_fields: Fields = {
            "id": self.text,
            "version": self.integer,
            "name": self.text,
            "description": self.text,
            "autoStartNextWorkflow": self.flag,
            "nextWorkflowId": self.text,
            "steps": self.array_of(self.step),
            "metadata": self.free,
        }

    def document(self, value: Any) -> dict[str, Any]:
        document = self.fields(value, "", self.document_fields)
        document.pop("version", None)
        return document

    def step(self, value: Any, path: str) -> dict[str, Any]:
        return self.fields(value, path, self.step_fields)

    def boundary_event(self, value: Any, path: str) -> dict[str, Any]:
        event = self.fields(value, path, self.boundary_event_fields)
        return event if event.get("interrupting") else event | {"interrupting": False}

    def fields(self, value: Any, path: str, fields: Fields) -> dict[str, Any]:
        found = {}
        for key, item in self.expect(dict, value, path).items():
            where = _join(path, key)
            if key not in fields:
                self.problems.add(f"{where}: unknown field {_quoted(key)}")
            elif item is not None and (copied := fields[key](item, where)):
                found[key] = copied
        return found

    def array_of(self, read: Field) -> Field:
        return lambda value, path: [
            read(item, f"{path}[{index}]") for index, item in enumerate(self.expect(list, value, path))
        ]

    def texts_by_key(self, value: Any, path: str) -> dict[str, str]:
        return {
            key: self.text(item, _join(path, key)) for key, item in self.expect(dict, value, path).items()
        }

    def free(self, value: Any, path: str) -> dict[str, Any]:
        return self.expect(dict, value, path)

    def text(self, value: Any, path: str) -> str:
        return self.expect(str, value, path)

    def integer(self, value: Any, path: str) -> int:
        return self.expect(int, value, path)

    def flag(self, value: Any, path: str) -> bool:
        return self.expect(bool, value, path)

    def expect(self, wanted: type[T], value: Any, path: str) -> T:
        if type(value) is wanted:
            return value
        self.problems.add(
            f"{path or 'the document'}: expected {_TYPE_WORDS[wanted]}, got {_TYPE_WORDS[type(value)]}"
        )
        return wanted()


def _path(trail: Sequence[str | int]) -> str:
    path = ""
    for key in trail:
        path = _join(path, key) if type(key) is str else f"{path}[{key}]"
    return path or "the document"


def _join(path: str, key: str) -> str:
    if _PLAIN_KEY.fullmatch(key) and len(key) <= _SHOWN_CHARS_MAX:
        return f"{path}.{key}" if path else key
    return f"{path}[{_quoted(key)}]"


def _quoted(text: str) -> str:
    """Show the text as a JSON string in ASCII, so that half a surrogate pair can be shown too."""
    return json.dumps(text if len(text) <= _SHOWN_CHARS_MAX else text[:_SHOWN_CHARS_MAX] + "...")
