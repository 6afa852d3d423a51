from pathlib import Path

import pytest

from seatrial.cluster import ClusterError
from seatrial.cluster.redis import NEED, RedisServer, find_redis

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(find_redis() is None, reason=NEED),
]


async def test_it_answers_every_kind_of_value(tmp_path: Path) -> None:
    async with RedisServer(tmp_path / "redis.log") as server:
        assert await server.ask("PING") == "PONG"
        assert await server.ask("RPUSH", "list", "a", "b c", "\u00e4") == 3
        assert await server.ask("LRANGE", "list", "0", "-1") == ["a", "b c", "\u00e4"]
        assert await server.ask("GET", "absent") is None
        with pytest.raises(ClusterError, match="Redis refused: ERR unknown command"):
            await server.ask("NONSENSE")
        assert server.url(7) == "redis://127.0.0.1:7"


async def test_it_asks_for_its_password_and_tells_it_nobody(tmp_path: Path) -> None:
    async with RedisServer(tmp_path / "redis.log", password="hunter two") as server:
        assert await server.ask("PING") == "PONG"
        assert server.url() == f"redis://:hunter%20two@127.0.0.1:{server.port}"
        server._password = ""
        with pytest.raises(ClusterError, match="NOAUTH"):
            await server.ask("PING")
        assert "hunter" not in server.log_path.read_text()


async def test_it_is_usable_again_after_a_stop_and_a_kill(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis.log")
    try:
        await server.start()
        port = server.port
        for end in (server.stop, server.kill):
            await end()
            assert not server.running
            with pytest.raises(ClusterError, match="Redis does not answer PING"):
                await server.ask("PING")
            await server.start()
            await server.start()
            assert (await server.ask("PING"), server.port) == ("PONG", port)
    finally:
        await server.close()
        await server.close()


async def test_what_it_was_told_wrong_is_said_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"(?s)Redis did not start: it exited with 1.*Bad directive"):
        async with RedisServer(tmp_path / "redis.log", settings={"no-such-word": "1"}):
            pass
