"""Reads sql/*.sql once. They hold all SQL, each query as a `-- name:` line, a description and the statement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple

_NAME = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


class Query(NamedTuple):
    name: str
    description: str
    text: str


def parse(source: str) -> list[Query]:
    """The queries of one file; a query without a description or a statement is a ValueError."""
    parts = _NAME.split(source)[1:]
    found = []
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        lines = body.strip("\n").split("\n")
        described = [line.removeprefix("-- ") for line in lines if line.startswith("--")]
        text = "\n".join(line for line in lines if not line.startswith("--")).strip().removesuffix(";")
        if not described or not text:
            raise ValueError(f"query {name}: needs a description and a statement")
        found.append(Query(name, " ".join(described), text))
    return found


@cache
def load() -> Mapping[str, Query]:
    """Every query by name; two of one name are a ValueError."""
    queries: dict[str, Query] = {}
    for file in sorted(resources.files("windlass.store").joinpath("sql").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql"):
            for query in parse(file.read_text(encoding="utf-8")):
                if query.name in queries:
                    raise ValueError(f"query {query.name}: named twice")
                queries[query.name] = query
    return queries


def sql(name: str) -> str:
    return load()[name].text
