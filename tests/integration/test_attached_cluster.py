import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from seatrial.cluster import ClusterError, ClusterSpec, MissingAbility
from seatrial.cluster.ability import Kill
from seatrial.cluster.attach.cluster import AttachedCluster
from seatrial.cluster.backends import BACKENDS
from seatrial.cluster.local.cluster import LocalCluster
from seatrial.cluster.options import Options
from seatrial.drill import run
from seatrial.drills import CATALOGUE
from seatrial.environment import Environment
from seatrial.history import History
from seatrial.verdict import Outcome


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """An endpoint that is alive from its second look on."""
    looks = 0

    async def healthz(_: web.Request) -> web.Response:
        nonlocal looks
        looks += 1
        return web.Response(status=200 if looks > 1 else 503)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_it_waits_until_the_addresses_are_alive_and_has_no_ability(url: str) -> None:
    attached = AttachedCluster([url + "/", url])
    await asyncio.wait_for(attached.up(), 10)
    assert [(replica.name, replica.rest_url) for replica in attached.replicas()] == [
        ("replica-0", url),
        ("replica-1", url),
    ]
    assert attached.spec.replicas == 2
    options = Options(1, Path(), backend="attach", attach=(url,))
    assert attached.abilities == BACKENDS["attach"].abilities(options) == frozenset()
    with pytest.raises(MissingAbility, match="an attached cluster does not have the ability Kill"):
        attached.ability(Kill)
    await attached.down()
    await attached.up()


async def test_an_endpoint_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seatrial.cluster.attach.cluster.ALIVE_WITHIN_S", 0.1)
    with pytest.raises(
        ClusterError, match=r"127.0.0.1:1/healthz is not alive after 0.1 s: .*; start the engine"
    ):
        await AttachedCluster(["http://127.0.0.1:1"]).up()


async def test_grpc_addresses_belong_to_the_urls_in_their_order(url: str) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    attached = AttachedCluster([url, url], [address, address])
    await asyncio.wait_for(attached.up(), 10)
    assert [replica.grpc_address for replica in attached.replicas()] == [address, address]
    server.close()
    await server.wait_closed()


async def test_a_grpc_address_where_nobody_listens_is_named(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached = AttachedCluster([url], ["127.0.0.1:1"])
    monkeypatch.setattr("seatrial.cluster.attach.cluster.ALIVE_WITHIN_S", 1.0)
    with pytest.raises(
        ClusterError,
        match=r"nobody listens at 127.0.0.1:1 after 1 s: .*; start the engine or correct --attach-grpc",
    ):
        await attached.up()


@pytest.mark.slow
async def test_engines_that_speak_tls_are_verified_by_their_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over both transports, and with a token."""
    spec = ClusterSpec(1, folder=tmp_path / "engines", tls=True, token="wdl_" + "4f" * 20)
    running = LocalCluster(spec)
    try:
        await running.up()
        (replica,) = running.replicas()
        options = Options(
            7, tmp_path / "report", backend="attach", attach=(replica.rest_url,), transport="both",
            attach_grpc=(str(replica.grpc_address),), token=spec.token, ca_file=Path(str(replica.ca_file)),
        )  # fmt: skip
        async with Environment(options) as environment:
            result = await run(CATALOGUE["smoke"], environment)
        assert result.outcome is Outcome.PASS, (result.notes, result.verdicts)
        header = History.load(tmp_path / "report/smoke").header
        assert (header.tls, header.principal) == (True, "")
        monkeypatch.setattr("seatrial.cluster.attach.cluster.ALIVE_WITHIN_S", 1.0)
        with pytest.raises(ClusterError, match="certificate verify failed"):
            await AttachedCluster([replica.rest_url]).up()
    finally:
        await running.down()


async def test_a_run_asks_the_endpoints_before_its_first_drill(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("seatrial.cluster.attach.cluster.ALIVE_WITHIN_S", 1.0)
    for attach, is_there in (((url,), True), ((url, "http://127.0.0.1:1"), False)):
        async with Environment(Options(1, tmp_path, backend="attach", attach=attach)) as environment:
            if is_there:
                await environment.check()
            else:
                with pytest.raises(ClusterError, match=r"127.0.0.1:1/healthz is not alive"):
                    await environment.check()
            cluster = await environment.cluster(tmp_path, replicas=7, values={})
            assert cluster.spec == ClusterSpec(len(attach), folder=tmp_path)


@pytest.mark.parametrize("address", ["", "http://h:1", "h", "h:0", "h:x", "h:1/path", "user@h:1", ":1"])
def test_what_is_no_grpc_address_is_refused(address: str) -> None:
    with pytest.raises(
        ClusterError, match="is not the gRPC address of an engine; give HOST:PORT, without a scheme"
    ):
        AttachedCluster(["http://h:1"], [address])


def test_every_url_needs_its_grpc_address() -> None:
    with pytest.raises(
        ClusterError, match="1 gRPC addresses for 2 URLs; give one for each, in the same order"
    ):
        AttachedCluster(["http://h:1", "http://h:2"], ["h:3"])


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://host:1", "http://", "http://h:0", "http://h:x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ClusterError, match="is not the address of an engine; give http://HOST:PORT"):
        AttachedCluster([url])


def test_no_address_is_refused() -> None:
    with pytest.raises(ClusterError, match="no URL to attach to"):
        AttachedCluster([])
