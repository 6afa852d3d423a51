"""Coverage-guided bytes into the pure readers, in this process: `python guided.py TARGET`, then libFuzzer's options.

A target raises for whatever its reader must not do; libFuzzer then writes the bytes to a file and ends. Time and memory
of one input are bounded by libFuzzer too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import atheris

with atheris.instrument_imports(include=["windlass.definition"], enable_loader_override=False):
    from windlass.definition import document, expression

from windlass import errors

VARIABLES = {
    "n": 5,
    "x": {"y": [1, "s", None]},
    "tags": ["vip"],
    "s": "text",
    "b": True,
    "nothing": None,
    "len": 2,
}


def read_expression(data: bytes) -> None:
    """A value that JSON can hold, or ExpressionError: nothing else."""
    text = data.decode("utf-8", "surrogatepass" if data[:1] == b"\xed" else "replace")
    try:
        compiled = expression.compile_expression(text)
        value = expression.evaluate(text, VARIABLES | dict.fromkeys(compiled.names - VARIABLES.keys(), 7))
    except expression.ExpressionError as error:
        if not str(error):
            raise AssertionError("an error without a message") from error
        return
    json.dumps(value, allow_nan=False)
    if value != expression.evaluate(text, VARIABLES | dict.fromkeys(compiled.names - VARIABLES.keys(), 7)):
        raise AssertionError("another value the second time")


def read_definition(data: bytes) -> None:
    """Refused with reasons; or stored text that runs, and that reads as itself."""
    try:
        upload = document.parse_upload(data)
    except (errors.BadRequest, errors.InvalidDefinition) as error:
        if not error.reason.startswith(("parse error: ", "validation error:\n")):
            raise AssertionError(f"another kind of refusal: {error.reason[:200]}") from error
        return
    document.compile_definition(upload.definition_id, 1, upload.content)
    document.with_version(upload.content, 1)
    if document.parse_upload(upload.content).content != upload.content:
        raise AssertionError("the stored text is another document when it is read again")


TARGETS: dict[str, Callable[[bytes], None]] = {"expression": read_expression, "definition": read_definition}

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
