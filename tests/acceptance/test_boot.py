"""Contract 6.6 and 7: a boot that cannot keep its promise says why, once, and leaves nothing running."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import psycopg
import pytest
import pytest_asyncio
from engine_on_trial import rows
from engine_process import EngineProcess, RunWindlass

from patience import eventually
from seatrial.cluster.postgres import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = "pass-word-nobody-may-see"


def database_of(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")


async def sessions(server: PostgresServer, dsn: str) -> int:
    found = await rows(
        server.dsn(), "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", database_of(dsn)
    )
    return int(found[0]["count"])


def without_secret(process: EngineProcess) -> None:
    assert SECRET not in process.stdout + process.stderr


# -- the database ---------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["serve", "migrate"])
async def test_a_wrong_password(windlass: RunWindlass, server: PostgresServer, dsn: str, word: str) -> None:
    wrong = dsn.replace(server.secret, SECRET)
    process = await windlass(word, WE_POSTGRES_DSN=wrong)
    text = await process.refused_to_boot()
    without_secret(process)
    for gist in (
        "cannot connect to the database",
        f"127.0.0.1:{server.port}/{database_of(dsn)}",
        "password authentication failed",
        "check WE_POSTGRES_DSN",
    ):
        assert gist in text
    assert await sessions(server, dsn) == 0


async def test_an_unknown_database(windlass: RunWindlass, server: PostgresServer) -> None:
    process = await windlass("serve", WE_POSTGRES_DSN=server.engine_dsn("no_such_database"))
    text = await process.refused_to_boot()
    assert 'database "no_such_database" does not exist' in text
    assert "check WE_POSTGRES_DSN" in text


async def test_a_database_that_is_not_there(windlass: RunWindlass) -> None:
    process = await windlass("serve", WE_POSTGRES_DSN=f"postgresql://w:{SECRET}@127.0.0.1:1/d")
    text = await process.refused_to_boot()
    without_secret(process)
    for gist in ("127.0.0.1:1/d", "ConnectionRefusedError", "check WE_POSTGRES_DSN"):
        assert gist in text


async def test_a_host_without_address(windlass: RunWindlass) -> None:
    dsn = f"postgresql://w:{SECRET}@no-such-host.invalid/d"
    process = await windlass("serve", WE_POSTGRES_DSN=dsn)
    text = await process.refused_to_boot()
    without_secret(process)
    assert "no-such-host.invalid" in text
    assert "check WE_POSTGRES_DSN" in text


async def test_a_database_that_accepts_and_says_nothing(windlass: RunWindlass) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        dsn = f"postgresql://w:{SECRET}@127.0.0.1:{mute.getsockname()[1]}/d"
        process = await windlass("serve", WE_POSTGRES_DSN=dsn, WINDLASS_DATABASE_TIMEOUT_SECONDS="0.5")
        text = await process.refused_to_boot()
    without_secret(process)
    assert "TimeoutError" in text
    assert "check WE_POSTGRES_DSN" in text


@pytest.mark.parametrize(
    "dsn",
    [
        f"windlass:{SECRET}@127.0.0.1:5432/d",
        f"mysql://windlass:{SECRET}@127.0.0.1:5432/d",
        f"postgresql:/windlass:{SECRET}@127.0.0.1:5432/d",
        f"postgresql://windlass:{SECRET}@127.0.0.1:port/d",
        f"host=h user=u password=two {SECRET} dbname=d",
    ],
)
async def test_what_is_no_dsn_is_refused_without_its_password(windlass: RunWindlass, dsn: str) -> None:
    process = await windlass(WE_POSTGRES_DSN=dsn)
    text = await process.refused_to_boot()
    without_secret(process)
    assert text.startswith("config: WE_POSTGRES_DSN ")
    assert "postgresql://user:***@host:5432/database" in text or "postgresql://user:password@host" in text


@pytest_asyncio.fixture(loop_scope="session")
async def foreign_dsn(server: PostgresServer, dsn: str) -> AsyncIterator[str]:
    """The engine's role on a database that is not its own: it may enter, and make nothing there."""
    name = f"f_{secrets.token_hex(6)}"
    await rows(server.dsn(), f"CREATE DATABASE {name} OWNER postgres")
    yield dsn.replace(database_of(dsn), name)
    await server.drop_database(name)


async def test_a_role_that_may_not_make_tables(windlass: RunWindlass, foreign_dsn: str) -> None:
    text = await (await windlass("serve", WE_POSTGRES_DSN=foreign_dsn)).refused_to_boot()
    assert "the schema cannot be brought up to date" in text
    assert "lacks CREATE on schema public; run: GRANT CREATE ON SCHEMA public TO windlass" in text
    assert "windlass migrate" in text


async def test_a_keyword_string_serves_as_well_as_a_url(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    words = f"host=127.0.0.1 port={server.port} user=windlass password='{server.secret}' dbname={database_of(dsn)}"
    process, engine = await windlass.serving(WE_POSTGRES_DSN=words)
    assert (await engine.get("/ready")).status == 200
    process.send(signal.SIGTERM)
    assert await process.ended() == 0


# -- ports ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["WE_REST_PORT", "WE_GRPC_PORT", "WE_METRICS_PORT"])
async def test_a_port_in_use(windlass: RunWindlass, server: PostgresServer, dsn: str, variable: str) -> None:
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        process = await windlass("serve", WE_POSTGRES_DSN=dsn, **{variable: port})
        text = await process.refused_to_boot()
    assert f":{port}: the port is in use" in text
    assert f"set {variable} to a free port" in text

    async def nothing_left() -> bool:
        return await sessions(server, dsn) == 0

    await eventually(nothing_left)
    assert await rows(server.dsn(database_of(dsn)), "SELECT id FROM windlass_node") == []


@pytest.mark.parametrize("variable", ["WE_REST_PORT", "WE_GRPC_PORT", "WE_METRICS_PORT"])
async def test_a_port_in_use_over_ipv6_alone(windlass: RunWindlass, dsn: str, variable: str) -> None:
    with socket.socket(socket.AF_INET6) as holder:
        holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        holder.bind(("::", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        text = await (await windlass("serve", WE_POSTGRES_DSN=dsn, **{variable: port})).refused_to_boot()
    assert f"cannot listen on [::]:{port}: the port is in use" in text


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
async def test_an_address_of_another_machine(windlass: RunWindlass, dsn: str, address: str) -> None:
    process = await windlass("serve", WE_POSTGRES_DSN=dsn, WINDLASS_BIND=address)
    text = await process.refused_to_boot()
    assert "metrics cannot listen on " in text
    assert address in text
    assert "the machine does not have this address; set WINDLASS_BIND to one that it has" in text


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1:8080", "[::1]", "*"])
async def test_what_is_no_address(windlass: RunWindlass, address: str) -> None:
    text = await (await windlass(WE_POSTGRES_DSN="postgresql:///d", WINDLASS_BIND=address)).refused_to_boot()
    assert text == (
        f"config: WINDLASS_BIND must be one IP address without a port, got {address!r}; for example 127.0.0.1 or ::1, "
        "or unset it for all addresses"
    )


async def test_two_of_one_port(windlass: RunWindlass) -> None:
    process = await windlass(WE_POSTGRES_DSN="postgresql:///d", WE_REST_PORT="18080", WE_METRICS_PORT="18080")
    text = await process.refused_to_boot()
    assert text == "config: WE_METRICS_PORT is 18080, which WE_REST_PORT already uses; give each its own port"


# -- variables ------------------------------------------------------------------------------------


async def test_every_bad_variable_is_named_at_once(windlass: RunWindlass) -> None:
    process = await windlass(
        WE_REST_PORT="eighty",
        WE_METRICS_PORT="70000",
        WE_AUDIT_LOG_ENABLED="ja",
        DB_MAX_CONNS="2",
        DB_MIN_CONNS="9",
        WE_DISPATCH_MODE="rabbit",
        WINDLASS_LEASE_SECONDS="-1",
        WINDLASS_WAKE_MODE="sometimes",
    )
    problems = (await process.refused_to_boot()).splitlines()
    assert all(problem.startswith("config: ") for problem in problems)
    assert [problem.split()[1] for problem in problems] == [
        "WE_POSTGRES_DSN",
        "WE_REST_PORT",
        "WE_METRICS_PORT",
        "WE_AUDIT_LOG_ENABLED",
        "DB_MIN_CONNS",
        "WE_DISPATCH_MODE",
        "WINDLASS_LEASE_SECONDS",
        "WINDLASS_WAKE_MODE",
    ]
    for gist in (
        "is required (not set and not in yaml)",
        "must be an integer, got 'eighty'",
        "must be <= 65535, got '70000'",
        "must be true/false, got 'ja'",
        "must be <= DB_MAX_CONNS (2), got 9",
        "unknown 'rabbit' (want polling|kafka_outbox)",
        "must be >= 0.1, got '-1'",
        "unknown 'sometimes' (want hybrid|event_driven|polling)",
    ):
        assert any(gist in problem for problem in problems), gist
    assert all("; " in problem for problem in problems), "each names its remedy"


async def test_the_broker_s_variables_are_judged_only_in_its_mode(windlass: RunWindlass) -> None:
    process = await windlass(
        WE_POSTGRES_DSN="postgresql:///d",
        WE_DISPATCH_MODE="kafka_outbox",
        WE_KAFKA_TRANSPORT="sasl_scram_tls",
        WE_KAFKA_SASL_PASSWORD=SECRET,
        WE_OUTBOX_BATCH_SIZE="0",
    )
    problems = await process.refused_to_boot()
    without_secret(process)
    for name in ("WE_KAFKA_SEED_BROKERS", "WE_KAFKA_SASL_USERNAME", "WE_OUTBOX_BATCH_SIZE"):
        assert f"config: {name} " in problems


async def test_what_is_odd_but_harmless_is_a_warning(windlass: RunWindlass, dsn: str) -> None:
    process, engine = await windlass.serving(
        WE_POSTGRES_DSN=dsn,
        WE_LOG_LEVEL="chatty",
        WE_REST_PROT="1",
        WE_DISPATCH_MODE="",
        WINDLASS_LANES="",
        WE_KAFKA_TRANSPORT="carrier pigeon",
    )
    warnings = [line["warning"] for line in process.log(level="WARN", msg="config: warning")]
    assert len(warnings) == 2
    assert "WE_LOG_LEVEL 'chatty' is unknown and counts as info" in warnings[0]
    assert "did you mean WE_REST_PORT?" in warnings[1]
    assert "kafka" not in process.stdout.lower()
    assert (await engine.get("/ready")).status == 200


async def test_an_unknown_command(windlass: RunWindlass) -> None:
    for words, named in ((("sevre",), "'sevre'"), (("serve", "--port=1"), "'--port=1'"), (("-x",), "'-x'")):
        process = await windlass(*words)
        assert await process.ended() == 2
        assert process.stdout == ""
        (line,) = process.stderr.splitlines()
        assert named in line
        assert "serve, api, scheduler, migrate, check-config, prune, token, topics, version" in line


# -- waiting --------------------------------------------------------------------------------------


async def test_it_listens_only_once_the_schema_is_current(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    database = server.dsn(database_of(dsn))
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other_node:
        await other_node.execute("SELECT pg_advisory_lock(hashtextextended('public', 4893219751932018490))")
        waiting = await windlass("serve", WE_POSTGRES_DSN=dsn)
        stopped = await windlass("serve", WE_POSTGRES_DSN=dsn)

        async def both_wait() -> bool:
            found = await rows(
                database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            )
            return int(found[0]["count"]) == 2

        await eventually(both_wait)
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection("127.0.0.1", waiting.rest_port)
        assert waiting.running
        stopped.send(signal.SIGTERM)
        assert await stopped.ended() == 0, "a signal ends also a boot that waits"
        assert stopped.log()[-1]["msg"] == "engine: stopped"
    await waiting.until_logged("engine: REST listening")
    assert (await rows(database, "SELECT dirty FROM schema_migrations")) == [{"dirty": False}]
