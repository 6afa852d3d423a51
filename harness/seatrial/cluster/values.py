"""Chart values: read from files, laid over one another, and those that set engine variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from seatrial.cluster.options import Misuse


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Helm's rule (maps merge, all else is replaced by `upper`), but `extraEnv` joins by variable name."""
    merged = dict(lower)
    for name, value in upper.items():
        beneath = merged.get(name)
        if isinstance(value, Mapping) and isinstance(beneath, Mapping):
            merged[name] = merge(beneath, value)
        elif name == "extraEnv" and isinstance(beneath, list):
            merged[name] = list({entry["name"]: entry for entry in [*beneath, *value]}.values())
        else:
            merged[name] = value
    return merged


#: variables that the chart sets by keys of its own, which it refuses beside them
_KEYS: Mapping[str, Sequence[str]] = {
    "WINDLASS_IDLE_TIMEOUT_SECONDS": ("engine", "idleTimeoutSeconds"),
    "WINDLASS_GRPC_CONNECTION_AGE_SECONDS": ("engine", "grpc", "connectionAgeSeconds"),
}


def engine_variables(**variables: float | str) -> dict[str, Any]:
    """Chart values that set engine variables: `engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1)`."""
    extra = {name: value for name, value in variables.items() if name not in _KEYS}
    values: dict[str, Any] = {
        "extraEnv": [{"name": name, "value": str(value)} for name, value in extra.items()]
    }
    for name in variables.keys() - extra.keys():
        found: Any = float(variables[name])
        for key in reversed(_KEYS[name]):
            found = {key: found}
        values = merge(values, found)
    return values


def schedulers_of(values: Mapping[str, Any]) -> int:
    """How many schedulers the values ask for, apart from the nodes that take calls."""
    return int((values.get("scheduler") or {}).get("replicas", 0))


#: What PyYAML lets out for a value that is not of its type, such as the date 2026-13-01; and no UTF-8.
_CONSTRUCTOR_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f": line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""


def read_values(files: Sequence[Path]) -> dict[str, Any]:
    """As helm's -f, given several times. Raises Misuse for a file that is not a YAML mapping."""
    merged: dict[str, Any] = {}
    for path in files:
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as err:
            raise Misuse(f"--values {path}: {err.strerror}; give a readable YAML file") from err
        except (yaml.YAMLError, *_CONSTRUCTOR_ERRORS) as err:
            # Without the library's text, here and in a traceback: it quotes the file, which may hold a password.
            raise Misuse(f"--values {path}: not YAML{_place(err)}") from None
        if not isinstance(found, dict | None):
            raise Misuse(f"--values {path}: holds a {type(found).__name__}; a values file is a mapping")
        merged = merge(merged, found or {})
    return merged
