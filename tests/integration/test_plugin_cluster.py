"""The plugin's cluster in a test of somebody's own, who has no event loop."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import psycopg
import pytest

from seatrial.cluster.ability import Kill
from seatrial.plugin import RunningCluster


def status(url: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_its_replicas_answer_and_its_abilities_can_be_used(windlass_cluster: RunningCluster) -> None:
    first, *others = windlass_cluster.rest_urls
    assert [status(f"{url}/ready") for url in (first, *others)] == [200, 200, 200]
    processes = windlass_cluster.cluster.ability(Kill)
    windlass_cluster.do(processes.kill("replica-0"))
    with pytest.raises(ConnectionRefusedError):
        status(f"{first}/ready")
    assert [status(f"{url}/ready") for url in others] == [200, 200]
    windlass_cluster.do(processes.start("replica-0"))
    assert status(f"{first}/ready") == 200


def test_its_database_is_in_reach(windlass_cluster: RunningCluster) -> None:
    with psycopg.connect(windlass_cluster.dsn) as connection:
        row = connection.execute("SELECT count(*) FROM windlass_node").fetchone()
    assert row is not None
    assert row[0] == 3
