"""The query of a REST call: its parameters, and what they say about paging."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from windlass.api import bounds
from windlass.api.call import Request
from windlass.errors import BadRequest

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


def query_of(request: Request) -> dict[str, str]:
    """The parameters, the first of a repeated name; BadRequest when one is not text."""
    query: dict[str, str] = {}
    try:
        pairs = parse_qsl(request.query.decode("utf-8"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest("the query is not valid UTF-8") from None
    for name, value in pairs:
        if "\x00" in value:
            raise BadRequest(f"the query parameter {name} contains the character U+0000; remove it")
        query.setdefault(name, value)
    return query


def paging_of(query: dict[str, str]) -> tuple[int, int]:
    """Page and page size; anything but an integer counts as absent (contract 1.5)."""
    page, page_size = query.get("page", ""), query.get("pageSize", "")
    number = int(page) if _INTEGER.fullmatch(page) else 0
    size = int(page_size) if _INTEGER.fullmatch(page_size) else 0
    return bounds.page_of(number, size)
