"""Rules of this repository that no linter knows (TigerBeetle's tidy). Rules that nothing checks are not kept."""

from __future__ import annotations

import ast
import re
import runpy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest
from folders import FOLDERS

from seatrial.check import CHECKS
from seatrial.drill import Drill
from seatrial.drills import CATALOGUE

ROOT = Path(__file__).parents[2]
UNREAD = frozenset({"__pycache__", "node_modules", "build", "dist", "secrets"})
TEXT_SUFFIXES = frozenset(
    {
        "",
        ".cfg",
        ".css",
        ".go",
        ".json",
        ".js",
        ".md",
        ".py",
        ".sql",
        ".toml",
        ".tpl",
        ".txt",
        ".yaml",
        ".yml",
    }
)

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 80
LONG_FUNCTIONS: Mapping[str, str] = {}
"""`path:name` of a function that is better whole, and why."""

MAY_PRINT = ("seatrial/cli.py", "seatrial/report/terminal.py", "/__main__.py")
VAGUE_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|managers?|misc|stuff)(_|$)")
CLOCKS = frozenset(
    {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
)
DATABASE_FUNCTIONS = frozenset({"json_array", "sql", "text_array", "translate"})
DATABASE_METHODS = frozenset({"connection", "fetch", "fetchrow", "fetchval", "session", "transaction"})
STATEMENT = re.compile(
    r"\b(SELECT|INSERT INTO|DELETE FROM|UPDATE \w+ (AS \w+ )?SET|FOR UPDATE|TRUNCATE|(CREATE|ALTER|DROP) (TABLE|INDEX)"
    r"|LISTEN|NOTIFY|BEGIN|COMMIT|ROLLBACK|pg_\w+\()"
)
ONE_MACHINE = re.compile(r"(?<![\w.:-])/(root|work|home/\w+|Users/\w+)/")
BOUND_S_MAX = 240.0

Rule = Callable[[str, str], Iterator[str]]
"""(path from the root, text) -> what is wrong, a line each."""


# -- rules of one file


def is_short(path: str, text: str) -> Iterator[str]:
    lines = text.count("\n")
    if path.endswith((".py", ".sql", ".go", ".js", ".css")) and lines > FILE_LINES_MAX:
        yield f"{path}: {lines} lines, {FILE_LINES_MAX} at most; give a noun of it a file of its own"


def has_short_functions(path: str, text: str) -> Iterator[str]:
    for node in _walk(path, text):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES_MAX and f"{path}:{node.name}" not in LONG_FUNCTIONS:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines, {FUNCTION_LINES_MAX} at most"


def does_not_print(path: str, text: str) -> Iterator[str]:
    if path.startswith(("client/", "engine/", "harness/")) and not path.endswith(MAY_PRINT):
        for node in _walk(path, text):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                yield f"{path}:{node.lineno}: print; engine and client log, the harness reports"


def names_what_it_ignores(path: str, text: str) -> Iterator[str]:
    if path.endswith(".py"):
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(r"#\s*(type: ignore(?!\[)|noqa(?!:))", line):
                yield f"{path}:{number}: an ignore without its code"


def leaves_the_clock_to_the_database(path: str, text: str) -> Iterator[str]:
    if path.startswith("engine/windlass/store/") or path == "engine/windlass/advance.py":
        for node in _walk(path, text):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in CLOCKS:
                yield f"{path}:{node.lineno}: {ast.unparse(node)}; only the database's clock judges (contract 9)"


def leaves_the_database_to_the_store(path: str, text: str) -> Iterator[str]:
    """The driver, its errors, its connections and SQL have one place; an import contract names its closed modules."""
    if not path.startswith("engine/windlass/") or path.startswith("engine/windlass/store/"):
        return
    prose = {
        id(node.value)
        for node in _walk(path, text)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in _walk(path, text):
        found = None
        match node:
            case ast.Import(names=names) if any(name.name.split(".")[0] == "asyncpg" for name in names):
                found = "asyncpg"
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "asyncpg":
                found = "asyncpg"
            # Of a module, if it has a dot: bytes have a `translate` of their own.
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(value=ast.Name(), attr=name)) if (
                name in DATABASE_FUNCTIONS
            ):
                found = f"{name}()"
            case ast.Call(func=ast.Attribute(attr=name)) if name in DATABASE_METHODS:
                found = f".{name}()"
            case ast.Constant(value=str(value)) if id(node) not in prose and (
                word := STATEMENT.search(value)
            ):
                found = word[0]
        if found is not None and isinstance(node, ast.stmt | ast.expr):
            yield f"{path}:{node.lineno}: {found} outside the store; give it a typed method in engine/windlass/store"


def leaves_the_environment_to_config(path: str, text: str) -> Iterator[str]:
    """The command hands the environment to config.py and reads nothing in it. Tracing hides from its libraries what
    they would read.
    """
    allowed = {"engine/windlass/config.py", "engine/windlass/telemetry/tracing/export.py"}
    if not path.startswith("engine/") or path in allowed:
        return
    handed_on = {
        id(argument)
        for node in _walk(path, text)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("settings_from_env")
        for argument in node.args
    }
    for node in _walk(path, text):
        if (
            isinstance(node, ast.Attribute)
            and ast.unparse(node) in {"os.environ", "os.getenv", "os.environb"}
            and id(node) not in handed_on
        ):
            yield f"{path}:{node.lineno}: reads the environment; declare the variable in config.py"


def has_a_plain_name(path: str, text: str) -> Iterator[str]:
    name = path.rpartition("/")[2]
    if path.endswith(".py") and VAGUE_NAMES.search(name.removesuffix(".py")):
        yield f"{path}: the name says nothing; a file is named by its noun"


def puts_nothing_off(path: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(r"\b(TO" r"DO|FIX" r"ME|HA" r"CK|XX" r"X)\b", line):
            yield f"{path}:{number}: something was put off; do it, or write an issue"


def belongs_to_no_machine(path: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if found := ONE_MACHINE.search(line):
            yield f"{path}:{number}: {found[0]} is a folder of one machine"


def has_no_addresses(path: str, text: str) -> Iterator[str]:
    if path.endswith(".lock"):
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(r"https?:|--(extra-)?index-url|--find-links| @ ", line):
                yield f"{path}:{number}: an address; the lock names versions and hashes only"


RULES: Mapping[Rule, tuple[str, str]] = {
    is_short: ("engine/windlass/long.py", "x = 1\n" * (FILE_LINES_MAX + 1)),
    has_short_functions: ("harness/seatrial/f.py", "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX),
    does_not_print: ("harness/seatrial/scenario/context.py", "print(1)\n"),
    names_what_it_ignores: ("tests/unit/test_x.py", "x = 1  # TYPE: IGNORE\n".lower()),
    leaves_the_clock_to_the_database: ("engine/windlass/store/lanes.py", "now = datetime.now(UTC)\n"),
    leaves_the_database_to_the_store: ("engine/windlass/sweep/leases.py", "import asyncpg\n"),
    leaves_the_environment_to_config: ("engine/windlass/app.py", "home = os.environ['HOME']\n"),
    has_a_plain_name: ("harness/seatrial/http_utils.py", ""),
    puts_nothing_off: ("README.md", "todo: later\n".upper()),
    belongs_to_no_machine: ("scripts/test", "CD /ROOT/WINDLASS\n".lower()),
    has_no_addresses: ("requirements.lock", "--index-url https://mirror.example/simple\n"),
}
"""Each rule with a file that breaks it."""


@cache
def files() -> Mapping[str, str]:
    """Every text file of the repository, by its path from the root; `.git` is a file in a worktree."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    found += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts = {}
    for path in sorted(found):
        inside = path.relative_to(ROOT)
        known = path.suffix in TEXT_SUFFIXES or path.suffix == ".lock"
        if (
            known
            and not UNREAD & set(inside.parts)
            and not any(part.endswith(".egg-info") for part in inside.parts)
        ):
            texts[inside.as_posix()] = path.read_text(encoding="utf-8")
    return texts


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file(rule: Rule) -> None:
    assert [fault for path, text in files().items() for fault in rule(path, text)] == []


def test_modules_of_tests_have_names_of_their_own() -> None:
    """Folders of tests are no packages, so in one run pytest takes only one module of a name."""
    names = Counter(Path(path).name for path in files() if re.fullmatch(r"tests/(.*/)?test_\w+\.py", path))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_bites(rule: Rule) -> None:
    assert len(list(rule(*RULES[rule]))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "from asyncpg.exceptions import DataError",
        "text = sql('job_claim')",
        "text = queries.sql('job_claim')",
        "raise translate(err) from err",
        "ids = json_array(names)",
        "ids = arrays.text_array(names)",
        "rows = await database.fetch(text)",
        "row = await connection.fetchrow(text)",
        "async with database.connection() as connection: pass",
        "async with database.transaction() as connection: pass",
        "session = await database.session('wake')",
        "text = 'SELECT 1'",
        "text = f'DELETE FROM {table}'",
        "text = 'UPDATE job AS j SET status = $1'",
        "await connection.execute('BEGIN')",
        "text = 'LISTEN windlass_jobs'",
    ],
)
def test_the_database_is_kept_in_the_store(code: str) -> None:
    function = f"async def f():\n    {code}\n"
    assert len(list(leaves_the_database_to_the_store("engine/windlass/dispatch/relay.py", function))) == 1
    assert not list(leaves_the_database_to_the_store("engine/windlass/store/outbox.py", function))


def test_prose_may_speak_of_the_database() -> None:
    text = '"""Wakes by LISTEN and NOTIFY; asks with SELECT."""\n\nLIMIT = 1\n"""Rows of one COMMIT."""\n'
    assert not list(leaves_the_database_to_the_store("engine/windlass/dispatch/wake.py", text))


def test_the_files_are_looked_at() -> None:
    for known in (
        "README.md",
        "requirements.lock",
        "scripts/drill",
        "engine/windlass/store/sql/job.sql",
        ".ci/run",
    ):
        assert known in files()


def test_the_exceptions_are_still_needed() -> None:
    known = {
        f"{path}:{node.name}"
        for path, text in files().items()
        for node in _walk(path, text)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    }
    assert set(LONG_FUNCTIONS) <= known
    assert all(len(reason) > 20 for reason in LONG_FUNCTIONS.values())


# -- drills, checks and mutants


def drills_at_fault(drills: Sequence[Drill]) -> Iterator[str]:
    for drill in drills:
        if not drill.promise.strip().endswith(".") or len(drill.promise) < 20:
            yield f"{drill.id}: its promise is no sentence: {drill.promise!r}"
        if not drill.checks:
            yield f"{drill.id}: nothing judges it"
        if unknown := [check for check in drill.checks if check not in CHECKS]:
            yield f"{drill.id}: no such checks: {', '.join(unknown)}"
        if len(set(drill.checks)) < len(drill.checks):
            yield f"{drill.id}: names a check twice"
        if not 0 < drill.bound_s <= BOUND_S_MAX:
            yield f"{drill.id}: a bound of {drill.bound_s:g} s; at most {BOUND_S_MAX:g}"
        if "RT" in drill.checks and "recovery_bound_s" not in drill.parameters:
            yield f"{drill.id}: RT judges it and it has no recovery_bound_s"


def test_every_drill_has_a_bound_a_promise_and_checks() -> None:
    assert list(drills_at_fault(list(CATALOGUE.values()))) == []


def test_a_bare_drill_would_be_seen() -> None:
    async def nothing(_context: object) -> None: ...

    bare = Drill(id="Z", title="", promise="", checks=(), scenario=nothing, bound_s=0)
    assert len(list(drills_at_fault([bare]))) == 3


def test_every_drill_has_a_file_of_its_own_and_is_in_the_catalogue() -> None:
    """Variants of one story (another mode, another length) share its file."""
    in_files = {
        path.stem for path in (ROOT / "harness/seatrial/drills").glob("*.py") if path.stem != "__init__"
    }
    assert {drill.scenario.__module__.rpartition(".")[2] for drill in CATALOGUE.values()} == in_files


def test_every_drill_says_its_bound() -> None:
    """The default of `Drill` is for people's first drill; one of ours was measured."""
    assert [
        path
        for path, text in files().items()
        if path.startswith("harness/seatrial/drills/")
        and not path.endswith("__init__.py")
        and "bound_s=" not in text
    ] == []


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_has_good_and_bad_histories_and_an_oracle(check: str) -> None:
    """In the test file that is named after its module."""
    noun = CHECKS[check].__module__.rpartition(".")[2]
    path = f"tests/unit/harness/check/test_check_{noun}.py"
    text = files().get(path, "")
    for wanted in ("Outcome.PASS", "Outcome.FAIL", "@given("):
        assert wanted in text, f"{path}: the check {check} has no {wanted} in its tests"


def test_every_check_that_judges_a_drill_catches_a_mutant() -> None:
    """`scripts/mutants` shows that it does; here, that one is there to be caught."""
    mutants = [
        *runpy.run_path(str(ROOT / "tests/mutants/catalogue.py"))["MUTANTS"],
        *runpy.run_path(str(ROOT / "tests/mutants/chart_catalogue.py"))["CHART_MUTANTS"],
        *runpy.run_path(str(ROOT / "tests/mutants/compose_catalogue.py"))["COMPOSE_MUTANTS"],
    ]
    relied_on = dict.fromkeys(check for drill in CATALOGUE.values() for check in drill.checks)
    caught_by = {check for mutant in mutants for check in mutant.caught_by}
    assert [check for check in relied_on if check not in caught_by] == []


def test_every_mutant_is_in_the_catalogue_with_its_drill() -> None:
    mutants = runpy.run_path(str(ROOT / "tests/mutants/catalogue.py"))["MUTANTS"]
    apart = {"catalogue", "chart_catalogue", "compose_catalogue", "mutation", "run"}
    in_files = {path.stem for path in (ROOT / "tests/mutants").glob("*.py")} - apart
    assert in_files == {mutant.name for mutant in mutants}
    for mutant in mutants:
        assert set(mutant.caught_by) <= set(CATALOGUE[mutant.drill].checks), mutant.name


def test_every_chart_mutant_changes_the_chart_and_has_a_drill() -> None:
    for mutant in runpy.run_path(str(ROOT / "tests/mutants/chart_catalogue.py"))["CHART_MUTANTS"]:
        text = files()[f"charts/windlass/templates/{mutant.template}"]
        assert text.count(mutant.old) == 1, f"{mutant.name}: {mutant.template} does not hold what it changes"
        assert set(mutant.caught_by) <= set(CATALOGUE[mutant.drill].checks), mutant.name


def test_every_compose_mutant_changes_its_file_and_has_a_drill() -> None:
    for mutant in runpy.run_path(str(ROOT / "tests/mutants/compose_catalogue.py"))["COMPOSE_MUTANTS"]:
        text = (ROOT / "compose" / mutant.file).read_text(encoding="utf-8")
        assert text.count(mutant.old) == 1, f"{mutant.name}: {mutant.file} does not hold what it changes"
        assert set(mutant.caught_by) <= set(CATALOGUE[mutant.drill].checks), mutant.name


def _walk(path: str, text: str) -> Iterator[ast.AST]:
    return ast.walk(_parsed(text)) if path.endswith(".py") else iter(())


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)
