"""A case: one piece of bad (or just unusual) input, as bytes, with what the contract says must become of it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

Surface = Literal[
    "rest", "grpc", "definition", "expression",
    "strangers-rest", "strangers-grpc",
    "numbers", "hollow-bodies", "body-floods", "pipelined-upgrades", "slow-bodies", "cancelled-polls", "large-answers",
]  # fmt: skip

#: Stand for ids that only a running engine has. As long as what they stand for, so that lengths in a case stay true.
INSTANCE_ID = "0PLACEHOLDER0INSTANCE00000"
JOB_ID = "0PLACEHOLDER0JOB0000000000"

#: What the cases aim at; `targets.py` makes them.
SERVICE_DEFINITION = "fuzz-service"
PARKED_DEFINITION = "fuzz-parked"
JOB_TYPE = "fuzz-service.work"
WORKER_ID = "fuzz-worker"
USER_TASK_STEP, WAIT_STEP = "ask", "pause"


@dataclass(frozen=True, slots=True)
class Case:
    """`sent` is what goes over the socket, over gRPC the message, a document or text, or a recipe as JSON."""

    surface: Surface
    #: what is wrong with it, for people
    kind: str
    sent: bytes
    #: the contract wants it refused; else it may be, and may as well be served
    must_refuse: bool = False
    #: over gRPC the full name of the method
    method: str = ""
    #: over gRPC the metadata, in pairs
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    #: how many answers there must be at least; 0: the caller may also be cut off without a word
    answers: int = 1
    #: an expression's variables, as JSON
    variables: str = field(default="{}")
    #: whose it is, with authentication on: anybody's, a stranger's, or that of one who is known and may do nothing
    by: Literal["", "stranger", "powerless"] = ""
    #: its head is right, so that nothing but the gate has a word before its body is read
    is_whole: bool = False

    def aimed(self, instance_id: str, job_id: str) -> Self:
        """The same case with real ids for INSTANCE_ID and JOB_ID."""
        sent = self.sent.replace(INSTANCE_ID.encode(), instance_id.encode())
        return replace(self, sent=sent.replace(JOB_ID.encode(), job_id.encode()))

    def shown(self) -> str:
        text = repr(self.sent)
        return f"{self.surface}: {self.kind}: {text if len(text) <= 300 else text[:300] + '...'}"

    def as_json(self) -> dict[str, Any]:
        return {
            "surface": self.surface,
            "kind": self.kind,
            "sent": base64.b64encode(self.sent).decode(),
            "mustRefuse": self.must_refuse,
            "method": self.method,
            "metadata": [_pair_as_json(key, value) for key, value in self.metadata],
            "answers": self.answers,
            "variables": self.variables,
            "by": self.by,
            "isWhole": self.is_whole,
        }

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Self:
        """Raises KeyError or ValueError for what `as_json` did not make."""
        return cls(
            surface=found["surface"],
            kind=found["kind"],
            sent=base64.b64decode(found["sent"], validate=True),
            must_refuse=found["mustRefuse"],
            method=found["method"],
            metadata=tuple(_pair_of_json(*pair) for pair in found["metadata"]),
            answers=found["answers"],
            variables=found["variables"],
            by=found["by"],
            is_whole=found["isWhole"],
        )


def _pair_as_json(key: str, value: str | bytes) -> list[str]:
    return [key, base64.b64encode(value).decode() if isinstance(value, bytes) else value]


def _pair_of_json(key: str, value: str) -> tuple[str, str | bytes]:
    return key, base64.b64decode(value, validate=True) if key.endswith("-bin") else value


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that a case broke: which one, and what was seen."""

    oracle: str
    text: str
    case: Case | None = None

    def write(self, path: Path, seed: int) -> None:
        """Keeps the case so that `scripts/fuzz --replay` can run it again."""
        told = {"oracle": self.oracle, "text": self.text, "seed": seed}
        if self.case is not None:
            told |= {"case": self.case.as_json()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(told, indent=2) + "\n")
