"""`docs/openapi.json` and `docs/rest.md`, made from the engine's document. Run it to write them; a test compares."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from windlass.api.call import Limits
from windlass.api.openapi.document import document
from windlass.config import Settings

ROOT = Path(__file__).parents[3]
COMMAND = "python tests/unit/engine/rest_page.py"

Json = Mapping[str, Any]


def made() -> Mapping[str, str]:
    """Each file by its path from the root, with the limits that hold when no variable is set."""
    found = document(Settings(postgres_dsn=""), Limits())
    return {
        "docs/openapi.json": json.dumps(found, indent=2, ensure_ascii=False) + "\n",
        "docs/rest.md": "\n".join(_page(found)) + "\n",
    }


def _page(found: Json) -> Iterator[str]:
    info = found["info"]
    yield "# REST"
    yield ""
    yield f"<!-- written by {COMMAND} from engine/windlass/api/openapi -->"
    yield ""
    yield "What the REST port takes and how it answers, with the limits that hold when no variable is set. The same for"
    yield "generators and other tools is [openapi.json](openapi.json); a node serves it with its own limits at"
    yield "`/openapi.json`. Fields in bold are required, or always there."
    yield ""
    yield info["description"]
    yield ""
    for tag in found["tags"]:
        yield f"**{tag['name'].capitalize()}.** {tag['description']}"
        yield ""
        yield from _rows("call", "what it does")
        for path, method, operation in _operations(found):
            if operation["tags"] == [tag["name"]]:
                call = f"{method.upper()} {path}"
                yield f"| [`{call}`](#{_anchor(call)}) | {operation['summary']} |"
        yield ""
    for path, method, operation in _operations(found):
        yield from _section(path, method, operation)
    yield "## What any call may be answered"
    yield ""
    yield from _rows("status", "`error`", "meaning")
    for response in found["components"]["responses"].values():
        status = next(s for s, it in _shared(found) if it is response)
        yield f"| {status} | {_code(response)} | {response['description']} |"
    yield ""
    for name, schema in found["components"]["schemas"].items():
        yield from _schema(name, schema)


def _operations(found: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _shared(found: Json) -> Iterator[tuple[str, Json]]:
    for _, _, operation in _operations(found):
        for status, response in operation["responses"].items():
            if "$ref" in response:
                yield status, found["components"]["responses"][response["$ref"].rpartition("/")[2]]


def _section(path: str, method: str, operation: Json) -> Iterator[str]:
    yield f"## {method.upper()} {path}"
    yield ""
    yield f"**{operation['summary']}** (`{operation['operationId']}`)"
    yield ""
    if "description" in operation:
        yield operation["description"]
        yield ""
    if parameters := operation.get("parameters"):
        yield from _rows("parameter", "in", "type", "")
        for each in parameters:
            yield f"| `{each['name']}` | {each['in']} | {_kind(each['schema'])} | {each['description']} |"
        yield ""
    if body := operation.get("requestBody"):
        content = body["content"]["application/json"]
        yield f"Takes {_link(content['schema'])}{'' if body['required'] else ', or no body'}."
        yield ""
        for name, example in content.get("examples", {}).items():
            yield f"Example, {name}:"
            yield ""
            yield "```json"
            yield _compact(example["value"])
            yield "```"
            yield ""
    yield from _rows("status", "body", "meaning")
    shared = [status for status, response in operation["responses"].items() if "$ref" in response]
    for status, response in operation["responses"].items():
        if status not in shared:
            yield f"| {status} | {_answer(response)} | {response['description']} |"
    yield f"| {' '.join(shared)} | | [as any call](#what-any-call-may-be-answered) |"
    yield ""


def _answer(response: Json) -> str:
    if "content" not in response:
        return ""
    schema = response["content"]["application/json"]["schema"]
    if "anyOf" in schema:
        return " or ".join(_link(each) for each in schema["anyOf"])
    code = _code(response)
    return f"{_link(schema)} {code}" if code else _link(schema)


def _code(response: Json) -> str:
    if "content" not in response:
        return ""
    schema = response["content"]["application/json"]["schema"]
    code = schema.get("properties", {}).get("error", {}).get("const")
    return f"`{code}`" if code else ""


def _schema(name: str, schema: Json) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    if "description" in schema:
        yield schema["description"]
        yield ""
    if properties := schema.get("properties"):
        yield from _rows("field", "type", "")
        required = schema.get("required", ())
        for field, each in properties.items():
            mark = "**" if field in required else ""
            yield f"| {mark}`{field}`{mark} | {_kind(each)} | {_cell(each.get('description', ''))} |"
        yield ""
    for rule in schema.get("allOf", ()):
        kind = rule["if"]["properties"]["type"]["const"]
        yield f"- {kind} needs {', '.join(f'`{field}`' for field in rule['then']['required'])}"
    if "allOf" in schema:
        yield ""


def _kind(schema: Json) -> str:
    """The type in words, with its limits."""
    if "$ref" in schema:
        return _link(schema)
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = " or ".join(types)
    if "items" in schema:
        words = words.replace("array", f"array of {_kind(schema['items'])}")
    if schema.get("format") == "date-time":
        words = words.replace("string", "time")
    return ", ".join([words, *_limits(schema)])


def _limits(schema: Json) -> Iterator[str]:
    for low, high, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        if low in schema and high in schema:
            yield f"{schema[low]} to {schema[high]}{unit}"
        elif low in schema:
            yield f"at least {schema[low]}" if low == "minimum" else "not empty"
    if "minItems" in schema:
        yield f"at least {schema['minItems']}"
    if "default" in schema:
        yield f"default {schema['default']}"


def _link(schema: Json) -> str:
    name = schema["$ref"].rpartition("/")[2]
    return f"[{name}](#{_anchor(name)})"


def _anchor(heading: str) -> str:
    """As GitHub makes them."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _rows(*names: str) -> Iterator[str]:
    yield f"| {' | '.join(names)} |".replace("|  |", "| |")
    yield f"| {' | '.join('---' for _ in names)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _compact(value: Any) -> str:
    """JSON of one or few lines: a list of objects gets a line for each."""
    if isinstance(value, dict) and isinstance(value.get("steps"), list):
        steps = ",\n  ".join(json.dumps(step) for step in value["steps"])
        rest = json.dumps({key: it for key, it in value.items() if key != "steps"})
        return f'{rest[:-1]}, "steps": [\n  {steps}]}}'
    return json.dumps(value)


def main() -> None:
    for path, text in made().items():
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
