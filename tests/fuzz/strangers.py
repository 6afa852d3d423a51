"""The engine that strangers meet: it asks for tokens and JWTs, and does not slow those who guess."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import credentials
from subject import Subject

_ENGINE = Path(__file__).with_name("open_handed.py")


def subject(folder: Path, *faults: str) -> Subject:
    """`faults`: of mutants/gate_planted.py."""
    variables = credentials.write(folder)
    (folder / "access.json").write_text(json.dumps(variables))
    command = [sys.executable, str(_ENGINE), str(folder), *faults, "serve"]
    return Subject(folder, engine_command=shlex.join(command), token=credentials.ADMIN)
