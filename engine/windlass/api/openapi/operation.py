"""One operation of the document as data: a route of `rest.py`, what it takes, how it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from windlass.api import bounds
from windlass.api.openapi.shape import Schema, text

Link = tuple[str, dict[str, str], dict[str, Any] | None]
"""(operation, its parameters, its body), with runtime expressions for values of this answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    id: str
    method: str
    path: str
    tag: str
    summary: str
    description: str = ""
    path_schemas: Mapping[str, Schema] = field(default_factory=dict)
    query: Mapping[str, Schema] = field(default_factory=dict)
    #: name of the body's schema
    body: str | None = None
    body_required: bool = True
    body_examples: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    #: the same answer's status when what is asked for was so already
    status_of_repeat: int | None = None
    #: name of the answer's schema; None = an empty answer
    answer: str | None = None
    answer_description: str = "Done."
    #: refusals of its own, or with a description of its own
    refused: Mapping[int, str] = field(default_factory=dict)
    #: an answer of its own beside the error body, by status
    refused_answers: Mapping[int, str] = field(default_factory=dict)
    #: how it can fail in addition to what any call can; nothing for what is answered from memory
    fails: tuple[int, ...] = (500, 504)
    links: Mapping[str, Link] = field(default_factory=dict)


#: `fails` of what begins work, and is refused while too much waits before it
FAILS_OR_SHED = (429, 500, 504)


def path_id(description: str) -> Schema:
    return text(f"{description} Percent-encode characters that a path cannot contain.", minLength=1)


PAGING: Mapping[str, Schema] = {
    "page": {
        "type": "integer",
        "minimum": 0,
        "default": 0,
        "description": f"From 0. More than {bounds.PAGE_MAX} counts as that, anything else as 0.",
    },
    "pageSize": {
        "type": "integer",
        "minimum": 1,
        "maximum": bounds.PAGE_SIZE_MAX,
        "default": bounds.PAGE_SIZE_DEFAULT,
        "description": f"More counts as {bounds.PAGE_SIZE_MAX}; anything that is not above zero counts as the default.",
    },
}
PAGE_TOKEN: Mapping[str, Schema] = {
    "pageToken": text("The nextPageToken of the page before; page is not looked at then.")
}
