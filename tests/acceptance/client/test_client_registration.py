"""A worker of the client is on the engine's list while it works, and works just as well where there is none."""

from __future__ import annotations

import asyncio
import logging
import secrets

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from doors import Doors
from workflow import END, Json, document, service

from patience import eventually
from windlass_client import BadRequest, Client, Job, NotFound, Worker
from windlass_client.registration import Registration

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("client")]


async def nothing(_job: Job) -> None:
    return None


async def listed(doors: Doors, worker_id: str) -> Json | None:
    items: list[Json] = (await doors.engine.get("/v1/workers?pageSize=200")).json["items"]
    return next((worker for worker in items if worker["id"] == worker_id), None)


async def test_a_worker_is_listed_until_it_has_finished(doors: Doors) -> None:
    id = f"r-{secrets.token_hex(6)}"
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work(_job: Job) -> None:
        begun.set()
        await go_on.wait()

    async with Client(doors.rest) as client:
        await client.upload(document(id, service("a"), END))
        worker = Worker(client, {f"{id}.a": work, "other": nothing}, concurrency=7, version="1.4.0")
        async with worker:

            async def there() -> Json | None:
                return await listed(doors, worker.worker_id)

            await eventually(there)
            found = await there()
            assert found is not None
            assert (found["jobTypes"], found["capacity"], found["version"], found["state"]) == (
                [f"{id}.a", "other"],
                7,
                "1.4.0",
                "ALIVE",
            )
            instance = await client.start(id)
            await asyncio.wait_for(begun.wait(), 20)
            worker.stop()
            await asyncio.sleep(0.2)
            assert await there(), "it still has a job in hand"
            go_on.set()
        assert await there() is None
        assert (await client.get(instance.id)).is_final


async def test_it_need_not_be_listed(doors: Doors) -> None:
    async with Client(doors.rest) as client:
        worker = Worker(client, {"t": nothing}, register=False)
        async with worker:
            await asyncio.sleep(0.5)
            assert await listed(doors, worker.worker_id) is None


async def test_over_grpc_it_works_unlisted_and_says_nothing(
    doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    id = f"r-{secrets.token_hex(6)}"
    async with Client(doors.grpc) as client:
        await client.upload(document(id, service("a"), END))
        worker = Worker(client, {f"{id}.a": nothing})
        with caplog.at_level(logging.INFO, "windlass_client"):
            async with worker:
                await client.wait_for_end((await client.start(id)).id, timeout_s=30)
                assert await listed(doors, worker.worker_id) is None
        assert [record.message for record in caplog.records if "regist" in record.message] == []
        for call in (
            client.register_worker("w", ["t"]),
            client.worker_heartbeat("w"),
            client.unregister_worker("w"),
        ):
            with pytest.raises(NotFound, match="gRPC has no registration of workers"):
                await call


async def test_a_heartbeat_keeps_it_alive_and_one_that_was_taken_off_registers_again(doors: Doors) -> None:
    worker_id = f"w-{secrets.token_hex(6)}"
    async with Client(doors.rest) as client:
        registration = Registration(client, worker_id, ["t"], version="", capacity=1, heartbeat_s=1)
        registration.start()
        await eventually(lambda: listed(doors, worker_id))
        first = await listed(doors, worker_id)
        assert first is not None

        async def seen_again() -> bool:
            now = await listed(doors, worker_id)
            return now is not None and now["lastSeenAt"] > first["lastSeenAt"]

        await eventually(seen_again)
        assert (await listed(doors, worker_id) or {})["registeredAt"] == first["registeredAt"]
        await client.unregister_worker(worker_id)
        await eventually(lambda: listed(doors, worker_id))
        await registration.stop()
        assert await listed(doors, worker_id) is None
        await registration.stop()


async def test_what_the_engine_refuses_to_list_works_all_the_same(
    doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    id = f"r-{secrets.token_hex(6)}"
    async with Client(doors.rest) as client:
        with pytest.raises(BadRequest, match="id has 300 characters"):
            await client.register_worker("w" * 300, ["t"])
        await client.upload(document(id, service("a"), END))
        async with Worker(client, {f"{id}.a": nothing}, worker_id="w" * 300):
            await client.wait_for_end((await client.start(id)).id, timeout_s=30)
        assert "is not registered: " in caplog.text


async def test_an_engine_that_has_no_such_list_is_asked_once(caplog: pytest.LogCaptureFixture) -> None:
    """As Rochallor answers a path that it does not know."""
    asked = []

    async def unknown(request: web.BaseRequest) -> web.Response:
        asked.append((request.method, request.path))
        return web.Response(status=404, text="404 page not found\n")

    async with RawTestServer(unknown) as server, Client(str(server.make_url("/"))) as client:
        registration = Registration(client, "w", ["t"], version="", capacity=1, heartbeat_s=1)
        registration.start()
        await eventually(lambda: asked)
        await asyncio.sleep(1.5)
        await registration.stop()
    assert asked == [("POST", "/v1/workers")]
    assert caplog.records == []
