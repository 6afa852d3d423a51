"""The compose files at the top level: read, and with their variables filled in as compose does it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import yaml
from rendering import REPOSITORY

FILES = sorted(path.name for path in REPOSITORY.glob("docker-compose*.yml"))
SMALL_CLUSTER, DEVELOPMENT, PRODUCTION = (
    "docker-compose.small-cluster.yml",
    "docker-compose.yml",
    "docker-compose.production.yml",
)
_VARIABLE = re.compile(r"\$\{(\w+)(?::-((?:[^{}]|\$\{[^{}]*\})*))?\}")


@functools.cache
def written(name: str) -> Any:
    """The file as it stands, anchors resolved."""
    return yaml.safe_load((REPOSITORY / name).read_text())


def filled(name: str, variables: Mapping[str, str]) -> Any:
    """With `variables` or the defaults put in; a variable with neither becomes empty."""
    return yaml.safe_load(_fill((REPOSITORY / name).read_text(), variables))


def _fill(text: str, variables: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: variables.get(found[1]) or _fill(found[2] or "", variables), text)


def variables_of(name: str) -> dict[str, set[str]]:
    """Each variable that the file uses, with the defaults that it gives it."""
    found: dict[str, set[str]] = {}
    for variable, default in _VARIABLE.findall((REPOSITORY / name).read_text()):
        found.setdefault(variable, set()).add(default)
    return found


def services(name: str) -> dict[str, Any]:
    found: dict[str, Any] = filled(name, {})["services"]
    return found


def engines(name: str) -> dict[str, Any]:
    """The services that run the engine."""
    return {
        each: service for each, service in services(name).items() if service["image"].startswith("windlass:")
    }


def published(name: str) -> Iterator[tuple[str, str, str]]:
    """For each port: its service, the address and the number on the machine."""
    for each, service in services(name).items():
        for port in service.get("ports", ()):
            if isinstance(port, dict):
                yield each, "", str(port["published"])
            else:
                address, number, _ = port.split(":")
                yield each, address, number


@functools.cache
def specification() -> Any:
    """The compose specification's own schema, which a linter brings along."""
    schemas = resources.files("check_jsonschema").joinpath("builtin_schemas", "vendor")
    return json.loads(schemas.joinpath("compose-spec.json").read_text())
