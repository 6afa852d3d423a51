"""IPv6 alone, IPv4 alone, and both: each in a network where nothing else exists."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from families_in_namespace import CASES

from seatrial.cluster.postgres import PostgresServer

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip", "sysctl"))),
        reason="needs root, unshare, ip and sysctl for a network of its own",
    ),
]
IN_A_NAMESPACE = Path(__file__).with_name("families_in_namespace.py")


@pytest.mark.parametrize("case", CASES)
async def test_every_door_is_reached_by_the_families_there_are(
    server: PostgresServer, dsn: str, case: str
) -> None:
    socket_path = server.folders[-1] / f".s.PGSQL.{server.port}"
    words = [sys.executable, str(IN_A_NAMESPACE), case, str(socket_path), urlsplit(dsn).path[1:]]
    child = await asyncio.create_subprocess_exec(
        "unshare", "--net", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(child.communicate(), 60)
    assert (child.returncode, out.decode()) == (0, "done\n")
