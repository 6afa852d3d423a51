"""The tokens file: what is read, what is refused by name, and that a new line reads back."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.__main__ import main
from windlass.auth import tokens
from windlass.auth.file import TokensWatch
from windlass.auth.gate import Gate
from windlass.auth.principal import Principal, Role
from windlass.config import ConfigError, settings_from_env
from windlass.errors import BootRefused, Forbidden

DIGEST = "ab" * 32
DSN = "postgresql:///none"
NO_FILE = Path("/nonexistent/engine.yaml")


def settings(**env: str) -> list[str]:
    """The problems."""
    try:
        settings_from_env({"WE_POSTGRES_DSN": DSN, **env}, NO_FILE)
    except ConfigError as error:
        return error.problems
    return []


def test_a_file_says_whom_each_token_stands_for() -> None:
    text = f"""
        # comments and blank lines are TOML's
        "ada@example.com" = {{ role = "admin", sha256 = "{"cd" * 32}" }}
        m = {{ role = "worker", sha256 = "{DIGEST.upper()}", job_types = ["a, b"], expires = 2027-01-31T00:00:00Z }}
        shop = {{ role = "client", sha256 = "{"ef" * 32}", definitions = ["order"] }}
    """
    assert tokens.parse(text) == {
        bytes.fromhex("cd" * 32): Principal(name="ada@example.com", roles=frozenset({Role.ADMIN})),
        bytes.fromhex(DIGEST): Principal(
            name="m",
            roles=frozenset({Role.WORKER}),
            job_types=frozenset({"a, b"}),
            expires_at_s=datetime(2027, 1, 31, tzinfo=UTC).timestamp(),
        ),
        bytes.fromhex("ef" * 32): Principal(
            name="shop", roles=frozenset({Role.CLIENT}), definitions=frozenset({"order"})
        ),
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it has no token in it"),
        ("# nothing\n", "it has no token in it"),
        ("one two", "it is not TOML"),
        (f'a = {{ role = "admin", sha256 = "{DIGEST}" }}\na = {{}}', "it is not TOML"),
        ('a = "wdl_hunter2"', "'a' must be a table"),
        (
            f'a = {{ sha256 = "{DIGEST}" }}',
            "'a' needs a role, one of client, worker, operator, metrics, admin",
        ),
        (f'a = {{ role = "root", sha256 = "{DIGEST}" }}', "'a' needs a role"),
        (f'a = {{ role = 7, sha256 = "{DIGEST}" }}', "'a' needs a role"),
        ('a = { role = "admin" }', "'a' needs sha256"),
        ('a = { role = "admin", sha256 = "wdl_hunter2" }', "'a' needs sha256"),
        (f'a = {{ role = "admin", sha256 = "{DIGEST}", token = "hunter2" }}', "unknown key 'token'"),
        ('a = { role = "admin", argon2 = "$argon2id$hunter2" }', "'argon2'; a token is kept as sha256 alone"),
        (f'engine = {{ role = "admin", sha256 = "{DIGEST}" }}', "'engine' is the engine's own"),
        (f'"a b" = {{ role = "admin", sha256 = "{DIGEST}" }}', "printable ASCII"),
        (f'"{"x" * 65}" = {{ role = "admin", sha256 = "{DIGEST}" }}', "1 to 64"),
        (f'a.b = {{ role = "admin", sha256 = "{DIGEST}" }}', "unknown key 'b'"),
        (
            f'a = {{ role = "admin", sha256 = "{DIGEST}" }}\nb = {{ role = "client", sha256 = "{DIGEST}" }}',
            "'b' and 'a' have the same sha256",
        ),
        (
            f'a = {{ role = "client", sha256 = "{DIGEST}", job_types = ["t"] }}',
            "job_types, which limits the roles worker",
        ),
        (f'a = {{ role = "worker", sha256 = "{DIGEST}", definitions = ["d"] }}', "definitions, which limits"),
        (f'a = {{ role = "worker", sha256 = "{DIGEST}", job_types = "t" }}', "not a list of texts"),
        (f'a = {{ role = "worker", sha256 = "{DIGEST}", job_types = [1] }}', "not a list of texts"),
        (f'a = {{ role = "worker", sha256 = "{DIGEST}", job_types = [] }}', "empty job_types"),
        (
            f'a = {{ role = "admin", sha256 = "{DIGEST}", expires = "2027-01-31" }}',
            "not a time with its zone",
        ),
        (
            f'a = {{ role = "admin", sha256 = "{DIGEST}", expires = 2027-01-31T00:00:00 }}',
            "not a time with its zone",
        ),
        (f'a = {{ role = "admin", sha256 = "{DIGEST}", expires = 2027-01-31 }}', "not a time with its zone"),
        ("a = " + "[" * 100_000, "it is not TOML"),
    ],
)
def test_what_is_wrong_is_named_without_what_may_be_a_secret(text: str, problem: str) -> None:
    with pytest.raises(tokens.Unreadable) as error:
        tokens.parse(text)
    assert problem in str(error.value)
    assert "hunter2" not in str(error.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(tokens.Unreadable) as error:
        tokens.parse('a = { role = "root" }\nb = 1\nc = { role = "admin" }')
    assert len(error.value.problems) == 3


words = st.text(min_size=1, max_size=20).filter(lambda word: word.isprintable() or "\x7f" in word)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)


@given(name=names.filter(lambda name: name not in tokens.RESERVED), job_types=st.lists(words, max_size=3))
def test_a_new_line_reads_back(name: str, job_types: list[str]) -> None:
    token = tokens.make_token()
    expires = datetime(2030, 2, 3, 4, 5, 6, tzinfo=UTC)
    line = tokens.line_of(name, Role.WORKER, token, job_types=job_types, expires=expires)
    assert "\n" not in line
    assert token not in line
    assert tokens.parse(line) == {
        tokens.digest_of(token): Principal(
            name=name,
            roles=frozenset({Role.WORKER}),
            job_types=frozenset(job_types) if job_types else None,
            expires_at_s=expires.timestamp(),
        )
    }


def test_the_command_prints_the_token_once_and_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "token",
        "new",
        "--role",
        "worker",
        "--name",
        "mailer",
        "--job-type",
        "send",
        "--expires-days",
        "1",
    ]
    assert main(words) == 0
    token, line = capsys.readouterr().out.splitlines()
    assert token.startswith(tokens.PREFIX)
    [(digest, principal)] = tokens.parse(line).items()
    assert digest == tokens.digest_of(token)
    assert (principal.name, principal.roles, principal.job_types) == (
        "mailer",
        frozenset({Role.WORKER}),
        frozenset({"send"}),
    )
    assert main(words) == 0
    assert token not in capsys.readouterr().out


def test_the_command_makes_no_token_that_the_file_could_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "new", "--role", "client", "--job-type", "t"]) == 1
    told = capsys.readouterr()
    assert not told.out
    assert "job_types, which limits the roles worker" in told.err
    with pytest.raises(SystemExit, match="2"):
        main(["token", "new", "--role", "root"])


@pytest.mark.parametrize("days", ["0", "36501", "soon", "1.5", ""])
def test_a_term_that_is_none_is_named_with_what_it_may_be(
    days: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["token", "new", "--role", "admin", "--expires-days", days])
    told = capsys.readouterr()
    assert not told.out
    assert f"must be a whole number from 1 to 36500, got {days!r}" in told.err


# -- settings


def test_any_origin_and_tokens_do_not_go_together() -> None:
    [problem] = settings(WINDLASS_TOKENS_FILE="/t", WINDLASS_CORS_ORIGINS="*")
    assert problem.startswith("config: WINDLASS_CORS_ORIGINS is *")
    assert "WINDLASS_TOKENS_FILE" in problem
    assert not settings(WINDLASS_CORS_ORIGINS="*")
    assert not settings(
        WINDLASS_TOKENS_FILE="/t", WINDLASS_CORS_ORIGINS="https://a.example, http://[::1]:3000"
    )


@pytest.mark.parametrize(
    "origin", ["a.example", "https://a.example/", "https://A.example", "https://u@a", "*, https://a"]
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    assert any("is no origin" in problem for problem in settings(WINDLASS_CORS_ORIGINS=origin))


def test_a_path_that_is_none_is_refused_without_showing_it() -> None:
    [problem] = settings(WINDLASS_TOKENS_FILE="wdl_hunter2")
    assert "WINDLASS_TOKENS_FILE must be the absolute path" in problem
    assert "hunter2" not in problem


def test_metrics_cannot_ask_for_tokens_that_there_are_not() -> None:
    [problem] = settings(WINDLASS_METRICS_TOKENS="true")
    assert "WINDLASS_METRICS_TOKENS" in problem


# -- the file


class Reports:
    def __init__(self) -> None:
        self.told: list[str] = []

    def tokens_read(self, count: int) -> None:
        self.told.append(f"read {count}")

    def tokens_unusable(self, cause: str) -> None:
        self.told.append(f"unusable: {cause}")


def line(name: str) -> str:
    return tokens.line_of(name, Role.ADMIN, f"wdl_{name}") + "\n"


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """As Kubernetes mounts a Secret: the file is a link into a folder that is a link, which is swapped."""
    (tmp_path / "..1").mkdir()
    (tmp_path / "..1/tokens.toml").write_text(line("a"))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "tokens.toml").symlink_to("..data/tokens.toml")
    return tmp_path


def swap(mounted: Path, number: int, text: str) -> None:
    (mounted / f"..{number}").mkdir()
    (mounted / f"..{number}/tokens.toml").write_text(text)
    (mounted / "..new").symlink_to(f"..{number}")
    os.replace(mounted / "..new", mounted / "..data")  # noqa: PTH105 - as the kubelet does


def known(gate: Gate) -> set[str]:
    return {principal.name for principal in gate.tokens.values()}


async def test_a_swap_of_links_is_seen_and_a_broken_file_changes_nothing(mounted: Path) -> None:
    reports = Reports()
    gate = Gate({})
    watch = TokensWatch(str(mounted / "tokens.toml"), gate, reports)
    watch.begin()
    assert known(gate) == {"a"}
    await watch.look()
    swap(mounted, 2, line("a") + line("b"))
    await watch.look()
    assert known(gate) == {"a", "b"}
    swap(mounted, 3, line("b") + "broken")
    await watch.look()
    await watch.look()
    assert known(gate) == {"a", "b"}
    (mounted / "..data").unlink()
    await watch.look()
    assert known(gate) == {"a", "b"}
    (mounted / "..data").symlink_to("..2")
    await watch.look()
    await watch.look()
    assert known(gate) == {"a", "b"}
    swap(mounted, 4, line("b"))
    await watch.look()
    assert known(gate) == {"b"}
    told = [text.partition(":")[0] for text in reports.told]
    # The second "read 2": the file is as it was before it could not be used.
    assert told == ["read 1", "read 2", "unusable", "unusable", "read 2", "read 1"]
    assert "not TOML" in reports.told[2]
    assert "cannot be read" in reports.told[3]


async def test_a_change_in_place_of_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(line("a"))
    os.utime(path, (1, 1))
    gate = Gate({})
    watch = TokensWatch(str(path), gate, Reports())
    watch.begin()
    path.write_text(line("b"))
    os.utime(path, (1, 1))
    await watch.look()
    assert known(gate) == {"b"}


def test_a_node_does_not_boot_with_a_file_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tokens.toml"
    watch = TokensWatch(str(path), Gate({}), Reports())
    with pytest.raises(BootRefused, match=r"WINDLASS_TOKENS_FILE names .* cannot be read"):
        watch.begin()
    path.write_text('a = { role = "root" }')
    with pytest.raises(BootRefused, match="'a' needs a role"):
        watch.begin()
    monkeypatch.setenv("WE_POSTGRES_DSN", DSN)
    monkeypatch.setenv("WINDLASS_TOKENS_FILE", str(path))
    assert main(["check-config"]) == 1
    assert "'a' needs a role" in capsys.readouterr().err


def test_a_principal_is_held_to_its_limits() -> None:
    worker = Principal(name="w", roles=frozenset({Role.WORKER}), job_types=frozenset({"a"}))
    worker.require_job_types(["a"], "poll jobs")
    with pytest.raises(Forbidden, match="'w' may not poll jobs of type 'b'; its job types are 'a'"):
        worker.require_job_types(["a", "b"], "poll jobs")
    client = Principal(name="c", roles=frozenset({Role.CLIENT}), definitions=frozenset({"d"}))
    client.require_definition("d", "start instances")
    with pytest.raises(Forbidden, match="'c' may not start instances of definition 'e'"):
        client.require_definition("e", "start instances")
    for free in (Principal(name="x", roles=frozenset({Role.ADMIN})),):
        free.require_job_types(["z"], "poll jobs")
        free.require_definition("z", "start instances")
