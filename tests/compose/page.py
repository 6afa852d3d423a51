"""What a page or a compose file's head tells its reader to type, typed as it stands."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from project import ROOT, CommandFailed

COMMAND_WITHIN_S = 900


def blocks(page: str, heading: str) -> list[str]:
    """The blocks of shell in one section of a page, in its order."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert section is not None, heading
    return re.findall(r"```sh\n(.*?)```", section[1], re.DOTALL)


def commands(block: str) -> list[str]:
    """Its lines without comments; one that goes on is one command."""
    joined = block.replace("\\\n", " ")
    return [line for each in joined.splitlines() if (line := re.sub(r"(^| +)# .*", "", each).strip())]


def head(file: str) -> list[str]:
    """The commands in the first lines of a compose file."""
    lines = (ROOT / file).read_text().splitlines()
    indented = [line.removeprefix("#   ") for line in lines if line.startswith("#   ")]
    return commands("\n".join(indented))


@dataclass
class Shell:
    """One shell's variables: what a command exports, later ones have. `own` is what the reader puts in."""

    env: dict[str, str] = field(repr=False)
    own: Mapping[str, str]

    def type(self, *typed: str) -> str:
        """What the last one printed. Raises CommandFailed."""
        said = ""
        for command in typed:
            said = self._one(command)
        return said

    def type_all(self, block: str) -> Sequence[str]:
        return [self._one(command) for command in commands(block)]

    def _one(self, command: str) -> str:
        if exported := re.fullmatch(r"export (\w+)=(\S+)", command):
            self.env[exported[1]] = self.own.get(exported[2], exported[2])
            return ""
        meant = command
        for said, ours in self.own.items():
            meant = meant.replace(said, ours)
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", meant],
            cwd=ROOT, env=self.env, capture_output=True, text=True, check=False, timeout=COMMAND_WITHIN_S,
        )  # fmt: skip
        if ran.returncode:
            raise CommandFailed(f"{command}\n{ran.stdout}\n{ran.stderr}")
        return ran.stdout
