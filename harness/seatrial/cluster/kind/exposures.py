"""All places in which a release could expose a secret, and whether it did."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from seatrial.cluster.ability import Exposure
from seatrial.cluster.exposure import times_found
from seatrial.cluster.kind.kube import Kube
from seatrial.cluster.kind.release import Release

#: Secrets are not searched: holding it is their purpose
_KINDS = ("Pod", "Deployment", "ReplicaSet", "Service", "ConfigMap", "Job", "HorizontalPodAutoscaler")


async def exposures(
    kube: Kube, release: Release, namespace: str, folder: Path, secrets: Sequence[str]
) -> list[Exposure]:
    """`folder` is the drill's: the pods' logs are in it, and all that reports are drawn from."""
    objects = [each for kind in _KINDS for each in await kube.list(kind, namespace)]
    written = await asyncio.to_thread(_files, folder)
    found = {
        "logs": [text for path, text in written if path.suffix == ".log"],
        "history": [text for path, text in written if path.suffix != ".log"],
        "events": [json.dumps(each).encode() for each in await kube.list("Event", namespace)],
        "objects": [json.dumps(each).encode() for each in objects],
        "release": [(await release.told()).encode()],
    }
    return [
        Exposure(place, sum(map(len, texts)), sum(times_found(secrets, text) for text in texts))
        for place, texts in found.items()
    ]


def _files(folder: Path) -> list[tuple[Path, bytes]]:
    return [(path, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()]
