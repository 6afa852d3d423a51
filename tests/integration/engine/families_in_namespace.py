"""Cases of test_families.py, each in a network namespace of its own: CASE SOCKET DATABASE.

An engine is started as its image does, with a database at an address of that family, and all three doors are asked at
127.0.0.1 and at ::1. `SOCKET` is the server's Unix socket, which every namespace of the network reaches.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from errno import EAFNOSUPPORT
from pathlib import Path
from socket import AF_INET6
from typing import Any

import aiohttp
import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from road import Road

from windlass_client import Client

WINDLASS = Path(sys.executable).with_name("windlass")
IPV4, IPV6 = "127.0.0.1", "::1"
LISTENING = {"engine: metrics listening", "engine: gRPC listening", "engine: REST listening"}
WITHIN_S = 30.0
ONE_STEP: Mapping[str, Any] = {
    "id": "one",
    "name": "One step",
    "steps": [
        {"id": "wait", "name": "Wait", "type": "SERVICE_TASK", "jobType": "wait", "nextStep": "end"},
        {"id": "end", "name": "End", "type": "END"},
    ],
}
#: of x86-64 and arm64, by the machine's name (audit.h, and the table of system calls of each)
SOCKET_CALL = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, FAIL_WITH = 0x7FFF0000, 0x00050000


@dataclass(frozen=True)
class Case:
    setup: Sequence[str]
    reached: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    has_ipv6: bool = True
    database: str = IPV4
    shown: str = ""
    """What stands before the port in the lines that say where it listens."""


CASES: Mapping[str, Case] = {
    "ipv6-only": Case(["ip link set lo up", "ip addr del 127.0.0.1/8 dev lo"], [IPV6], database="[::1]"),
    "ipv4-only": Case(["sysctl -qw net.ipv6.conf.all.disable_ipv6=1", "ip link set lo up"], [IPV4]),
    "kernel-without-ipv6": Case(["ip link set lo up"], [IPV4], has_ipv6=False),
    "sockets-apart": Case(["sysctl -qw net.ipv6.bindv6only=1", "ip link set lo up"], [IPV4, IPV6]),
    "bind-any": Case(["ip link set lo up"], [IPV4, IPV6], {"WINDLASS_BIND": "::"}, shown="[::]"),
    "bind-ipv4": Case(["ip link set lo up"], [IPV4], {"WINDLASS_BIND": "0.0.0.0"}, shown="0.0.0.0"),
    "bind-one-ipv4": Case(["ip link set lo up"], [IPV4], {"WINDLASS_BIND": IPV4}, shown=IPV4),
    "bind-one-ipv6": Case(["ip link set lo up"], [IPV6], {"WINDLASS_BIND": IPV6}, shown="[::1]"),
}


def take_ipv6_away() -> None:
    """As a kernel without IPv6: socket(2) fails with EAFNOSUPPORT (seccomp(2), "Filters")."""
    arch, number = SOCKET_CALL[os.uname().machine]
    load, equal, answer = 0x20, 0x15, 0x06
    steps = [
        (load, 0, 0, 4), (equal, 0, 5, arch),
        (load, 0, 0, 0), (equal, 0, 3, number),
        (load, 0, 0, 16), (equal, 0, 1, AF_INET6),
        (answer, 0, 0, FAIL_WITH | EAFNOSUPPORT), (answer, 0, 0, ALLOW),
    ]  # fmt: skip
    program = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    header = ctypes.create_string_buffer(struct.pack("<H6xQ", len(steps), ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0) == 0, os.strerror(ctypes.get_errno())


async def started(case: Case, port: int, database: str) -> tuple[asyncio.subprocess.Process, dict[str, int]]:
    """The engine, and the ports of its doors by the message that tells them."""
    engine = await asyncio.create_subprocess_exec(
        WINDLASS,
        env={
            "PATH": os.environ["PATH"],
            "WE_POSTGRES_DSN": f"postgresql://postgres@{case.database}:{port}/{database}?sslmode=disable",
            "WE_REST_PORT": "0",
            "WE_GRPC_PORT": "0",
            "WE_METRICS_PORT": "0",
            **case.env,
        },
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=None if case.has_ipv6 else take_ipv6_away,
    )
    assert engine.stdout is not None
    ports: dict[str, int] = {}
    async for line in engine.stdout:
        said = json.loads(line)
        assert said["level"] != "ERROR", said
        if said["msg"] in LISTENING:
            shown, _, number = said["addr"].rpartition(":")
            assert shown == case.shown, said
            ports[said["msg"].split()[1]] = int(number)
        if len(ports) == len(LISTENING):
            break
    assert len(ports) == len(LISTENING), "it ended"
    return engine, ports


async def opens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


async def served(host: str, ports: Mapping[str, int]) -> None:
    at = f"[{host}]" if ":" in host else host
    async with aiohttp.ClientSession() as session:
        for url, words in (
            (f"http://{at}:{ports['REST']}/ready", '"ready":true'),
            (f"http://{at}:{ports['metrics']}/metrics", "windlass_"),
        ):
            async with session.get(url) as answer:
                assert answer.status == 200, url
                assert words in await answer.text(), url
    async with grpc.aio.insecure_channel(f"{at}:{ports['gRPC']}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        found = await stub.Check(health_pb2.HealthCheckRequest(), timeout=WITHIN_S)
        assert found.status == health_pb2.HealthCheckResponse.SERVING
    for address in (f"http://{at}:{ports['REST']}", f"grpc://{at}:{ports['gRPC']}"):
        async with Client(address) as client:
            await client.upload(ONE_STEP)
            started = await client.start(ONE_STEP["id"])
            assert (await client.get(started.id)).id == started.id


async def run(name: str, socket_path: str, database: str) -> None:
    case = CASES[name]
    for words in case.setup:
        subprocess.run(words.split(), check=True)
    road = Road(lambda: asyncio.open_unix_connection(socket_path))
    async with await asyncio.start_server(road.walk, case.database.strip("[]"), 0) as server:
        engine, ports = await started(case, server.sockets[0].getsockname()[1], database)
        try:
            for host in (IPV4, IPV6):
                for door, port in ports.items():
                    assert await opens(host, port) is (host in case.reached), (host, door)
            for host in case.reached:
                await served(host, ports)
        finally:
            engine.terminate()
            await asyncio.wait_for(engine.communicate(), WITHIN_S)
        assert engine.returncode == 0
    await road.close()
    print("done")


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))
