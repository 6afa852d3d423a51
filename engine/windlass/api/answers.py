"""What the REST API answers when a call has succeeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from windlass import wire
from windlass.api import history
from windlass.api.call import Response

PREFLIGHT = Response(
    200,
    headers=b"Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"
    b"Access-Control-Allow-Headers: Accept, Authorization, Content-Type\r\n"
    b"Access-Control-Max-Age: 300\r\n",
)
NO_CONTENT = Response(204)
NO_JOBS = Response(200, b'{"jobs":[]}\n')

_encode = msgspec.json.Encoder().encode


def ok(value: object) -> Response:
    return Response(200, _encode(value) + b"\n")


def jobs(leased: Sequence[wire.JobView], *, untaken: Callable[[], None]) -> Response:
    """`untaken`: called if nobody gets them."""
    return Response(200, b'{"jobs":%b}\n' % _encode(leased), untaken=untaken)


def created(value: object) -> Response:
    return Response(201, _encode(value) + b"\n")


def registered(answer: tuple[wire.WorkerView, bool]) -> Response:
    worker, is_new = answer
    return created(worker) if is_new else ok(worker)


def no_content(_: None) -> Response:
    return NO_CONTENT


def text_as_it_is(text: bytes) -> Response:
    return Response(200, text if text.endswith(b"\n") else text + b"\n")


def history_page(page: wire.HistoryPage) -> Response:
    items = {"items": [history.item(row) for row in page.items]}
    return ok(items if page.next_page_token is None else {**items, "nextPageToken": page.next_page_token})
