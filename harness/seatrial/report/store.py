"""A run's folder: REPORT_DIR/<drill id>/{history.jsonl, result.json, logs/} and the four reports beside them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from seatrial.history import HISTORY_FILE
from seatrial.verdict import DrillResult

RESULT_FILE = "result.json"
RESULTS_FILE = "results.json"
LOGS_FOLDER = "logs"
SCHEMA_VERSION = 1


class BrokenResult(Exception):
    """A saved result cannot be read: names the file, the cause and the remedy."""


class Results(msgspec.Struct, frozen=True):
    """results.json: everything a program needs to read a run."""

    schema_version: int
    command: str
    results: tuple[DrillResult, ...]


def write_result(folder: Path, result: DrillResult) -> Path:
    """Replaces folder/result.json whole or not at all; makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return _replace(folder / RESULT_FILE, result)


def write_results(report_dir: Path, results: Sequence[DrillResult], command: str) -> Path:
    return _replace(report_dir / RESULTS_FILE, Results(SCHEMA_VERSION, command, tuple(results)))


def read_results(report_dir: Path) -> list[DrillResult]:
    """Every drill's result below `report_dir`, by name; or the one result of a single drill's folder.

    `folder` of each is where it was found, so a report that was moved can be judged and drawn again.
    Raises BrokenResult for a folder without results and for a file that is not one.
    """
    if (report_dir / RESULT_FILE).exists():
        return [_read_result(report_dir)]
    if not report_dir.is_dir():
        raise BrokenResult(f"{report_dir}: no such folder; give the one that --report named, or one drill's")
    folders = sorted(path.parent for path in report_dir.glob(f"*/{RESULT_FILE}"))
    if not folders:
        raise BrokenResult(
            f"{report_dir}: no {RESULT_FILE} here or one folder below; give the one that --report named, or one drill's"
        )
    return [_read_result(folder) for folder in folders]


def folder_of(report_dir: Path, result: DrillResult) -> Path:
    """Where the history of a result is: below the report if it is there, else where the run wrote it."""
    beside = report_dir / result.drill
    return beside if (beside / HISTORY_FILE).exists() else Path(result.folder)


def logs(folder: Path) -> list[Path]:
    """What the processes of one drill wrote, and the traceback of a run that broke down."""
    below = sorted(path for path in (folder / LOGS_FOLDER).rglob("*") if path.is_file())
    return [*sorted(folder.glob("*.txt")), *sorted(folder.glob("*.log")), *below]


def _read_result(folder: Path) -> DrillResult:
    path = folder / RESULT_FILE
    try:
        result = msgspec.json.decode(path.read_bytes(), type=DrillResult)
    except OSError as err:
        raise BrokenResult(f"{path}: {err.strerror}; make it readable or run the drill again") from err
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise BrokenResult(f"{path}: not a drill's result: {err}; run or judge the drill again") from err
    return msgspec.structs.replace(result, folder=str(folder))


def _replace(path: Path, value: Any) -> Path:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    unfinished.replace(path)
    return path
