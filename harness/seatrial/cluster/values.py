"""Chart values: laid over one another, and those that set engine variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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


def engine_variables(**variables: float | str) -> dict[str, Any]:
    """Chart values that set engine variables: `engine_variables(WINDLASS_LEASE_SWEEP_SECONDS=1)`."""
    return {"extraEnv": [{"name": name, "value": str(value)} for name, value in variables.items()]}
