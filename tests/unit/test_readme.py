"""The pages say what is there: commands, paths, examples, and the tables that are made from the code."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from readme_tables import BLOCKS, COMMAND, COMPUTED_DEFAULTS, ENFORCED_IN, Block

from seatrial import cli
from seatrial.check import CHECKS
from seatrial.drill import Drill, draw
from seatrial.drills import select
from windlass.__main__ import USAGE

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "client/README.md",
    "engine/README.md",
    "harness/README.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
    "docs/client.md",
    "docs/rest.md",
    "docs/conformance.md",
    "docs/glossary.md",
    "docs/track-record.md",
    "docs/size-and-care.md",
    "docs/secrets.md",
    "docs/tls.md",
    "docs/tokens.md",
    "docs/tracing.md",
    "docs/ways-in.md",
)
WORKFLOWS = (".github/workflows/check.yml", ".github/workflows/drill.yml")
PICTURE = ".github/drill-report.png"
PICTURE_BYTES_MAX = 400_000
SHELL_WORDS = frozenset(
    {"cat", "curl", "echo", "export", "git", "head", "openssl", "pip", "pytest", "python"}
    | {"read", "rm", "source", "sudo", "tail", "umask", "uv"}
)
#: which source names the options of a script that is no `seatrial`
OPTIONS_IN = {
    "scripts/test": "scripts/test",
    "scripts/image": "scripts/image",
    "scripts/bench": "tests/benchmarks/bench.py",
    "scripts/soak": "tests/benchmarks/soak.py",
    "scripts/conformance": "tests/conformance/suite/__main__.py",
    "scripts/chart-mutants": "tests/chart/mutate.py",
    "scripts/mutants": "tests/mutants/run.py",
    "scripts/fuzz": "tests/fuzz/fuzz.py",
    "scripts/publish": "scripts/release/publish.py",
    "scripts/smoke-small-cluster.sh": "scripts/smoke-small-cluster.sh",
}


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


# -- what is made from the code


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.readme}#{block.name}")
def test_what_is_made_from_the_code_is_up_to_date(block: Block) -> None:
    text = text_of(block.readme)
    assert block.written(text) == text, f"run: {COMMAND}"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.readme}#{block.name}")
def test_a_stale_one_would_be_seen(block: Block) -> None:
    text = text_of(block.readme)
    stale = text.replace(block.begin, f"{block.begin}| an old row |\n")
    assert block.written(stale) == text != stale


def test_the_table_says_of_every_check_where_its_guarantee_is_enforced() -> None:
    assert set(ENFORCED_IN) == set(CHECKS)
    for check, names in ENFORCED_IN.items():
        assert names, check
        for name in names:
            assert (ROOT / "engine/windlass" / name).is_file(), f"{check}: {name}"


def test_no_default_in_the_table_is_this_machine_s() -> None:
    """A default that is computed is given in words."""
    tree = ast.parse(text_of("engine/windlass/config.py"))
    computed = {
        ast.literal_eval(call.args[0])
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "declare"
        for keyword in call.keywords
        if keyword.arg == "default"
        and isinstance(keyword.value, ast.Name | ast.Attribute | ast.Call | ast.Lambda)
    }
    assert computed == set(COMPUTED_DEFAULTS)


# -- commands


def commands(page: str) -> Iterator[list[str]]:
    """Every line of a `sh` block, and every inline code, that begins with a word of ours."""
    text = text_of(page)
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in _joined(block):
            yield from _of_line(line)
    for quoted in re.findall(r"(?<!`)`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.match(r"(scripts/\w|seatrial \w|windlass \w)", quoted) and "(" not in quoted:
            yield shlex.split(quoted)


def _joined(block: str) -> Sequence[str]:
    """Lines, with those that a quotation or a backslash holds together made one."""
    lines: list[str] = []
    for line in block.splitlines():
        if lines and lines[-1].endswith("\\"):
            lines[-1] = lines[-1].removesuffix("\\") + line
        elif lines and lines[-1].count("'") % 2:
            lines[-1] += f"\n{line}"
        else:
            lines.append(line)
    return lines


def _of_line(line: str) -> Iterator[list[str]]:
    """The command of a line and those it substitutes."""
    for inner in re.findall(r"\$\(([^()]*)", line):
        yield from _of_line(inner)
    words = shlex.split(re.sub(r"\$\([^()]*\)|[<>|].*", "", line), comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    if words:
        yield words


def fault_of(words: Sequence[str]) -> str | None:
    """What is wrong with a command that a page tells people to type."""
    name, *arguments = words
    if name == "seatrial":
        return _fault_of_seatrial(arguments)
    if name == "windlass":
        known = re.findall(r"^  (\w[\w-]*)  ", USAGE, re.MULTILINE)
        return None if not arguments or arguments[0] in {*known, "--help"} else f"no command {arguments[0]}"
    if name.startswith("scripts/"):
        if not os.access(ROOT / name, os.X_OK):
            return f"{name} is no program"
        if name == "scripts/drill":
            return _fault_of_seatrial(["run", *arguments])
        source = text_of(OPTIONS_IN[name]) if name in OPTIONS_IN else ""
        strange = [word for word in arguments if word.startswith("-") and word not in source]
        return f"{name} knows no {' '.join(strange)}" if strange else None
    return None if name in SHELL_WORDS else f"nobody said that {name} is needed"


def _fault_of_seatrial(arguments: Sequence[str]) -> str | None:
    known: Mapping[str, Any] = vars(typer.main.get_command(cli.app))["commands"]
    command = known.get(arguments[0])
    if command is None:
        return f"seatrial has no {arguments[0]}"
    options = {option for parameter in command.params for option in parameter.opts}
    rest = iter(arguments[1:])
    for word in rest:
        if word in {"--help", "-h"}:
            continue
        if word.startswith("-"):
            if word not in options:
                return f"seatrial {arguments[0]} knows no {word}"
            parameter = next(each for each in command.params if word in each.opts)
            if not parameter.is_flag:
                next(rest, None)
        elif arguments[0] == "run" and word not in {"DRILL", "E1"}:
            select([word])
    return None


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_there(page: str) -> None:
    for words in commands(page):
        assert fault_of(words) is None, f"{page}: {shlex.join(words)}"


def test_commands_are_seen_and_wrong_ones_too() -> None:
    seen = [shlex.join(words) for page in PAGES for words in commands(page)]
    for wanted in (
        "scripts/drill",
        "scripts/test",
        "seatrial up",
        "seatrial run L5 --seed 7 --report out",
        "windlass --help",
    ):
        assert wanted in seen
    for wrong in (
        "seatrial runs",
        "scripts/nothing",
        "seatrial run --sed 7",
        "windlass server",
        "scripts/bench --fast",
        "make",
    ):
        assert fault_of(shlex.split(wrong)), wrong


def test_every_script_is_in_the_readme() -> None:
    named = set(re.findall(r"^\| `(scripts/[\w.-]+)`", text_of("README.md"), re.MULTILINE))
    assert named == {f"scripts/{path.name}" for path in (ROOT / "scripts").iterdir() if path.is_file()}


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_the_workflows_run_the_scripts(workflow: str) -> None:
    jobs: dict[str, Any] = yaml.safe_load(text_of(workflow))["jobs"]
    ours = [
        words
        for job in jobs.values()
        for step in job["steps"]
        for line in str(step.get("run", "")).splitlines()
        for words in _of_line(re.sub(r"\$\{\{.*?\}\}", "1", line))
    ]
    assert any(words[0].startswith("scripts/") for words in ours)
    for words in ours:
        assert fault_of(words) is None, f"{workflow}: {shlex.join(words)}"
    assert all("timeout-minutes" in job for job in jobs.values())


# -- the map, the picture, the examples


def test_the_map_names_what_is_there() -> None:
    block = re.search(r"## The map\n.*?```text\n(.*?)```", text_of("README.md"), re.DOTALL)
    assert block is not None
    named = [line.split()[0] for line in block[1].splitlines()]
    for path in named:
        assert (ROOT / path).exists(), path
        assert (ROOT / path).is_dir() == path.endswith("/"), path
    for folder in ("engine/windlass", "harness/seatrial", "tests"):
        inside = [
            path.name for path in (ROOT / folder).iterdir() if any(path.glob("**/*.py")) and path.is_dir()
        ]
        missing = [name for name in inside if name != "__pycache__" and f"{folder}/{name}/" not in named]
        assert missing == [], folder


def test_the_picture_is_there_and_small() -> None:
    picture = ROOT / PICTURE
    assert picture.read_bytes().startswith(b"\x89PNG\r\n")
    assert picture.stat().st_size < PICTURE_BYTES_MAX


def test_the_changelog_is_kept() -> None:
    text = text_of("CHANGELOG.md")
    assert text.startswith("# Changelog\n")
    assert "## [Unreleased]\n" in text
    sections = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    assert sections
    assert set(sections) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_example_drill_is_whole(tmp_path: Path) -> None:
    """`tests/acceptance/test_walkthrough.py` runs it; here, that it type-checks and draws the same twice."""
    block = re.search(r"```python\n(.*?)```", text_of("harness/README.md"), re.DOTALL)
    assert block is not None
    path = tmp_path / "sessions_ended.py"
    path.write_text(block[1])
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(path)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    drill = runpy.run_path(str(path))["DRILL"]
    assert isinstance(drill, Drill)
    assert draw(drill, 7).hash == draw(drill, 7).hash != draw(drill, 8).hash
    assert set(drill.checks) <= set(CHECKS)


def test_the_worked_failure_quotes_what_the_check_says() -> None:
    page = text_of("harness/README.md")
    quoted = re.search(r"FN fail  (.*?)\n", page)
    assert quoted is not None
    assert quoted[1] == sys.modules[CHECKS["FN"].__module__].GUARANTEE
    words = re.search(r"took effect after (token) 2 (had superseded its lease)", page)
    assert words is not None
    assert all(word in text_of("harness/seatrial/check/fencing.py") for word in words.groups())


def test_nobody_is_told_to_wait_for_a_figure_that_no_command_prints() -> None:
    """Rates and costs belong to `scripts/bench`: a number of ours with such a unit would age unseen."""
    for page in PAGES:
        prose = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
        assert not re.findall(r"\d[\d,.]* ?(?:jobs/s|tx/s|req/s|ops/s|rps|MB/s)", prose), page
