"""The overlays in values/, with the -f files and --set values of the command in their heads, as helm reads them."""

import re
from pathlib import Path

import helm_python
import yaml
from rendering import REPOSITORY, Values, merged

OVERLAYS = sorted((REPOSITORY / "values").glob("*.yaml"))
BAD = sorted((REPOSITORY / "values" / "bad").glob("*.yaml"))


def read(path: Path) -> Values:
    loaded: Values = yaml.safe_load(path.read_text())
    return loaded


def command_of(path: Path) -> tuple[list[str], Values]:
    head = "".join(
        line.removeprefix("#") for line in path.read_text().splitlines(keepends=True) if line.startswith("#")
    )
    files = re.findall(r"-f (\S+)", head)
    pairs = [quoted or bare for quoted, bare in re.findall(r"--set (?:'([^']+)'|(\S+))", head)]
    return files, merged(*(helm_python.parse_set_string(pair) for pair in pairs))


def values_of_overlay(path: Path) -> Values:
    files, given = command_of(path)
    return merged(*(read(REPOSITORY / file) for file in files), given)
