"""The DSN in both spellings: what is taken, left out and refused, and that no word of ours contains its password."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import string
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from unittest import mock
from urllib.parse import parse_qs, quote, unquote

import asyncpg
import pytest
from hypothesis import given
from hypothesis import settings as drawn
from hypothesis import strategies as st

from windlass.__main__ import main
from windlass.config import ConfigError, Settings, settings_from_env
from windlass.dsn import MalformedDsn, database_url, redact
from windlass.dsn_parameters import (
    CONNECTION,
    ENVIRONMENT,
    OF_OTHER_DRIVERS,
    REFUSED,
    SCHEMA,
    SESSION,
    SET_BY_THE_ENGINE,
)
from windlass.store.session_settings import SESSION_SETTINGS, TIME_OUTS

NO_FILE = Path("/nonexistent/engine.yaml")
NOWHERE = "127.0.0.1:1"


def settings(dsn: str, **env: str) -> Settings:
    return settings_from_env({"WE_POSTGRES_DSN": dsn, **env}, NO_FILE)


def problems(dsn: str, **env: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        settings(dsn, **env)
    return refused.value.problems


def said(command: str, **env: str) -> tuple[int, str]:
    """The exit code of a command in this process, and all that it writes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WE_", "DB_", "PG"))}
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape"), io.StringIO()
    with (
        mock.patch.dict(os.environ, kept | env, clear=True),
        mock.patch.object(sys, "stdout", out),
        redirect_stderr(err),
    ):
        try:
            code = main([command])
        finally:
            # The command has sent the libraries' lines and warnings of this process to its log.
            root.handlers = handlers
            root.setLevel(level)
            logging.captureWarnings(capture=False)
        out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    return code, out.buffer.getvalue().decode("utf-8", "surrogateescape") + err.getvalue()


# -- what is taken


@pytest.mark.parametrize(
    ("dsn", "url", "ignored"),
    [
        ("postgres://u:p@h:1/d?sslmode=require", "postgres://u:p@h:1/d?sslmode=require", ()),
        ("postgresql://", "postgresql://", ()),
        ("postgresql://h1:1,h2:2/d", "postgresql://h1:1,h2:2/d", ()),
        ("postgresql://[::1]:5432/d", "postgresql://[::1]:5432/d", ()),
        ("postgresql://u@%2Frun%2Fpg/d", "postgresql://u@%2Frun%2Fpg/d", ()),
        ("postgres://u:S3]x[cret@h/db", "postgres://u:S3%5Dx%5Bcret@h/db", ()),
        ("postgres://u:a:\u2105é@h/db", "postgres://u:a%3A%E2%84%85%C3%A9@h/db", ()),
        ("postgresql://h/d?password=a+b%20c", "postgresql://h/d?password=a%2Bb%20c", ()),
        ("host=/run/pg user=u dbname=d", "postgresql:///d?host=%2Frun%2Fpg&user=u", ()),
        ("host=::1 port=1", "postgresql:///?host=%5B%3A%3A1%5D&port=1", ()),
        (r"host = 'h' password='it\'s 1'", "postgresql:///?host=h&password=it%27s%201", ()),
        ("host=h connect_timeout=3", "postgresql:///?host=h", ("connect_timeout",)),
        ("postgresql:///d?schema=&search_path=x", "postgresql:///d?search_path=x", ()),
        (
            "postgresql:///d?application_name=x&TimeZone=UTC",
            "postgresql:///d",
            ("application_name", "TimeZone"),
        ),
        (
            "postgresql:///d?connect_timeout=3&pool_max_conns=4",
            "postgresql:///d",
            ("connect_timeout", "pool_max_conns"),
        ),
    ],
)
def test_both_spellings_of_a_dsn(dsn: str, url: str, ignored: tuple[str, ...]) -> None:
    found = database_url(dsn)
    assert (found.url, found.ignored) == (url, ignored)
    kept = settings(dsn)
    assert kept.postgres_dsn == url
    assert len(kept.warnings) == bool(ignored)
    assert all(name in kept.warnings[0] for name in ignored)


def test_the_driver_understands_what_a_keyword_string_became() -> None:
    """Nothing listens there: the driver names the socket and port it tried."""
    url = database_url("host=/nonexistent/dir port=7654 user=u password='a b' dbname=d").url
    with pytest.raises(OSError, match="No such file or directory"):
        asyncio.run(asyncpg.connect(url, timeout=2))


# -- parameters of other drivers


def test_parameters_of_other_drivers_are_left_out_with_one_warning() -> None:
    """`?pool_max_conn_lifetime=1h` (pgx) and `?pgbouncer=true` (Prisma) went to the server, which refused the boot."""
    pgx = "pool_max_conns=9&pool_min_conns=1&pool_max_conn_lifetime=1h&pool_health_check_period=1m"
    prisma = "pgbouncer=true&connection_limit=5&pool_timeout=20"
    found = settings(f"postgresql://u@h/d?{pgx}&{prisma}&sslmode=require")
    assert found.postgres_dsn == "postgresql://u@h/d?sslmode=require"
    (warning,) = found.warnings
    assert warning.startswith(
        "WE_POSTGRES_DSN: ignored pool_max_conns, pool_min_conns, pool_max_conn_lifetime, "
    )
    assert "pgbouncer, connection_limit, pool_timeout, which other drivers read" in warning
    assert "DB_MAX_CONNS" in warning


@pytest.mark.parametrize("name", ["nonsense", "statment_timeout"])
def test_an_unknown_parameter_is_refused_by_name_with_those_that_are_known(name: str) -> None:
    """It went to the server, whose answer was "unrecognized configuration parameter"."""
    for dsn in (f"postgresql://u@h/d?{name}=1", f"host=h {name}=1"):
        (problem,) = problems(dsn)
        assert f"has the parameter {name}, which is unknown; known are database, dbname, " in problem
        assert all(known in problem for known in CONNECTION | SESSION)
        assert "options=-c NAME=VALUE" in problem


@pytest.mark.parametrize(
    ("parameter", "remedy"),
    [
        ("hostaddr=10.0.0.1", "write the address as the host"),
        ("ssl=true", "sslmode=require"),
        ("sslaccept=strict", "sslmode=verify-full"),
        ("channel_binding=require", "cannot guarantee"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name_with_the_remedy(parameter: str, remedy: str) -> None:
    """They went to the server, which refused the boot without a remedy."""
    (problem,) = problems(f"postgresql://u@h/d?{parameter}")
    assert parameter.partition("=")[0] in problem
    assert remedy in problem


def test_each_parameter_is_judged_in_one_way() -> None:
    kinds = [CONNECTION, SESSION, SCHEMA, SET_BY_THE_ENGINE, OF_OTHER_DRIVERS, frozenset(REFUSED)]
    assert sum(map(len, kinds)) == len(frozenset().union(*kinds))
    assert "search_path" in SESSION, "and with WINDLASS_SCHEMA it is refused"
    assert SESSION_SETTINGS.keys() - TIME_OUTS <= SET_BY_THE_ENGINE
    assert TIME_OUTS <= SESSION, "those of the DSN count"


# -- TLS


def test_the_system_s_trust_store(tmp_path: Path) -> None:
    """sslrootcert=system, and verify-full alone: "[Errno 2] No such file or directory"."""
    in_url = "postgresql://u@h/d?sslmode=verify-full&sslrootcert=system"
    home = {"HOME": str(tmp_path)}
    with mock.patch.dict(os.environ, home):
        assert settings("postgresql://u@h/d?sslrootcert=system").postgres_dsn == in_url
        assert settings("postgresql://u@h/d?sslmode=verify-full").postgres_dsn == in_url
        assert settings("postgresql://u@h/d", PGSSLMODE="verify-full").postgres_dsn == in_url
        (problem,) = problems("postgresql://u@h/d?sslrootcert=system&sslmode=require")
        assert "sslrootcert=system with sslmode=require; write sslmode=verify-full" in problem
        (problem,) = problems("postgresql://u@h/d?sslmode=verify-ca")
        assert "no CA to verify with" in problem
        (tmp_path / ".postgresql").mkdir()
        (tmp_path / ".postgresql/root.crt").touch()
        kept = "postgresql://u@h/d?sslmode=verify-full"
        assert settings(kept).postgres_dsn == kept


@pytest.mark.parametrize("parameter", ["sslrootcert", "sslcrl", "sslcert"])
def test_a_file_that_is_no_certificate_is_told_without_what_is_in_it(parameter: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nS3cretXQZ\n-----END CERTIFICATE-----\n")
    for named, gist in (
        (str(path), str(path)),
        ("/none.pem", "No such file"),
        ("-----BEGIN S3cretXQZ", "a PEM text"),
    ):
        (problem,) = problems(f"postgresql://u@h/d?sslmode=verify-full&{parameter}={quote(named)}")
        assert parameter in problem
        assert gist in problem or parameter == "sslcert"
        assert "S3cretXQZ" not in problem
        assert "_ssl.c" not in problem


def test_a_service_file_is_told_without_what_is_in_it(tmp_path: Path) -> None:
    """The driver let configparser's error out, with the line that it could not read: password=S3cretXQZ%."""
    path = tmp_path / "services"
    for text in ("password=S3cretXQZ\n", "[s]\npassword=S3cretXQZ%x\n", "[s]\nport=S3cretXQZ\n"):
        path.write_text(text)
        (problem,) = problems("postgresql://h/d?service=s", PGSERVICEFILE=str(path))
        assert "S3cretXQZ" not in problem
    path.write_text("[s]\npassword=S3cretXQZ\nport=5432\n")
    assert settings("postgresql://h/d?service=s", PGSERVICEFILE=str(path)).warnings == ()


# -- line ends and blanks around a value


@pytest.mark.parametrize(
    "name", ["PGPASSWORD", "PGHOST", "PGUSER", "PGDATABASE", "PGPORT", "WE_POSTGRES_DSN"]
)
@pytest.mark.parametrize(
    ("form", "fault"),
    [
        ("{}\n", "ends in a line end"),
        ("{}\r\n", "ends in a line end"),
        ("{} ", "ends in a blank"),
        ("\t{}", "begins with a blank"),
        ("\n{}", "begins with a line end"),
        ("\ufeff{}", "begins with a blank"),
    ],
)
def test_a_value_made_with_echo_is_refused_by_name(name: str, form: str, fault: str) -> None:
    """A line end in PGPASSWORD: "password authentication failed", and no word about the line end."""
    value = "postgresql://u:S3cretXQZ@h/d" if name == "WE_POSTGRES_DSN" else "S3cretXQZ"
    env = {"WE_POSTGRES_DSN": "postgresql://", name: form.format(value)}
    with pytest.raises(ConfigError) as refused:
        settings_from_env(env, NO_FILE)
    (problem,) = refused.value.problems
    assert problem.startswith(
        f"config: {name} {fault}; make the Secret or the variable without it, with printf %s"
    )
    assert "--from-literal" in problem
    assert "S3cretXQZ" not in problem


@pytest.mark.parametrize("name", ["WE_KAFKA_SASL_USERNAME", "WE_KAFKA_SASL_PASSWORD"])
@pytest.mark.parametrize(
    ("value", "fault"), [("S3cretXQZ\n", "ends in a line end"), ("S3cretXQZ\udcff", "not UTF-8")]
)
def test_so_is_one_for_the_broker(name: str, value: str, fault: str) -> None:
    """It was used, and the broker said that authentication failed."""
    kafka = {
        "WE_DISPATCH_MODE": "kafka_outbox",
        "WE_KAFKA_SEED_BROKERS": "k:9092",
        "WE_KAFKA_TRANSPORT": "sasl_scram_tls",
        "WE_KAFKA_SASL_USERNAME": "u",
        "WE_KAFKA_SASL_PASSWORD": "p",
    }
    (problem,) = problems("postgresql://", **(kafka | {name: value}))
    assert problem.startswith(f"config: {name} ")
    assert fault in problem
    assert "S3cretXQZ" not in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGPORT", "S3cretXQZ"),
        ("PGHOST", "[S3cretXQZ"),
        ("PGSSLMODE", "S3cretXQZ"),
        ("PGTARGETSESSIONATTRS", "S3cretXQZ"),
        ("PGGSSLIB", "S3cretXQZ"),
        ("PGSSLMINPROTOCOLVERSION", "S3cretXQZ"),
        ("PGPASSWORD", "S3cretXQZ\udcff"),
    ],
)
def test_a_wrong_variable_of_libpq_is_refused_without_its_value(name: str, value: str) -> None:
    """A Secret's keys may be mixed up. The driver said: invalid literal for int() with base 10: 'S3cretXQZ'."""
    (problem,) = problems("postgresql://", **{name: value})
    assert problem.startswith(f"config: {name} ")
    assert "S3cretXQZ" not in problem


def test_the_variables_are_those_that_the_driver_reads() -> None:
    source = Path(asyncpg.connect_utils.__file__).read_text(encoding="utf-8")
    # PGSERVICE is read after the only place where the driver uses it.
    read = {name for name in source.replace("'", '"').split('"') if name.startswith("PG") and name.isupper()}
    assert read - {"PGSERVICE", "PGPASSFILE", "PG_SERVICEFILE"} == ENVIRONMENT.keys() - {"PGPASSFILE"}


# -- refused, without the password


@pytest.mark.parametrize(
    ("dsn", "fault"),
    [
        ("nonsense", "neither a URL nor a keyword string"),
        ("czNjcmV0LXMzY3JldA==", "neither a URL nor a keyword string"),
        ("mysql://u:s3cret@h/d", "neither a URL nor a keyword string"),
        ("postgresql+asyncpg://u:s3cret@h/d", "written for another driver"),
        ("host=h password=s3cret oops", "at character 23 there is no key=value"),
        ("host=h password='s3cret", "at character 7 there is no key=value"),
        ("host=h password=s3 cret=1", "parameter 3, which is unknown"),
        ("postgresql://u:s3cret@h:port/d", "as the port of the host"),
        ("postgresql://u:s3cret@h:99999/d", "as the port of the host"),
        ("postgresql://u:s3cret@h1,h2:0/d", "as the port of host 2 of the list"),
        ("postgresql://u:s3cret@a,,b/d", "host 2 of the list"),
        ("postgresql://u:s3cret@h_/[x]@/d", "an @ after"),
        ("postgresql://u:s3cret@[h]/d", "something unreadable as the host"),
        ("postgresql://u:s3cret@a..b/d", "no host can have"),
        ("postgresql://u:s3cr#s3cret@h/d", "an @ after"),
        ("postgresql://u:s3cr/s3cret@h/d", "an @ after"),
        ("postgresql://u:1234/s3cret@h/d", "an @ after"),
        ("postgresql://u:x@s3cret@h/d", "more than one @"),
        ("postgresql://u:s3 s3cret@h/d", "a blank at character 3 of the password"),
        ("postgresql://u:s3\ns3cret@h/d", "a line end at character 3 of the password"),
        ("postgresql://u:s3\x1bs3cret@h/d", "a control character at character 3 of the password"),
        ("postgresql://u:s3%s3cret@h/d", "a % at character 3 of the password"),
        ("postgresql://u:s3cret%00@h/d", "%00 in the password"),
        ("postgresql://u:s3cret%FF@h/d", "%XX in the password that are not UTF-8"),
        ("postgresql://u:s3cret\udcff@h/d", "not UTF-8 at character 22"),
        ("postgresql://u:s3cret@h/d#x", "a # that is not encoded"),
        ("postgresql://u:s3cret@h/d?novalue", "number 1 is not key=value"),
        ("postgresql://h/d?password=a&s3cret=b", "parameter 2, which is unknown"),
        ("postgresql://u:s3cret@h/d?sslmode=on", "sslmode that is none of disable"),
    ],
)
def test_a_wrong_dsn_is_refused_without_its_password(dsn: str, fault: str) -> None:
    """`postgres://u:S3]x[cret@h/db`: "'cret@h' does not appear to be an IPv4 or IPv6 address"."""
    (problem,) = problems(dsn)
    assert problem.startswith("config: WE_POSTGRES_DSN ")
    assert fault in problem
    assert "postgresql://user:password@host:5432/database" in problem
    assert "s3cret" not in problem
    assert "\n" not in problem


#: No word of ours holds four of them in a row. The delimiters of both spellings, quotes, blanks, controls, what NFKC
#: turns into a delimiter, what is not UTF-8.
_ALPHABET = (
    "QXZ79"
    + "".join(c for c in string.punctuation if c not in "-=")
    + "=-\n\r\t\x0b\x01\x1b\x7f \xa0\u2028é\u2105\uff0f\U0001f511\udcff"
)
_PASSWORDS = st.text(st.sampled_from(_ALPHABET), min_size=4, max_size=14)


def _pieces(password: str) -> Iterator[str]:
    """Raw, and as they are written in the URL and in JSON; those of punctuation alone stand in many a sentence."""
    for start in range(len(password) - 3):
        piece = password[start : start + 4]
        if any(character in "QXZ79" for character in piece):
            yield piece
            yield quote(piece, safe="", errors="surrogateescape")
            yield piece.encode("unicode_escape").decode()


def _spellings(password: str, host: str) -> Iterator[str]:
    encoded = quote(password, safe="", errors="surrogateescape")
    yield f"postgresql://u:{password}@{host}/d"
    yield f"postgresql://u:{encoded}@{host}/d"
    yield f"postgresql://u:{password}@{host}/d?pool_max_conns=1&sslmode=disable"
    yield f"postgresql://{host}/d?user=u&password={password}"
    yield f"postgresql://{host}/d?user=u&password={encoded}&sslmode=disable"
    yield f"user=u host=127.0.0.1 port=1 password={password}"
    yield f"user=u host=127.0.0.1 port=1 password='{password}'"


@drawn(max_examples=150, deadline=None)
@given(_PASSWORDS)
def test_no_word_of_check_config_contains_a_piece_of_the_password(password: str) -> None:
    for dsn in _spellings(password, "h:5432"):
        _, text = said("check-config", WE_POSTGRES_DSN=dsn)
        assert not [piece for piece in _pieces(password) if piece in text], dsn


@drawn(max_examples=40, deadline=None)
@given(_PASSWORDS)
def test_no_word_of_a_boot_and_its_log_contains_a_piece_of_the_password(password: str) -> None:
    """Nothing listens at port 1, so that what is not refused fails at the connection."""
    for dsn in _spellings(password, NOWHERE):
        code, text = said("migrate", WE_POSTGRES_DSN=dsn)
        assert code == 1
        assert not [piece for piece in _pieces(password) if piece in text], dsn
    code, text = said("migrate", WE_POSTGRES_DSN=f"postgresql://u@{NOWHERE}/d", PGPASSWORD=password)
    assert code == 1
    assert not [piece for piece in _pieces(password) if piece in text]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=14))
def test_an_encoded_password_reaches_the_driver_whole(password: str) -> None:
    encoded = quote(password, safe="")
    url = database_url(f"postgresql://u:{encoded}@h/d").url
    assert unquote(url.removeprefix("postgresql://u:").removesuffix("@h/d")) == password
    query = database_url(f"postgresql://h/d?password={encoded}").url.partition("?")[2]
    assert parse_qs(query)["password"] == [password]
    in_quotes = password.replace("\\", r"\\").replace("'", r"\'")
    query = database_url(f"host=h password='{in_quotes}'").url.partition("?")[2]
    assert parse_qs(query)["password"] == [password]


@given(st.text(max_size=40) | st.text(st.sampled_from("postgresql://u:@h,[]?=&#%0' \\"), max_size=40))
def test_any_text_is_a_dsn_or_a_named_fault(text: str) -> None:
    for dsn in (text, f"postgresql://{text}"):
        error: MalformedDsn | None = None
        try:
            database_url(dsn)
        except MalformedDsn as malformed:
            error = malformed
        assert error is None or (error.fault and error.remedy)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:p@ss:w/rd@h/d", "postgresql://u:***@h/d"),
        ("cannot reach postgres://u:pw@h:1/d now", "cannot reach postgres://u:***@h:1/d now"),
        ("https://user@host/path", "https://user@host/path"),
        ("host=h password=pw user=u", "host=h password=*** user=u"),
        ("host=h password = 'it''s pw' user=u", "host=h password = *** user=u"),
        (r"password='a\'b' x", "password=*** x"),
        ("postgresql:///d?password=pw&host=h", "postgresql:///d?password=***&host=h"),
        ("sslpassword=pw PGPASSWORD=pw", "sslpassword=*** PGPASSWORD=***"),
        ("a plain sentence about a password", "a plain sentence about a password"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    assert redact(text) == shown
