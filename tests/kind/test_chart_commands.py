"""The commands of the chart's README and of its NOTES, typed as they stand."""

from __future__ import annotations

import re

import pytest
from typed_shell import FORWARD, Shell, blocks, of_notes

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_readme_and_notes_lead_from_nothing_to_an_upgrade(shell: Shell) -> None:
    told = shell.type(blocks("Install"))
    assert "successfully rolled out" in told
    assert re.search(r"^Phase: +Succeeded", told, re.MULTILINE)
    shell.type(blocks("Upgrades"))
    assert "2" in shell.type("helm history windlass --max 1 --output yaml | grep revision")

    commands = of_notes(shell.type("helm get notes windlass"))
    assert {command.split()[0] for command in commands} == {"kubectl", "helm", "curl"}
    answers = shell.type_each(commands)
    assert len(answers) == sum(not FORWARD.search(command) for command in commands) >= 5
    assert all(answers)
