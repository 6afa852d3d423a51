"""One environment variable: how it is declared, and how its text becomes a value or a named problem."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from windlass import secret_files

Kind = Literal["string", "integer", "seconds", "days", "ratio", "boolean"]

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INTEGER = re.compile(r"[+-]?[0-9]+")
#: What PyYAML lets out for a value that is not of its type, such as the date 2026-13-01, or nested too deeply.
_CONSTRUCTOR_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
#: No limit of ours has more digits; this also keeps int() below Python's own limit of digits.
_INTEGER_DIGITS_MAX = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """As an operator sees it. `yaml_key` is a dotted path; None = environment only."""

    name: str
    yaml_key: str | None
    kind: Kind
    description: str
    default: str | int | float | bool | None
    required_when: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False

    @property
    def file_name(self) -> str:
        """The variable that names a file with the value instead; empty unless the value is a secret."""
        return f"{self.name}_FILE" if self.secret else ""

    @property
    def default_text(self) -> str:
        """As it is written in the environment; empty when there is none."""
        return "" if self.default is None else as_text(self.default)

    @property
    def limits(self) -> str:
        """The allowed values in words; empty if every value is allowed."""
        if self.choices:
            return ", ".join(self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f"{as_text(self.minimum)}..{as_text(self.maximum)}"
        if self.minimum is not None:
            return f">= {as_text(self.minimum)}"
        return ""


def declare(
    name: str,
    description: str,
    *,
    default: str | float | bool | Callable[[], str | int] | None = None,
    yaml: str | None = None,
    kind: Kind | None = None,
    **rest: Any,
) -> Any:
    """Make a dataclass field that knows its variable. A callable default is called once, at import."""
    value = default() if callable(default) else default
    kinds: dict[type, Kind] = {bool: "boolean", int: "integer", float: "seconds"}
    variable = Variable(
        name=name,
        yaml_key=yaml,
        kind=kind or kinds.get(type(value), "string"),
        description=description,
        default=value,
        **rest,
    )
    metadata = {"variable": variable}
    if variable.required_when is not None:
        return dataclasses.field(metadata=metadata, repr=not variable.secret)
    return dataclasses.field(default=value, metadata=metadata, repr=not variable.secret)


def declared_by(settings: type[Any]) -> dict[str, Variable]:
    """By field, the variables of a dataclass of settings."""
    return {
        field.name: field.metadata["variable"]
        for field in dataclasses.fields(settings)
        if "variable" in field.metadata
    }


class Reader:
    """Reads and checks variables, and collects what is wrong instead of stopping."""

    def __init__(self, env: Mapping[str, str], yaml_path: Path) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.files: dict[str, str] = {}
        """By variable, the file that its value was read from."""
        self.unusable: set[str] = set()
        """Variables whose file cannot be used; that problem is told already."""
        self._env = env
        self._yaml_path = yaml_path
        self._yaml = _flat(self._load(yaml_path))

    def unknown_yaml_keys(self, known: Iterable[Variable], silent_below: str | None) -> Iterator[str]:
        """One sentence for each key of the file that is not used."""
        keys = {variable.yaml_key for variable in known}
        for key in self._yaml:
            if key not in keys and not (silent_below and key.startswith(silent_below)):
                yield f"{self._yaml_path}: {key} is not a setting of this engine and is ignored"

    def _load(self, path: Path) -> Mapping[Any, Any]:
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except OSError as error:
            self.problems.append(f"config: cannot read {path}: {error.strerror}; fix or remove the file")
            return {}
        except UnicodeDecodeError as error:
            self.problems.append(
                f"config: cannot read {path}: byte {error.start + 1} is not UTF-8; fix or remove the file"
            )
            return {}
        import yaml

        try:
            loaded = yaml.safe_load(text)
        except (yaml.YAMLError, *_CONSTRUCTOR_ERRORS) as error:
            where = _place(error)
            self.problems.append(f"config: {path} is not readable YAML{where}; fix or remove the file")
            return {}
        if loaded is None:
            return {}
        if not isinstance(loaded, dict):
            self.problems.append(
                f"config: {path} must hold a mapping, not a {type(loaded).__name__}; fix or remove the file"
            )
            return {}
        return loaded

    def problem(self, variable: Variable, fault: str, remedy: str) -> None:
        self.problems.append(f"config: {variable.name} {fault}; {remedy}")

    def find(self, variable: Variable) -> object:
        """Return the value as written, None if it is not set."""
        text = self._env.get(variable.name, "")
        path = self._env.get(variable.file_name, "")
        if text and path:
            self.problem(variable, f"and {variable.file_name} are both set", "unset one of the two")
        if text:
            return text
        if path:
            return self._content(variable, path)
        value = self._yaml.get(variable.yaml_key) if variable.yaml_key else None
        return None if value == "" else value

    def _content(self, variable: Variable, path: str) -> str | None:
        try:
            text = secret_files.content(path)
        except secret_files.Unusable as error:
            self.problems.append(f"config: {variable.file_name} {error}")
            self.unusable.add(variable.name)
            return None
        self.files[variable.name] = path
        return text

    def read(self, variable: Variable) -> Any:
        """Return the typed value; the default if it is unset or wrong (the latter is recorded as a problem)."""
        found = self.find(variable)
        if found is None:
            if variable.name in self.unusable:
                return variable.default
            if variable.required_when == "always":
                names = " or ".join(filter(None, (variable.file_name, variable.yaml_key)))
                self.problem(
                    variable,
                    "is required (not set and not in yaml)",
                    f"set it, or {names} in {self._yaml_path}",
                )
            elif variable.required_when is not None:
                self.problem(variable, f"is required when {variable.required_when}", "set it")
            return variable.default
        if variable.kind == "boolean":
            return self._boolean(variable, found)
        if variable.kind != "string":
            return self._number(variable, found)
        return self._string(variable, found)

    def _string(self, variable: Variable, found: object) -> Any:
        if isinstance(found, list) and all(isinstance(item, str) for item in found):
            found = ",".join(found)
        if not isinstance(found, str):
            self.problem(variable, f"must be text, got {type(found).__name__}", "put it in quotes")
            return variable.default
        if not variable.choices or found in variable.choices:
            return found
        if variable.name == "WE_LOG_LEVEL":
            if found.lower() in variable.choices:
                return found.lower()
            self.warnings.append(f"WE_LOG_LEVEL {found!r} is unknown and counts as info ({variable.limits})")
        elif variable.name == "WE_KAFKA_SASL_MECHANISM":
            self.problem(
                variable, f"must be {' or '.join(variable.choices)}, got {found!r}", "set one of the two"
            )
        else:
            want = "|".join(variable.choices)
            self.problem(variable, f"unknown {found!r} (want {want})", "set one of these")
        return variable.default

    def _boolean(self, variable: Variable, found: object) -> bool | None:
        if isinstance(found, bool):
            return found
        if str(found) in _TRUE:
            return True
        if str(found) in _FALSE:
            return False
        self.problem(variable, f"must be true/false, got {str(found)!r}", "set true or false")
        return bool(variable.default)

    def _number(self, variable: Variable, found: object) -> Any:
        remedy = f"set {variable.limits} or unset it for the default {variable.default_text}"
        number: int | float | None
        if variable.kind == "integer":
            number = integer_of(found)
            if number is None:
                self.problem(variable, f"must be an integer, got {_shown(found)}", remedy)
                return variable.default
        else:
            number = _real(found)
            if number is None:
                of = "" if variable.kind == "ratio" else f" of {variable.kind}"
                self.problem(variable, f"must be a number{of}, got {_shown(found)}", remedy)
                return variable.default
        if variable.minimum is not None and number < variable.minimum:
            self.problem(variable, f"must be >= {as_text(variable.minimum)}, got {_shown(found)}", remedy)
        elif variable.maximum is not None and number > variable.maximum:
            self.problem(variable, f"must be <= {as_text(variable.maximum)}, got {_shown(found)}", remedy)
        else:
            return number
        return variable.default


def _place(error: Exception) -> str:
    """Where the file is wrong. What the library says is not told: it quotes the file, which may hold a password."""
    mark = getattr(error, "problem_mark", None)
    return f": line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""


def _flat(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat.update(_flat(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def integer_of(found: object) -> int | None:
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    if isinstance(found, str) and _INTEGER.fullmatch(found) and len(found) <= _INTEGER_DIGITS_MAX:
        return int(found)
    return None


def _real(found: object) -> float | None:
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    try:
        number = float(found)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _shown(found: object) -> str:
    return repr(found if len(str(found)) <= 80 else str(found)[:80] + "...")


def as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
