"""Which images a project runs: by the file's variables, or by digests that somebody has published."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from seatrial.cluster import ClusterError
from seatrial.cluster.backend import Say
from seatrial.cluster.compose.docker import Docker, DockerFailed
from seatrial.cluster.options import Misuse

VARIABLES: Mapping[str, str] = {
    "windlass": "WINDLASS_IMAGE",
    "worker": "WINDLASS_WORKER_IMAGE",
    "postgres": "POSTGRES_IMAGE",
    "redis": "REDIS_IMAGE",
    "nginx": "NGINX_IMAGE",
    "kafka": "KAFKA_IMAGE",
}
"""The variable of the compose file by the name in a file of digests."""

_BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_PULLED_WITHIN_S = 600.0


def read_digests(path: Path) -> dict[str, str]:
    """The images by their names in VARIABLES. Raises Misuse for a file that is no mapping of them to digests."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except OSError as err:
        raise Misuse(f"--images {path}: {err.strerror}; give a readable JSON file") from err
    except msgspec.MsgspecError as err:
        raise Misuse(f'--images {path}: {err}; give {{"windlass": "REPOSITORY@sha256:..."}}') from None
    for name, image in found.items():
        if name not in VARIABLES:
            raise Misuse(
                f"--images {path}: {name!r} is no image of a small cluster; there are {', '.join(VARIABLES)}"
            )
        if not _BY_DIGEST.fullmatch(image):
            raise Misuse(
                f"--images {path}: {name} is {image!r}, and a tag may change; give REPOSITORY@sha256:DIGEST"
            )
    if "windlass" not in found:
        raise Misuse(f"--images {path}: names no windlass; add the engine's image by its digest")
    return found


def refuse_tags(used: Iterable[str], path: Path) -> None:
    """Raises ClusterError for an image that is used and that the file does not name."""
    by_tag = sorted({image for image in used if not _BY_DIGEST.fullmatch(image)})
    if by_tag:
        raise ClusterError(
            f"--images {path} runs by digest only, and the compose file also uses {', '.join(by_tag)}; "
            f"add it under its name, one of {', '.join(VARIABLES)}"
        )


async def ensure(docker: Docker, used: Iterable[str], say: Say) -> None:
    """Every image is on the daemon's machine afterwards. Raises ClusterError naming one that cannot be had."""
    for image in sorted(set(used)):
        try:
            await docker.run("image", "inspect", "--format", "{{.Id}}", image)
            continue
        except DockerFailed:
            say(f"image {image} is pulled")
        try:
            await docker.run("pull", "--quiet", image, within_s=_PULLED_WITHIN_S)
        except DockerFailed as err:
            raise ClusterError(
                f"image {image} is not on this machine and cannot be pulled: {str(err).splitlines()[-1]}; build it "
                f"(scripts/image), or name another in {', '.join(VARIABLES.values())}"
            ) from None
