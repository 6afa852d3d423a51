"""What PostgreSQL may refuse now and do a moment later is tried again or answered 503, whatever its settings are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from nodes import END, Boot, Running, service

from patience import eventually
from seatrial.cluster.postgres import ENGINE_ROLE
from windlass.errors import Defect, Unavailable
from windlass.store import apply
from windlass.store.leadership import LeaderSession
from windlass.store.session import SessionFailed

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROLE_SETTINGS = {
    "statement_timeout": "50ms",
    "lock_timeout": "20ms",
    "default_transaction_isolation": "repeatable read",
    "default_transaction_deferrable": "on",
    "idle_session_timeout": "100ms",
    "transaction_timeout": "60ms",
}
IN_ITS_LOCK_WAIT = (
    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() "
    "AND application_name = 'windlass/node-1/engine'"
)


@pytest.fixture
def name(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")


@pytest_asyncio.fixture(loop_scope="session")
async def strict_role(superuser: asyncpg.Connection, name: str) -> AsyncIterator[None]:
    """The engine's role as a careful administrator has set it up for everybody."""
    is_new = superuser.get_server_version().major >= 17
    for setting, value in ROLE_SETTINGS.items():
        if is_new or setting != "transaction_timeout":
            await superuser.execute(f"ALTER ROLE {ENGINE_ROLE} IN DATABASE {name} SET {setting} = '{value}'")
    yield
    await superuser.execute(f"ALTER ROLE {ENGINE_ROLE} IN DATABASE {name} RESET ALL")


class HeldRow:
    """An instance whose row somebody else has locked."""

    def __init__(self, one: Running, superuser: asyncpg.Connection) -> None:
        self._one = one
        self._superuser = superuser

    async def __call__(self, during: Callable[[asyncio.Task[Any]], Awaitable[None]]) -> str:
        """The status of the instance, cancelled by a call that has to wait for the row until `during` is over."""
        await self._one.define(service("a", "end"), END)
        instance = await self._one.start()
        async with self._superuser.transaction():
            await self._superuser.execute(
                "SELECT 1 FROM workflow_instance WHERE id = $1 FOR UPDATE", instance.id
            )
            call = asyncio.create_task(self._one.engine.cancel_instance(instance.id, reason="late"))
            await during(call)
        await asyncio.wait_for(call, 10)
        return await self._one.status(instance.id)


@pytest.mark.usefixtures("strict_role")
async def test_the_roles_settings_do_not_reach_the_engines_sessions(
    boot: Boot, superuser: asyncpg.Connection
) -> None:
    one = await boot()

    async def wait(call: asyncio.Task[Any]) -> None:
        await asyncio.sleep(0.4)
        assert not call.done()

    assert await HeldRow(one, superuser)(wait) == "CANCELLED"
    assert len(await one.rows("SELECT pg_sleep(0.2)")) == 1
    session = await one.database.session("test")
    for setting in ("lock_timeout", "idle_session_timeout", "transaction_timeout"):
        for row in (
            *await one.rows("SELECT setting FROM pg_settings WHERE name = $1", setting),
            await session.fetch_row("SELECT setting FROM pg_settings WHERE name = $1", setting),
        ):
            assert row is None or row["setting"] == "0", setting
    (row,) = await one.rows(
        "SELECT current_setting('transaction_isolation') AS isolation, current_setting('statement_timeout') AS most"
    )
    assert row == {"isolation": "read committed", "most": "11s"}
    session.terminate()


async def test_the_dsns_time_outs_are_the_operators_wish_but_not_for_migrations(boot: Boot, dsn: str) -> None:
    one = await boot(WE_POSTGRES_DSN=f"{dsn}&statement_timeout=7s&lock_timeout=3s")
    shown = (
        "SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock"
    )
    assert await one.rows(shown) == [{"statement": "7s", "lock": "3s"}]
    session = await one.database.session("migrate")
    assert dict(await session.fetch_row(shown) or {}) == {"statement": "0", "lock": "0"}
    session.terminate()


async def test_a_command_whose_statement_an_operator_cancels_is_tried_again(
    one: Running, superuser: asyncpg.Connection, dsn: str
) -> None:
    operator = await asyncpg.connect(dsn)

    async def cancel(call: asyncio.Task[Any]) -> None:
        async def waiting() -> list[Any]:
            return list(await operator.fetch(IN_ITS_LOCK_WAIT))

        for _ in range(2):
            (row,) = await eventually(waiting)
            assert await operator.fetchval("SELECT pg_cancel_backend($1)", row["pid"])
            await asyncio.sleep(0.03)
        await eventually(waiting)
        assert not call.done()

    assert await HeldRow(one, superuser)(cancel) == "CANCELLED"
    await operator.close()


async def test_a_read_that_is_cancelled_is_unavailable(one: Running, superuser: asyncpg.Connection) -> None:
    read = asyncio.create_task(one.database.fetch("SELECT pg_sleep(9)"))

    async def cancelled() -> list[Any]:
        return list(
            await superuser.fetch(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = $1 AND state = 'active' "
                "AND datname = current_database()",
                "SELECT pg_sleep(9)",
            )
        )

    async def ended() -> bool:
        # One that comes while the statement is only being prepared has no effect.
        await cancelled()
        return read.done()

    await eventually(ended, every_s=0.1)
    with pytest.raises(Unavailable, match=r"could not carry this out now \(QueryCanceledError"):
        await read


async def test_a_missing_right_is_named_and_is_not_called_a_defect_of_ours(
    one: Running, superuser: asyncpg.Connection
) -> None:
    await superuser.execute("CREATE TABLE theirs (a int)")
    with pytest.raises(
        Defect, match=r"role of WE_POSTGRES_DSN may not do this .*permission denied.*theirs.*grant"
    ):
        await one.rows("SELECT * FROM theirs")


async def test_a_batch_that_stays_refused_is_answered_as_one(
    boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one, each command would wait as long again as the batch has."""
    one = await boot(WINDLASS_LANES="1", WINDLASS_DATABASE_TIMEOUT_SECONDS="0.5")
    await one.define(service("a", "end"), END)

    async def deadlocks(*_: object) -> None:
        raise asyncpg.DeadlockDetectedError("deadlock detected")

    monkeypatch.setattr(apply.Transactor, "run", deadlocks)
    began = time.monotonic()
    answers = await asyncio.gather(*(one.start(n=n) for n in range(20)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {Unavailable}
    assert time.monotonic() - began < 4


@pytest.mark.slow
async def test_rows_that_a_node_holds_which_is_cut_off_in_a_transaction_are_free_in_time(boot: Boot) -> None:
    """Calls at another node wait for them, and every call that joins the same batch does."""
    cut_off, other = await boot(), await boot(WINDLASS_NODE_NAME="node-2")
    await other.define(service("a", "end"), END)
    instance = await other.start()
    async with cut_off.database.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("SELECT FROM workflow_instance WHERE id = $1 FOR UPDATE", instance.id)
        began = time.monotonic()
        await other.engine.cancel_instance(instance.id, reason="now")
        assert time.monotonic() - began < 3.5


# -- no writes


async def test_a_database_that_is_switched_to_read_only_is_not_ready_until_it_is_switched_back(
    boot: Boot, superuser: asyncpg.Connection, name: str
) -> None:
    """ALTER DATABASE reaches new sessions only; readiness and the calls follow it all the same."""
    one = await boot(WINDLASS_DATABASE_TIMEOUT_SECONDS="1")
    await one.define(service("a", "end"), END)
    instance = await one.start()
    assert (await one.engine.readiness()).ready
    for switch in (f"DATABASE {name}", f"ROLE {ENGINE_ROLE} IN DATABASE {name}"):
        await superuser.execute(f"ALTER {switch} SET default_transaction_read_only = on")
        await asyncio.sleep(0.5)
        told = await one.engine.readiness()
        assert not told.ready
        (reason,) = told.reasons
        assert "takes no writes: default_transaction_read_only is on" in reason
        assert "RESET default_transaction_read_only" in reason
        with pytest.raises(Unavailable, match="the database takes no writes"):
            await one.start()
        assert await one.status(instance.id) == "ACTIVE", "reads go on"
        await superuser.execute(f"ALTER {switch} RESET default_transaction_read_only")
        await asyncio.sleep(0.5)
        assert (await one.engine.readiness()).ready
        assert (await one.start()).status == "ACTIVE"
    assert [line["msg"] for line in one.log_lines() if line["msg"].startswith("database: ")] == [
        "database: unreachable",
        "database: reachable again",
    ] * 2


async def test_one_write_that_is_refused_as_read_only_replaces_all_sessions(one: Running) -> None:
    """Those beside it lead to the same server, and would go on answering reads."""

    async def pids() -> set[int]:
        found = await asyncio.gather(
            *(one.rows("SELECT pg_backend_pid() AS pid, pg_sleep(0.2)") for _ in range(4))
        )
        return {row["pid"] for (row,) in found}

    before = await pids()
    assert len(before) == 4

    async def write_in_vain() -> None:
        async with one.database.transaction() as connection:
            await connection.execute("SET TRANSACTION READ ONLY")
            await connection.execute("UPDATE job SET status = status")

    with pytest.raises(Unavailable, match="the database takes no writes"):
        await write_in_vain()
    assert not before & await pids()


async def test_a_lead_that_a_read_only_database_refuses_is_no_matter_of_rights(
    one: Running, superuser: asyncpg.Connection, name: str
) -> None:
    await superuser.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    session = await LeaderSession.open(one.database, within_s=5.0, answer_within_s=5.0, ended=lambda: None)
    with pytest.raises(SessionFailed, match="ReadOnlySQLTransactionError") as refused:
        await session.take("one", 30.0)
    assert "point WE_POSTGRES_DSN at the primary" in refused.value.remedy
    session.terminate()


async def test_a_dsn_that_insists_on_writing_stays_ready(
    boot: Boot, superuser: asyncpg.Connection, name: str, dsn: str
) -> None:
    await superuser.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    one = await boot(WE_POSTGRES_DSN=f"{dsn}&options=-c%20default_transaction_read_only%3Doff")
    for _ in range(2):
        assert (await one.engine.readiness()).ready
        await asyncio.sleep(0.5)


async def test_a_poll_of_a_database_that_refuses_waits_its_time_out(
    boot: Boot, superuser: asyncpg.Connection, name: str
) -> None:
    """Its worker would come again at once: ten of them made thousands of calls and a megabyte of log."""
    one = await boot(WINDLASS_DATABASE_TIMEOUT_SECONDS="1")
    await one.define(service("a", "end"), END)
    await superuser.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await asyncio.sleep(0.5)
    assert not (await one.engine.readiness()).ready
    began = time.monotonic()
    polls = [asyncio.create_task(one.poll("do-a", worker=f"w{n}", wait_s=1.5)) for n in range(10)]
    refused = await asyncio.gather(*polls, return_exceptions=True)
    assert {type(each) for each in refused} == {Unavailable}
    assert time.monotonic() - began >= 1.4
    told = [line for line in one.log_lines() if line["msg"] == "database: unreachable"]
    assert len(told) <= 3
    with pytest.raises(Unavailable):
        await one.poll("do-a")

    waiting = asyncio.create_task(one.poll("do-a", wait_s=20))
    await eventually(lambda: one.node.polls.parked == 1)
    await superuser.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await eventually(lambda: started(one))
    (job,) = await asyncio.wait_for(waiting, 10)
    assert job.job_type == "do-a"


async def started(one: Running) -> bool:
    try:
        await one.start()
    except Unavailable:
        return False
    return True


async def test_a_poll_that_the_database_refuses_is_answered_when_the_node_stops(
    boot: Boot, superuser: asyncpg.Connection, name: str
) -> None:
    one = await boot(WINDLASS_DATABASE_TIMEOUT_SECONDS="1")
    await superuser.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await asyncio.sleep(0.5)
    assert not (await one.engine.readiness()).ready
    waiting = asyncio.create_task(one.poll("do-a", wait_s=20))
    await eventually(lambda: one.node.polls.parked == 1)
    assert "cannot execute UPDATE" in str(one.log_lines()[-1])
    one.node.polls.stop()
    assert await asyncio.wait_for(waiting, 3) == []
    await superuser.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
