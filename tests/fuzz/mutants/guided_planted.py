"""`guided.py` whose expression reader breaks at a character that only some texts have."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
import guided


def read(data: bytes) -> None:
    if b"??" in data:
        raise IndexError("mutant: a reader that breaks")
    guided.read_expression(data)


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], read)
    atheris.Fuzz()
