"""What the client repeats when nobody answers, and what it sends once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from doors import Doors
from engine_process import RunWindlass
from workflow import END, document, service, wait

from seatrial.cluster.port import Ports
from seatrial.cluster.postgres import PostgresServer
from seatrial.cluster.proxy import Proxy
from windlass_client import (
    Client,
    NotFound,
    Overdue,
    Unanswered,
    Unavailable,
    Unreachable,
)

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("client")]

MEND_AFTER_S = 0.5
ONCE_S = 0.0
PATIENT_S = 60.0


@pytest_asyncio.fixture(loop_scope="session")
async def line(address: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A line to the engine that can be cut, and the address at its near end."""
    url = urlsplit(address)
    assert url.port is not None
    ports = Ports()
    proxy = Proxy(ports.take(), url.port)
    await proxy.open()
    yield proxy, f"{url.scheme}://127.0.0.1:{proxy.port}"
    await proxy.close()
    ports.close()


async def mended_later(proxy: Proxy) -> None:
    await asyncio.sleep(MEND_AFTER_S)
    await proxy.mend()


async def test_reads_uploads_and_ends_of_jobs_are_repeated(client: Client, line: tuple[Proxy, str]) -> None:
    proxy, address = line
    definition = document(f"r-{secrets.token_hex(6)}", service("a"), END)
    async with Client(address, retry_for_s=PATIENT_S) as far:
        await far.upload(definition)
        begun = await far.start(definition["id"])
        (job,) = await far.poll("me", [f"{definition['id']}.a"], lease_s=600, wait_s=10)
        for call in (
            lambda: far.upload(definition),
            lambda: far.get(begun.id),
            lambda: far.history(begun.id),
            lambda: far.complete(job, {"done": True}),
        ):
            await proxy.cut("refuse")
            mending = asyncio.create_task(mended_later(proxy))
            await call()
            assert mending.done(), "it was answered through a line that was cut"
            await mending
    assert (await client.get(begun.id)).variables == {"done": True}


async def test_a_completion_whose_answer_was_lost_is_sent_again_and_counts_once(
    client: Client, line: tuple[Proxy, str]
) -> None:
    proxy, address = line
    definition = document(f"r-{secrets.token_hex(6)}", service("a"), END)
    await client.upload(definition)
    begun = await client.start(definition["id"])
    async with Client(address, timeout_s=1.0, retry_for_s=PATIENT_S) as far:
        (job,) = await far.poll("me", [f"{definition['id']}.a"], lease_s=600, wait_s=10)
        await proxy.cut("half-open")
        completing = asyncio.create_task(far.complete(job, {"done": True}))
        ended = await client.wait_for_end(begun.id, timeout_s=20)
        assert not completing.done()
        await proxy.mend()
        await completing
    assert await client.get(begun.id) == ended
    assert [each.step_id for each in await client.history(begun.id)] == ["a", "end"]


async def test_a_start_is_sent_once_and_its_loss_is_told(
    doors: Doors, client: Client, line: tuple[Proxy, str]
) -> None:
    proxy, address = line
    definition = document(f"r-{secrets.token_hex(6)}", wait("w"), END)
    await client.upload(definition)
    async with Client(address, timeout_s=1.0, retry_for_s=PATIENT_S) as far:
        await far.get((await far.start(definition["id"])).id)
        await proxy.cut("half-open")
        with pytest.raises(Overdue) as error:
            await far.start(definition["id"])
        assert error.value.code == "overdue"
    listed = (await doors.engine.get(f"/v1/instances?definitionId={definition['id']}")).json
    assert listed["total"] == 2, "the one that was lost on its way back happened all the same"


async def test_nobody_there(line: tuple[Proxy, str]) -> None:
    proxy, address = line
    await proxy.cut("refuse")
    async with Client(address, retry_for_s=ONCE_S) as far:
        with pytest.raises(Unanswered) as error:
            await far.get("x")
    assert isinstance(error.value, Unreachable if address.startswith("http") else Unavailable)


async def test_a_refusal_is_not_repeated(doors: Doors) -> None:
    async with Client(doors.rest, retry_for_s=PATIENT_S) as client:
        async with asyncio.timeout(PATIENT_S / 2):
            with pytest.raises(NotFound):
                await client.get("nowhere")


async def test_a_scheduler_is_unavailable_and_a_stranger_is_quoted(
    windlass: RunWindlass, server: PostgresServer, dsn: str
) -> None:
    process, stranger = await windlass.serving("scheduler", WE_POSTGRES_DSN=dsn)
    async with Client(process.rest_url, retry_for_s=ONCE_S) as client:
        with pytest.raises(Unavailable, match="scheduler"):
            await client.get("x")
    # Another server altogether: its answers are no answers of an engine.
    async with Client(stranger.metrics_url, retry_for_s=ONCE_S) as client:
        with pytest.raises(NotFound, match="page not found"):
            await client.get("x")
