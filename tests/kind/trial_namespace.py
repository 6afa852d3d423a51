"""A place on the cluster for one test, and whether there can be one."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from seatrial.cluster.kind.kube import Object
from seatrial.cluster.kind.shared import SharedServices


def missing_need(*programs: str) -> str | None:
    for program in programs:
        if shutil.which(program) is None:
            return f"{program} is not on PATH"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return "no Docker daemon answers"
    return None


@asynccontextmanager
async def a_namespace(shared: SharedServices, *objects: Object) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """A namespace with a Secret that leads to a database of its own, and the values that make the chart use it."""
    namespace = f"test-{secrets.token_hex(4)}"
    database = namespace.replace("-", "_")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await shared.server.create_database(database)
    await shared.kube.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "database", "namespace": namespace},
            "stringData": {"dsn": shared.server.engine_dsn(database)},
        },
        *({**each, "metadata": {**each["metadata"], "namespace": namespace}} for each in objects),
    )
    try:
        yield namespace, {"postgresql": {"existingSecret": "database"}}
    finally:
        await shared.kube.delete("Namespace", namespace)
        await shared.server.drop_database(database)
