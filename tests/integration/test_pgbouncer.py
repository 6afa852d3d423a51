from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from seatrial.cluster import ClusterError
from seatrial.cluster.pgbouncer import NEED, PgBouncer, PoolMode, find_pgbouncer, pgbouncer_version
from seatrial.cluster.postgres import PostgresServer

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(find_pgbouncer() is None, reason=NEED),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    async with PostgresServer(tmp_path_factory.mktemp("postgres") / "postgres.log") as started:
        yield started


async def backend(connection: psycopg.AsyncConnection[tuple[int]]) -> int:
    (pid,) = await (await connection.execute("SELECT pg_backend_pid()")).fetchone() or (0,)
    return pid


async def test_clients_share_a_servers_session_as_the_pool_mode_says(
    server: PostgresServer, tmp_path: Path
) -> None:
    modes: list[tuple[PoolMode, bool]] = [("transaction", True), ("session", False)]
    for mode, is_shared in modes:
        async with PgBouncer(server, tmp_path / f"{mode}.log", pool_mode=mode) as pooler:
            connect = psycopg.AsyncConnection.connect
            async with (
                await connect(pooler.engine_dsn(), autocommit=True) as one,
                await connect(pooler.engine_dsn(), autocommit=True) as other,
            ):
                assert (await backend(one) == await backend(other)) is is_shared
                # What tells the engine that a pooler is in between.
                assert await backend(one) != one.info.backend_pid
            (pool,) = [row for row in await pooler.console("SHOW POOLS") if row["user"] == "windlass"]
            assert pool["pool_mode"] == mode


async def test_it_asks_for_the_password_and_tells_it_nobody(server: PostgresServer, tmp_path: Path) -> None:
    async with PgBouncer(server, tmp_path / "pooler.log") as pooler:
        with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
            await psycopg.AsyncConnection.connect(pooler.engine_dsn().replace(server.secret, "guessed"))
        async with await psycopg.AsyncConnection.connect(pooler.engine_dsn()) as connection:
            await backend(connection)
        assert "login attempt" in pooler.log_path.read_text()
        assert server.secret not in pooler.log_path.read_text()


async def test_it_is_usable_again_after_a_restart_and_a_kill(server: PostgresServer, tmp_path: Path) -> None:
    pooler = PgBouncer(server, tmp_path / "pooler.log", settings={"default_pool_size": "1"})
    try:
        await pooler.start()
        port = pooler.port
        connection = await psycopg.AsyncConnection.connect(pooler.engine_dsn(), autocommit=True)
        await backend(connection)
        await pooler.restart()
        with pytest.raises(psycopg.OperationalError):
            await backend(connection)
        await connection.close()
        await pooler.kill()
        assert not pooler.running
        with pytest.raises(psycopg.OperationalError):
            await psycopg.AsyncConnection.connect(pooler.engine_dsn())
        await pooler.start()
        assert pooler.port == port
        async with await psycopg.AsyncConnection.connect(pooler.engine_dsn(), autocommit=True) as again:
            await backend(again)
        assert (await pooler.console("SHOW CONFIG"))[0]
    finally:
        await pooler.close()
        await pooler.close()


async def test_what_it_refuses_is_told_with_its_log(server: PostgresServer, tmp_path: Path) -> None:
    pooler = PgBouncer(server, tmp_path / "pooler.log", settings={"default_pool_size": "many"})
    try:
        with pytest.raises(ClusterError, match=r"(?s)did not start: it exited with 1;.*default_pool_size"):
            await pooler.start()
        with pytest.raises(ClusterError, match="refused SHOW POOLS"):
            await pooler.console("SHOW POOLS")
    finally:
        await pooler.close()


async def test_the_version_of_another_program_is_an_error(tmp_path: Path) -> None:
    program = find_pgbouncer()
    assert program is not None
    assert pgbouncer_version(program) >= (1, 18)
    with pytest.raises(ClusterError, match="does not say which version"):
        pgbouncer_version("/bin/true")
