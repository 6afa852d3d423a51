"""values.yaml and the README's values table, from values.schema.json: descriptions, defaults, and where a key acts.

Run it to write both; test_chart_readme.py compares.
"""

import json
import textwrap
from collections.abc import Iterator
from functools import cache

from effects import acts_on
from values_schema import CHART, Schema, is_section, leaves, schema, settings

BEGIN = "<!-- values: written by tests/chart/values_table.py -->\n"
END = "<!-- /values -->"
COMMENT_CHARACTERS = 110
HEAD = """\
# Written by tests/chart/values_table.py from values.schema.json, where what is allowed stands, too.
"""


def values_yaml() -> str:
    return HEAD + "".join(_lines(settings(), ""))


def _lines(node: Schema, indent: str) -> Iterator[str]:
    for key, child in node["properties"].items():
        yield "\n" if not indent else ""
        for line in textwrap.wrap(child["description"], COMMENT_CHARACTERS - len(indent)):
            yield f"{indent}# {line}\n"
        if is_section(child):
            yield f"{indent}{key}:\n"
            yield from _lines(child, indent + "  ")
        else:
            yield f"{indent}{key}: {_written(child['default'])}\n"


def _written(default: object) -> str:
    """Flow style: JSON is YAML, and words need no quotes unless they would be read as something else."""
    text = json.dumps(default)
    is_word = isinstance(default, str) and default[:1].isalpha() and default.replace(".", "").isalnum()
    return text.strip('"') if is_word and default not in {"true", "false", "null"} else text


@cache
def table() -> str:
    rows = ["| key | default | | acts on |", "| --- | --- | --- | --- |"]
    for path, node in leaves(schema()):
        default = f"`{json.dumps(node['default'])}`" if "default" in node else ""
        rows.append(f"| `{'.'.join(path)}` | {default} | {node['description']} | {acts_on(path)} |")
    return "\n".join(rows) + "\n"


def written(readme: str) -> str:
    before, rest = readme.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    (CHART / "values.yaml").write_text(values_yaml())
    page = CHART / "README.md"
    page.write_text(written(page.read_text()))
