"""Callers that verify a certificate, and the files of one that change as a mounted Secret does."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from small_grpc_engine import SmallGrpcEngine

from seatrial.client import TRANSPORTS, RecordingClient
from seatrial.cluster.certificate import new_authority
from seatrial.cluster.mounted_certificate import MountedCertificate
from seatrial.cluster.probe import failure, ill_health
from seatrial.history import History, Recorder, RunHeader
from seatrial.observe.certificates import CertificateSampler, doors_of, shown
from seatrial.observe.metrics import scrape
from seatrial.render import Probe


@pytest.fixture
def certificate(tmp_path: Path) -> MountedCertificate:
    return MountedCertificate(tmp_path / "tls", ["localhost"], ["127.0.0.1"])


@pytest.fixture
async def engine(certificate: MountedCertificate) -> AsyncIterator[SmallGrpcEngine]:
    engine = SmallGrpcEngine()
    engine.certificate = certificate
    async with engine:
        yield engine


def _loads(certificate: MountedCertificate) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            certificate.certificate_file, certificate.key_file
        )
    except ssl.SSLError:
        return False
    return True


def test_files_change_by_a_swap_of_links(certificate: MountedCertificate, tmp_path: Path) -> None:
    folder, first = tmp_path / "tls", certificate.serial
    links = {path.name: path.readlink() for path in folder.iterdir() if path.is_symlink()}
    before = certificate.certificate_file.resolve()
    assert _loads(certificate)
    renewed = certificate.renew()
    assert renewed not in {first, ""}
    assert certificate.serial == renewed
    assert _loads(certificate)
    assert certificate.certificate_file.resolve() != before
    assert not before.exists(), "the version before is gone"
    after = {path.name: path.readlink() for path in folder.iterdir() if path.is_symlink()}
    assert {name for name in links if links[name] != after[name]} == {"..data"}
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("tls.key")} == {0o600}
    certificate.remove()
    assert not folder.exists()


def test_a_spoilt_one_does_not_load_until_the_next_renewal(certificate: MountedCertificate) -> None:
    good = certificate.serial
    assert certificate.spoil() != good
    assert certificate.serial == good
    assert not _loads(certificate)
    certificate.renew()
    assert _loads(certificate)


@pytest.mark.parametrize("transport", ["rest", "grpc"])
async def test_a_client_verifies_the_engine(engine: SmallGrpcEngine, tmp_path: Path, transport: str) -> None:
    recorder = Recorder(tmp_path)
    stranger = new_authority("Somebody else").write(tmp_path / "stranger.pem")
    for ca_file, outcome in ((engine.ca_file, "ok"), (str(stranger), "fail"), (None, "fail")):
        replica = replace(engine.replica, ca_file=ca_file)
        async with RecordingClient(
            "client-0", [replica], recorder, random.Random(1), transports=TRANSPORTS[transport]
        ) as client:
            answer = await client.start("loan", {})
        assert (answer.outcome, answer.ok) == (outcome, ca_file == engine.ca_file), answer
        assert answer.refused is not answer.ok, "a call that was never sent may be made elsewhere"
    recorder.close()


async def test_probes_take_any_certificate_as_a_kubelet_does(engine: SmallGrpcEngine) -> None:
    async def is_well(_request: web.Request, _body: object) -> web.Response:
        return web.Response()

    engine.script = is_well
    async with aiohttp.ClientSession() as session:
        probe = Probe("/ready", engine.port, 1, 1, 1, 0, "HTTPS")
        assert await failure(session, probe) is None
        assert await failure(session, replace(probe, scheme="HTTP"))
        assert await ill_health(session, engine.replica, within_s=2.0) is None
        assert await ill_health(session, replace(engine.replica, ca_file=None), within_s=2.0)


async def test_metrics_are_read_over_tls_and_with_the_token(engine: SmallGrpcEngine) -> None:
    seen: list[str | None] = []

    async def metrics(request: web.Request, _body: object) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(text="up 1\n")

    engine.script = metrics
    async with aiohttp.ClientSession() as session:
        assert await scrape(session, replace(engine.replica, token="t"), within_s=2.0) == {"up": 1.0}
        assert await scrape(session, replace(engine.replica, ca_file=None), within_s=2.0) is None
    assert seen == ["Bearer t"]


async def test_what_each_door_shows_is_recorded_as_it_changes(
    engine: SmallGrpcEngine, certificate: MountedCertificate, tmp_path: Path
) -> None:
    first = certificate.serial
    doors = doors_of([engine.replica])
    assert [door.name for door in doors] == ["rest", "grpc", "metrics"]
    assert doors_of([replace(engine.replica, rest_url="http://127.0.0.1:1")]) == []
    assert await asyncio.gather(*map(shown, doors)) == [(first, "")] * 3
    recorder = Recorder(tmp_path)
    recorder.info("harness", "run", {**_HEADER})
    sampler = CertificateSampler([engine.replica], recorder)
    await sampler.look()
    await sampler.look()
    certificate.renew()
    await engine.close_grpc()
    await sampler.look()
    await engine.open_grpc()
    await sampler.look(records_all=True)
    recorder.close()
    rows = [op.value for op in History.load(tmp_path).ops if op.f == "certificate"]
    told = [(row["door"], row["serial"]) for row in rows]
    assert told == [
        *[(door.name, first) for door in doors],
        ("grpc", None),
        *[(door.name, certificate.serial if door.name == "grpc" else first) for door in doors],
    ]
    assert "refused" in rows[3]["cause"].lower() or "connect" in rows[3]["cause"].lower()


_HEADER = {
    field: getattr(RunHeader("U11", 1, 1, "local", "", "2026-01-01T00:00:00Z", (), {}), field)
    for field in RunHeader.__struct_fields__
}
