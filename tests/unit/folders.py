"""The folders of the repository whose files the rules of this folder read."""

from __future__ import annotations

FOLDERS = (
    "client",
    "engine",
    "harness",
    "tests",
    "scripts",
    "charts",
    "compose",
    "values",
    "docs",
    "examples",
    ".github",
    ".ci",
)
