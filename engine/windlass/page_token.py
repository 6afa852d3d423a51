"""Where a page ends and the next one begins: a place in a list that is ordered by time, ties by id; or by id alone."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import NamedTuple

from windlass.errors import BadRequest
from windlass.wire import InstanceView, StepExecutionView

_BY_ID = "id"
"""In the place of the time."""


class Place(NamedTuple):
    started_at: datetime
    id: str


def token_after(view: InstanceView | StepExecutionView) -> str:
    """For callers it has no parts."""
    return base64.urlsafe_b64encode(f"{view.started_at} {view.id}".encode()).decode().rstrip("=")


def token_after_id(id_: str) -> str:
    """The same in a list that is ordered by id."""
    return base64.urlsafe_b64encode(f"{_BY_ID} {id_}".encode()).decode().rstrip("=")


def place_of(token: str) -> Place:
    """BadRequest for what is no token of `token_after`."""
    try:
        text = _decoded(token)
        started_at, _, id_ = text.partition(" ")
        second, _, fraction = started_at.removesuffix("Z").partition(".")
        instant = datetime.strptime(f"{second}+0000", "%Y-%m-%dT%H:%M:%S%z")
        if not id_ or "\x00" in id_:
            raise ValueError(token)
        instant = instant.replace(microsecond=int(fraction.ljust(6, "0")))
    except (ValueError, binascii.Error, OverflowError):
        raise _not_ours() from None
    return Place(instant, id_)


def id_of(token: str) -> str:
    """BadRequest for what is no token of `token_after_id`."""
    try:
        word, _, id_ = _decoded(token).partition(" ")
    except (ValueError, binascii.Error):
        raise _not_ours() from None
    if word != _BY_ID or not id_ or "\x00" in id_:
        raise _not_ours()
    return id_


def _decoded(token: str) -> str:
    return base64.b64decode(
        token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True
    ).decode()


def _not_ours() -> BadRequest:
    return BadRequest(
        "pageToken is none that this engine gave; send the nextPageToken of the page before as it is, or none for "
        "the first page"
    )
