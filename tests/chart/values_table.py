"""The values table of the chart's README, from the schema's descriptions and the defaults of values.yaml.

Run it to write the table; test_readme.py compares.
"""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts" / "windlass"
BEGIN = "<!-- values: written by tests/chart/values_table.py -->\n"
END = "<!-- /values -->"
OPTIONAL = ("global", "enabled")
"""Admitted for parent charts; they have no default."""

Schema = dict[str, Any]


@functools.cache
def schema() -> Schema:
    loaded: Schema = json.loads((CHART / "values.schema.json").read_text())
    return loaded


@functools.cache
def defaults() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return loaded


def sections(node: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Every object with keys of its own that have defaults, the root first."""
    if "properties" in node and "examples" not in node:
        yield path, node
        for key, child in node["properties"].items():
            yield from sections(child, (*path, key))


def leaves(node: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Every key that an operator sets, in the schema's order."""
    for section, found in sections(node, path):
        for key, child in found["properties"].items():
            if "properties" not in child or "examples" in child:
                yield (*section, key), child


def default_of(path: tuple[str, ...]) -> object:
    value: Any = defaults()
    for key in path:
        value = value[key]
    return value


def table() -> str:
    rows = ["| key | default | |", "| --- | --- | --- |"]
    for path, node in sorted(leaves(schema()), key=lambda leaf: _order(leaf[0])):
        default = "" if path[0] in OPTIONAL else f"`{json.dumps(default_of(path))}`"
        rows.append(f"| `{'.'.join(path)}` | {default} | {node['description']} |")
    return "\n".join(rows) + "\n"


def _order(path: tuple[str, ...]) -> int:
    """A section's keys stand together, sections as in the schema."""
    return list(schema()["properties"]).index(path[0])


def written(readme: str) -> str:
    before, rest = readme.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    target = CHART / "README.md"
    target.write_text(written(target.read_text()))
