"""Behind PgBouncer as it comes, in session and in transaction mode, with a pool smaller than the engines' own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import psycopg
import pytest
import pytest_asyncio
from kafka_case import KafkaCase, logged, sample
from nodes import END, Boot, Running, service

from patience import eventually
from seatrial.cluster.pgbouncer import NEED, PgBouncer, PoolMode, find_pgbouncer, pgbouncer_version
from seatrial.cluster.port import Ports
from seatrial.cluster.postgres import ENGINE_ROLE, PostgresServer
from seatrial.cluster.proxy import Proxy
from windlass.config import settings_from_env
from windlass.errors import BootRefused
from windlass.store.database import Database, NoSessions
from windlass.store.session_settings import SESSION_SETTINGS
from windlass.wire import JobView

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(find_pgbouncer() is None, reason=NEED),
]

SMALL = {"default_pool_size": "5"}
DIRECT, SESSION, TRANSACTION = "direct", "session pooler", "transaction pooler"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def transaction_pooler(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PgBouncer]:
    log = tmp_path_factory.mktemp("pgbouncer") / "transaction.log"
    async with PgBouncer(server, log, pool_mode="transaction", settings=SMALL) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_pooler(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PgBouncer]:
    log = tmp_path_factory.mktemp("pgbouncer") / "session.log"
    async with PgBouncer(server, log, pool_mode="session", settings={"default_pool_size": "20"}) as running:
        yield running


@pytest.fixture
def name(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")


@pytest.fixture
def pooled(transaction_pooler: PgBouncer, name: str) -> str:
    return transaction_pooler.engine_dsn(name)


def database(**variables: str) -> Database:
    return Database(settings_from_env(variables, Path("/nonexistent/engine.yaml")))


async def way(node: Running) -> Mapping[str, object]:
    found = node.engine.details()["database"]
    assert isinstance(found, dict)
    return found


async def finished(node: Running, count: int) -> None:
    async def all_ended() -> bool:
        (row,) = await node.rows("SELECT count(*) AS ended FROM workflow_instance WHERE status = 'COMPLETED'")
        return bool(row["ended"] == count)

    await eventually(all_ended, within_s=60)


def complaints(node: Running) -> list[object]:
    return [
        line
        for line in node.log_lines()
        if line["level"] != "INFO" and not line["msg"].startswith(("wake:", "auth: off"))
    ]


# -- what is there


async def test_without_a_pooler_sessions_are_the_engines_own(one: Running) -> None:
    assert await way(one) == {"way": DIRECT, "sessions": True}
    assert sample(one, 'windlass_database_way{way="direct"}') == 1
    assert sample(one, "windlass_database_sessions") == 1
    assert [(line["way"], line["sessions"]) for line in logged(one, "engine: database connected")] == [
        (DIRECT, True)
    ]


@pytest.mark.parametrize(
    ("mode", "claim", "found", "sessions"),
    [
        ("transaction", "auto", TRANSACTION, False),
        ("transaction", "transaction", TRANSACTION, False),
        ("session", "auto", TRANSACTION, False),
        ("session", "session", SESSION, True),
    ],
)
async def test_it_boots_behind_a_pooler_that_is_set_up_for_nothing(
    boot: Boot,
    session_pooler: PgBouncer,
    transaction_pooler: PgBouncer,
    name: str,
    mode: str,
    claim: str,
    found: str,
    sessions: bool,
) -> None:
    pooler = session_pooler if mode == "session" else transaction_pooler
    one = await boot(WE_POSTGRES_DSN=pooler.engine_dsn(name), WINDLASS_POSTGRES_POOLER=claim)
    assert await way(one) == {"way": found, "sessions": sessions}
    assert sample(one, f'windlass_database_way{{way="{found}"}}') == 1
    assert sample(one, 'windlass_database_way{way="direct"}') == 0
    assert sample(one, "windlass_database_sessions") == int(sessions)
    assert [(line["way"], line["sessions"]) for line in logged(one, "engine: database connected")] == [
        (found, sessions)
    ]
    await one.define(service("a", "end"), END)
    instance = await one.start(n=1)
    (job,) = await one.poll("do-a", wait_s=5)
    await one.complete(job, answer=2)
    assert await one.status(instance.id) == "COMPLETED"
    assert await one.variables(instance.id) == {"n": 1, "answer": 2}

    async def listens() -> bool:
        return one.node.wake_ups.is_listening is sessions

    await eventually(listens)
    assert sample(one, "windlass_wake_degraded") == int(not sessions)


async def test_statements_have_names_where_the_pooler_keeps_account_of_them(
    boot: Boot, transaction_pooler: PgBouncer, pooled: str, superuser: asyncpg.Connection
) -> None:
    """PgBouncer does from 1.21 on, and gives them names of its own; before, two of one name were an error."""
    one, two = await boot(WE_POSTGRES_DSN=pooled), await boot(WE_POSTGRES_DSN=pooled)
    program = find_pgbouncer()
    assert program is not None
    maps = pgbouncer_version(program) >= (1, 21)
    for node in (one, two):
        for _ in range(3):
            names = {row["name"] for row in await node.rows("SELECT name FROM pg_prepared_statements")}
            assert all(name.startswith("PGBOUNCER_") for name in names)
    assert bool(names) is maps


# -- under load


async def test_two_engines_share_a_small_pool_and_nothing_fails(boot: Boot, pooled: str) -> None:
    quick = {
        "WE_POSTGRES_DSN": pooled,
        "DB_MAX_CONNS": "10",
        "WINDLASS_LANES": "2",
        "WINDLASS_TIMER_SWEEP_SECONDS": "0.1",
        "WINDLASS_LEASE_SWEEP_SECONDS": "0.1",
        "WINDLASS_NODE_HEARTBEAT_SECONDS": "0.2",
    }
    nodes = [await boot(**quick), await boot(**quick)]
    await nodes[0].define(service("a", "b"), service("b", "end"), END)
    timer = [{"type": "TIMER", "interrupting": True, "duration": "PT0.3S", "targetStepId": "end"}]
    await nodes[0].define(service("late", "end", boundaryEvents=timer), END, id_="timed")
    count = 60
    stopped = asyncio.Event()

    async def work(node: Running, number: int) -> None:
        while not stopped.is_set():
            for job in await node.poll("do-a", "do-b", worker=f"w{number}", wait_s=0.2):
                await node.complete(job, worker=f"w{number}")

    async def lose_one(node: Running) -> JobView:
        """Leased for a moment and never completed: the sweep gives it to another."""
        (job,) = await node.poll("do-a", worker="lost", most=1, lease_s=0.2, wait_s=5)
        return job

    workers: list[asyncio.Task[None]] = []
    try:
        await nodes[0].start()
        await lose_one(nodes[1])
        workers = [asyncio.create_task(work(node, n)) for n in range(3) for node in nodes]
        await asyncio.gather(*(nodes[n % 2].start() for n in range(count)))
        await asyncio.gather(*(nodes[n % 2].start("timed") for n in range(count // 6)))
        await finished(nodes[0], count + 1 + count // 6)
    finally:
        stopped.set()
        await asyncio.gather(*workers)
    for node in nodes:
        assert complaints(node) == []


async def test_a_poll_on_one_node_finds_what_another_has_started_by_looking(boot: Boot, pooled: str) -> None:
    """Also in the wake mode that relies on notifications, which cannot come here."""
    event_driven = {"WE_POSTGRES_DSN": pooled, "WINDLASS_WAKE_MODE": "event_driven"}
    one, two = await boot(**event_driven), await boot(**event_driven)
    await one.define(service("a", "end"), END)
    waiting = asyncio.create_task(two.poll("do-a", wait_s=20))
    await asyncio.sleep(0.3)
    await one.start()
    assert len(await asyncio.wait_for(waiting, 5)) == 1


# -- settings


@pytest.mark.parametrize(
    ("mode", "size"),
    # One server session for all: whoever comes next gets what the engine has left.
    [("transaction", 1), ("session", 3)],
)
async def test_the_roles_settings_do_not_count_and_nothing_leaks_to_a_neighbour(
    server: PostgresServer,
    superuser: asyncpg.Connection,
    tmp_path: Path,
    name: str,
    mode: PoolMode,
    size: int,
) -> None:
    careful = {
        "statement_timeout": "400ms",
        "lock_timeout": "20ms",
        "default_transaction_isolation": "repeatable read",
        "search_path": "nowhere",
    }
    for setting, value in careful.items():
        await superuser.execute(f"ALTER ROLE {ENGINE_ROLE} IN DATABASE {name} SET {setting} = '{value}'")
    try:
        pool = {"default_pool_size": str(size)}
        async with PgBouncer(server, tmp_path / "pooler.log", pool_mode=mode, settings=pool) as pooler:
            await compare_with_neighbour(pooler.engine_dsn(name), claim=mode)
    finally:
        await superuser.execute(f"ALTER ROLE {ENGINE_ROLE} IN DATABASE {name} RESET ALL")


async def compare_with_neighbour(dsn: str, *, claim: str) -> None:
    connect = psycopg.AsyncConnection.connect
    shown = "SELECT name, setting FROM pg_settings ORDER BY name"

    async def settings_of_neighbour() -> dict[str, str]:
        async with await connect(
            dsn, autocommit=True, prepare_threshold=None, application_name="neighbour"
        ) as session:
            found = await (await session.execute(shown)).fetchall()
            names = await (await session.execute("SELECT name FROM pg_prepared_statements")).fetchall()
            # Those are kept account of by the pooler.
            assert [name for (name,) in names if not name.startswith("PGBOUNCER_")] == []
            assert await (await session.execute("SELECT pg_listening_channels()")).fetchall() == []
            locks = await session.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'")
            assert await locks.fetchall() == []
            return {str(name): str(setting) for name, setting in found}

    before = await settings_of_neighbour()
    options = quote("-c search_path=public,pg_catalog -c work_mem=5MB")
    in_dsn = {"search_path": "public, pg_catalog", "work_mem": "5120"}
    engine = database(
        WE_POSTGRES_DSN=f"{dsn}&options={options}", DB_MAX_CONNS="2", WINDLASS_POSTGRES_POOLER=claim
    )
    await engine.open()
    try:
        wanted = {**SESSION_SETTINGS, **in_dsn, "statement_timeout": "11000", "TimeZone": "UTC"}
        del wanted["timezone"]
        for setting in list(wanted):
            # Of these a transaction shows others, or they say nothing in one.
            if claim == "transaction" and setting.startswith(("default_transaction_", "idle_session_")):
                del wanted[setting]
        for _ in range(2):
            rows = await engine.fetch(
                "SELECT name, setting FROM pg_settings WHERE name = ANY ($1)", list(wanted)
            )
            assert {row["name"]: row["setting"] for row in rows} == wanted
            (row,) = await engine.fetch("SELECT current_setting('transaction_isolation'), pg_sleep(0.6)")
            assert row[0] == "read committed"
            async with engine.transaction() as connection:
                await connection.execute("SELECT pg_sleep(0.6)")
            assert await settings_of_neighbour() == before
    finally:
        await engine.close()


# -- a session of its own


async def test_the_session_dsn_gives_notifications_and_the_lock(boot: Boot, pooled: str, dsn: str) -> None:
    variables = {
        "WE_POSTGRES_DSN": pooled,
        "WINDLASS_POSTGRES_SESSION_DSN": dsn,
        "WINDLASS_WAKE_MODE": "event_driven",
    }
    one, two = await boot(**variables), await boot(**variables)
    assert await way(one) == {"way": TRANSACTION, "sessions": True}

    async def listens() -> bool:
        return one.node.wake_ups.is_listening and two.node.wake_ups.is_listening

    await eventually(listens)
    await one.define(service("a", "end"), END)
    await one.node.heartbeat.beat()
    waiting = asyncio.create_task(two.poll("do-a", wait_s=20))
    await asyncio.sleep(0.3)
    await one.start()
    assert len(await asyncio.wait_for(waiting, 5)) == 1


async def test_a_session_dsn_that_gives_none_is_refused_by_name(
    server: PostgresServer, transaction_pooler: PgBouncer, pooled: str, dsn: str
) -> None:
    await server.create_database("elsewhere")
    cases = {
        pooled: r"WINDLASS_POSTGRES_SESSION_DSN leads through a pooler in transaction mode \(.*:\*\*\*@.*point it at",
        server.engine_dsn(
            "elsewhere"
        ): r"WINDLASS_POSTGRES_SESSION_DSN leads to another database .*'elsewhere'.* than "
        "WE_POSTGRES_DSN",
        server.engine_dsn("absent"): r"cannot connect to the database .*check WINDLASS_POSTGRES_SESSION_DSN",
    }
    for session_dsn, told in cases.items():
        found = database(WE_POSTGRES_DSN=pooled, WINDLASS_POSTGRES_SESSION_DSN=session_dsn)
        with pytest.raises(BootRefused, match=told) as refused:
            await found.open()
        assert server.secret not in str(refused.value)
        await found.close()
    await server.drop_database("elsewhere")
    claimed = database(WE_POSTGRES_DSN=pooled, WINDLASS_POSTGRES_POOLER="session")
    with pytest.raises(BootRefused, match="POOLER is session, but the pooler gives each transaction another"):
        await claimed.open()
    await claimed.close()


async def test_a_name_that_moves_to_a_pooler_and_back_is_followed(
    server: PostgresServer, transaction_pooler: PgBouncer, name: str
) -> None:
    ports = Ports()
    port = ports.take()
    found = database(WE_POSTGRES_DSN=server.engine_dsn(name, port), DB_MAX_CONNS="2")
    try:
        for to_pooler in (False, True, False):
            proxy = Proxy(port, transaction_pooler.port if to_pooler else server.port)
            await proxy.open()
            try:
                if found.occupancy()["size"] == 0 and not to_pooler and found.way.value == DIRECT:
                    await found.open()
                # Sessions that the proxy's end has cut are found and replaced one by one.
                for _ in range(3):
                    await found.renew_sessions()
                    (row,) = await found.fetch("SELECT current_setting('statement_timeout') AS most")
                    assert row["most"] == "11s"
                assert found.way.value == (TRANSACTION if to_pooler else DIRECT)
                assert found.has_sessions is not to_pooler
                if to_pooler:
                    with pytest.raises(NoSessions, match="set WINDLASS_POSTGRES_SESSION_DSN"):
                        await found.session("wake")
                else:
                    (await found.session("wake")).terminate()
            finally:
                await proxy.close()
    finally:
        await found.close()
        ports.close()


# -- the relay


@pytest.mark.slow
@pytest.mark.xdist_group("kafka")
async def test_the_relay_is_led_by_the_leaders_row_alone(case: KafkaCase, pooled: str) -> None:
    variables = {"WE_POSTGRES_DSN": pooled, "WINDLASS_LEADER_TERM_SECONDS": "1"}
    first, second = await case.boot(**variables), await case.boot(**variables)
    assert logged(first, "[dispatch] no session for the advisory lock; the leader's row decides alone")
    assert not logged(first, "[dispatch] advisory-lock handshake ok")
    await case.one_step(first)
    await second.start()
    await case.drained(first)
    assert await first.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == []
    (row,) = await first.rows("SELECT holder, epoch, session_pid FROM windlass_leader")
    assert row == {"holder": "node-1", "epoch": 1, "session_pid": None}
    # As if it had stopped without a word: it neither renews nor resigns.
    assert first.node.outbox_mode is not None
    lead = first.node.outbox_mode._lead
    assert lead._task is not None
    lead._task.cancel()

    async def followed() -> bool:
        (row,) = await second.rows("SELECT holder, epoch FROM windlass_leader")
        return bool(row == {"holder": "node-2", "epoch": 2}) and not lead.leads()

    await eventually(followed)
    await second.start()
    await case.drained(second)
    records = await case.broker.records_of(case.topic("a"))
    assert sorted(record.headers["leader-epoch"] for record in records) == [b"1", b"2"]
