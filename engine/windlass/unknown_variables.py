"""Variables with the engine's prefixes that it does not know: misspelt, of another release, or made by Kubernetes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from windlass.variable import Variable

PREFIXES = ("WE_", "WINDLASS_")
#: What Kubernetes tells each container of the Services around it, unless enableServiceLinks is false.
_SERVICE_LINK = re.compile(
    r"\w+_SERVICE_HOST|\w+_SERVICE_PORT(_\w+)?|\w+_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")


@dataclass(frozen=True, slots=True)
class Unknown:
    name: str
    is_service_link: bool
    near: str
    """The variable that may have been meant, or empty."""

    @property
    def warning(self) -> str:
        return f"{self.name} is not a variable of this engine and is ignored{self._hint}"

    @property
    def problem(self) -> str:
        return (
            f"config: {self.name} is not a variable of this engine{self._hint}; "
            "correct or unset it, or unset WINDLASS_STRICT_SETTINGS"
        )

    @property
    def _hint(self) -> str:
        return f"; did you mean {self.near}?" if self.near else ""


def unknown(env: Mapping[str, str], variables: Iterable[Variable], *, polling: bool) -> Iterator[Unknown]:
    """In order of names. In polling mode nothing that names the broker is among them (contract 6.5)."""
    known = [name for variable in variables for name in (variable.name, variable.file_name) if name]
    shown = [name for name in known if not (polling and "KAFKA" in name)]
    for name in sorted(env):
        if name.startswith(PREFIXES) and name not in known and not (polling and "KAFKA" in name):
            near = difflib.get_close_matches(name, shown, n=1, cutoff=0.8)
            yield Unknown(name, _is_service_link(name, env[name]), near[0] if near else "")


def _is_service_link(name: str, value: str) -> bool:
    if name.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value):
        return True
    return _SERVICE_LINK.fullmatch(name) is not None
