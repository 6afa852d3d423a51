"""values.schema.json as the tests and the tables read it: sections, leaves, defaults."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHART = Path(__file__).parents[2] / "charts" / "windlass"
OPTIONAL = ("global", "enabled")
"""Admitted for parent charts; they have no default."""

Schema = dict[str, Any]
Key = tuple[str, ...]


@functools.cache
def schema() -> Schema:
    loaded: Schema = json.loads((CHART / "values.schema.json").read_text())
    return loaded


def is_section(node: Schema) -> bool:
    """An object whose keys are settings of their own; the others are one setting each."""
    return "properties" in node and "default" not in node


def sections(node: Schema, path: Key = ()) -> Iterator[tuple[Key, Schema]]:
    """Every object with keys of its own that have defaults, the root first."""
    if is_section(node):
        yield path, node
        for key, child in node["properties"].items():
            yield from sections(child, (*path, key))


def leaves(node: Schema, path: Key = ()) -> Iterator[tuple[Key, Schema]]:
    """Every key that an operator sets, in the schema's order; those of a list's items come after it, as `list[]`."""
    for key, child in node["properties"].items():
        here = (*path, key)
        if is_section(child):
            yield from leaves(child, here)
            continue
        yield here, child
        items = child.get("items", {})
        if any("description" in described for described in items.get("properties", {}).values()):
            yield from leaves(items, (*path, f"{key}[]"))


def has_default(path: Key) -> bool:
    return path[0] not in OPTIONAL and not any(key.endswith("[]") for key in path)


@functools.cache
def defaults() -> dict[str, Any]:
    return _defaults(settings())


def _defaults(node: Schema) -> dict[str, Any]:
    return {
        key: _defaults(child) if is_section(child) else child["default"]
        for key, child in node["properties"].items()
    }


def settings() -> Schema:
    """The schema without what is only admitted."""
    keys = {key: child for key, child in schema()["properties"].items() if key not in OPTIONAL}
    return {"properties": keys}
