"""TLS of a whole node on a real database: booted with it, renewed as a mounted Secret is, refused at boot."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import grpc
import pytest
from nodes import Boot, Running

from certificates import Authority, Issued
from patience import eventually
from windlass.api.gen import workflow_pb2 as pb
from windlass.errors import BootRefused

pytestmark = pytest.mark.asyncio(loop_scope="session")

AUTHORITY = Authority()
FIRST, SECOND = AUTHORITY.issue(), AUTHORITY.issue()


class Mounted:
    """As the kubelet mounts a Secret: names that lead through one link, which is replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def put(self, issued: Issued) -> None:
        self._count += 1
        content = self.folder / f"..{self._count}"
        issued.write(content)
        new = self.folder / "..new"
        new.symlink_to(content.name)
        new.rename(self.folder / "..data")
        for name in ("tls.crt", "tls.key"):
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")

    @property
    def env(self) -> dict[str, str]:
        return {
            "WINDLASS_TLS_CERT_FILE": str(self.folder / "tls.crt"),
            "WINDLASS_TLS_KEY_FILE": str(self.folder / "tls.key"),
        }


def ports_of(running: Running) -> tuple[int, int, int]:
    node = running.node
    assert node.grpc is not None
    return node.rest.port, node.grpc.port, node.metrics_app.port


async def test_a_node_serves_over_tls_and_takes_the_renewed_certificate_by_itself(
    boot: Boot, tmp_path: Path
) -> None:
    mounted = Mounted(tmp_path)
    mounted.put(FIRST)
    running = await boot(**mounted.env)
    rest, rpc, metrics = ports_of(running)
    credentials = grpc.ssl_channel_credentials(AUTHORITY.pem.encode())
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=AUTHORITY.trusting())) as session,
        grpc.aio.secure_channel(f"localhost:{rpc}", credentials) as channel,
    ):
        get_instance = channel.unary_unary(
            "/workflow.v1.WorkflowEngine/GetInstance",
            request_serializer=pb.GetInstanceRequest.SerializeToString,
            response_deserializer=pb.GetInstanceResponse.FromString,
        )

        async def all_serve() -> None:
            for port, path, status in (
                (rest, "/ready", 200),
                (rest, "/v1/instances/i", 404),
                (metrics, "/", 200),
            ):
                async with session.get(f"https://localhost:{port}{path}") as answer:
                    assert answer.status == status
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await get_instance(pb.GetInstanceRequest(id="i"), timeout=10)
            assert error.value.code() is grpc.StatusCode.NOT_FOUND

        await all_serve()
        mounted.put(SECOND)

        async def is_renewed() -> bool:
            shown = [await asyncio.to_thread(AUTHORITY.serial_at, port) for port in ports_of(running)]
            assert set(shown) <= {FIRST.serial, SECOND.serial}
            return set(shown) == {SECOND.serial}

        await eventually(is_renewed, within_s=30)
        await all_serve()
    told = [line for line in running.log_lines() if line["msg"] == "tls: certificate read"]
    assert [line["serial"].upper() for line in told] == [FIRST.serial, SECOND.serial]


async def test_the_metrics_port_may_stay_plain(boot: Boot, tmp_path: Path) -> None:
    mounted = Mounted(tmp_path)
    mounted.put(FIRST)
    rest, _, metrics = ports_of(await boot(**mounted.env, WINDLASS_TLS_METRICS="false"))
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://localhost:{metrics}/metrics") as answer:
            assert answer.status == 200
        async with session.get(f"http://localhost:{rest}/ready") as answer:
            assert (answer.status, "speaks TLS" in await answer.text()) == (400, True)


async def test_a_node_does_not_boot_with_a_pair_that_does_not_fit(boot: Boot, tmp_path: Path) -> None:
    mounted = Mounted(tmp_path)
    mounted.put(FIRST)
    (tmp_path / "..data" / "tls.key").write_text(SECOND.key_text)
    with pytest.raises(
        BootRefused, match=r"WINDLASS_TLS_KEY_FILE names .* which is not the key of the first"
    ):
        await boot(**mounted.env)
