"""The README's table of databases: what it says was tried is a command that is there, what it says to set is a key."""

import re
from collections.abc import Iterator

import pytest
import yaml
from rendering import CHART, DATABASE, REPOSITORY, merged, refusal_of
from values_schema import leaves, schema

from seatrial.cluster.servers import SERVERS
from seatrial.drills import CATALOGUE
from windlass.dsn import MalformedDsn, database_url

README = (CHART / "README.md").read_text()
KEYS = {".".join(path[:end]) for path, _ in leaves(schema()) for end in range(1, len(path) + 1)}
DOCUMENTED = re.compile(r"\[[^]]+\]\(https://[a-z][^)\s]+\)")


def rows(page: str = README) -> dict[str, list[str]]:
    """By their first cells, the other three."""
    table = page.split("\n## Databases\n")[1].split("\n## ", maxsplit=1)[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line[:1] == "|"
    ]
    return {first: rest for first, *rest in cells[2:]}


def faults(first: str, cells: list[str]) -> Iterator[str]:
    """What a row says that is not so."""
    if len(cells) != 3:
        yield f"{first}: {len(cells) + 1} cells"
        return
    text, known = " ".join(cells[:2]), cells[2]
    tried, _, read = known.partition("read:") if "read:" in known else (known, "", "")
    commands = re.findall(r"`([^`]+)`", tried)
    if not commands and not DOCUMENTED.search(read):
        yield f"{first}: neither a command nor a public page"
    if bool(commands) != known.startswith(("tried:", "tried, all hosts:")):
        yield f"{first}: commands without the word tried, or the word without them"
    for command in commands:
        yield from _command_faults(command)
    for key in re.findall(r"`((?:postgresql|migrations|engine|networkPolicy)\.[\w.]+|extra\w+)`", text):
        if key not in KEYS:
            yield f"{first}: {key} is no key"
    for without, parameter in re.findall(r"(without )?`(\w+=[\w-]+)`", text):
        if _is_taken(parameter) == bool(without):
            yield f"{first}: the engine {'takes' if without else 'refuses'} {parameter}"


def _command_faults(command: str) -> Iterator[str]:
    program, *words = command.split()
    if not (REPOSITORY / program).is_file():
        yield f"{command}: there is no {program}"
    elif program == "scripts/test" and words[:1] == ["--postgres"]:
        yield from (
            f"{command}: there is no version {word}"
            for word in words[1:]
            if word not in {"all", *map(str, SERVERS)}
        )
    elif program == "scripts/test":
        yield from (
            f"{command}: there is no {word}" for word in words or [""] if not (REPOSITORY / word).is_file()
        )
    elif program == "scripts/bench":
        options = (REPOSITORY / "tests" / "benchmarks" / "bench.py").read_text()
        yield from (f"{command}: there is no {word}" for word in words if f'"{word}"' not in options)
    elif program == "scripts/drill":
        yield from (f"{command}: there is no drill {word}" for word in words if word not in CATALOGUE)
    else:
        yield f"{command}: nothing here can tell whether it is right"


def _is_taken(parameter: str) -> bool:
    try:
        return not database_url(f"postgresql://u@db/one?{parameter}").ignored
    except MalformedDsn:
        return False


@pytest.mark.parametrize("first", rows())
def test_a_row_says_what_is_so(first: str) -> None:
    assert list(faults(first, rows()[first])) == []


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        (["`sslmode=require`", "", "tried: `scripts/drill D99`"], "there is no drill D99"),
        (["", "", "tried: `scripts/nothing`"], "there is no scripts/nothing"),
        (["", "", "tried: `scripts/test tests/nothing.py`"], "there is no tests/nothing.py"),
        (["", "", "tried: `scripts/test --postgres 9`"], "there is no version 9"),
        (["", "", "tried: `scripts/check`"], "nothing here can tell"),
        (["", "", "tried: `scripts/bench --poolers`"], "there is no --poolers"),
        (["", "", "tried"], "neither a command nor a public page"),
        (["", "", "read: its documentation"], "neither a command nor a public page"),
        (["", "", "read: `scripts/drill D1`"], "neither a command nor a public page"),
        (["`postgresql.sessions`", "", "tried: `scripts/drill D1`"], "postgresql.sessions is no key"),
        (["`channel_binding=require`", "", "tried: `scripts/drill D1`"], "the engine refuses channel_binding=require"),
        (["without `sslmode=require`", "", "tried: `scripts/drill D1`"], "the engine takes sslmode=require"),
        (["", "tried: `scripts/drill D1`"], "3 cells"),
    ],
)  # fmt: skip
def test_a_row_that_says_more_is_found(cells: list[str], fault: str) -> None:
    assert fault in " ".join(faults("row", cells))


def test_what_the_issue_lists_is_in_the_table() -> None:
    named = " ".join(rows())
    for name in ("PgBouncer", "RDS", "Aurora", "RDS Proxy", "Cloud SQL", "AlloyDB", "Azure", "Supabase", "Neon",
                 "Crunchy Bridge", "DigitalOcean", "Heroku", "CloudNativePG", "Zalando", "Crunchy PGO", "Bitnami",
                 "PgCat", "Pgpool-II"):  # fmt: skip
        assert name in named


@pytest.mark.parametrize(
    "block", re.findall(r"```yaml\n(.*?)```", README, re.DOTALL), ids=lambda block: block[:30]
)
def test_every_example_of_values_renders(block: str) -> None:
    values = yaml.safe_load(block)
    refusal = refusal_of(values if "postgresql" in values else merged(DATABASE, values))
    assert (
        refusal.replace(
            "dispatchMode of a pool is kafka_outbox but no broker is named: set kafka.seedBrokers to host:port",
            "",
        )
        == ""
    )
