"""The kind cluster itself: created or found, images loaded, deleted if it was made here.

kind and docker are asked by their command lines, which is all the interface they promise.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from seatrial.cluster import ClusterError
from seatrial.cluster.brokers import BROKERS
from seatrial.cluster.kind.kube import Access

CLUSTER_NAME = "seatrial"
POSTGRES_IMAGE = "postgres:15-bookworm"
CREATE_WITHIN_S = 300.0
LOAD_WITHIN_S = 300.0
COMMAND_WITHIN_S = 60.0
_SAID_CHARACTERS_MAX = 1500
#: the newest line of an image tells what its name means on the node
_NOTE_FILE = "/var/lib/seatrial-images"
_NOTES = f"tac {_NOTE_FILE} 2>/dev/null | sort -s -u -k 1,1"
_NOTE = f"cat >> {_NOTE_FILE}"
#: kind's own choices
_POD_NETWORK, _SERVICE_NETWORK = "10.244.0.0/16", "10.96.0.0/16"
#: Without these, a call to a pod that has just gone, or to a Service that the node does not know yet, would leave the
#: cluster by the default route, where another server may answer. iptables refuses the second kind, since a Service's
#: address needs a route before it is translated into a pod's.
_NO_WAY_OUT = f"""
ip route replace unreachable {_POD_NETWORK}
for chain in OUTPUT FORWARD; do
  rule="$chain -d {_SERVICE_NETWORK} -j REJECT"
  iptables -w -C $rule 2>/dev/null || iptables -w -A $rule
done
"""
#: two places to run, so that one can be drained
_LAYOUT = f"""\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  podSubnet: {_POD_NETWORK}
  serviceSubnet: {_SERVICE_NETWORK}
nodes:
  - role: control-plane
    kubeadmConfigPatches:
      - |
        kind: InitConfiguration
        nodeRegistration:
          taints: []
  - role: worker
"""


@dataclass(frozen=True, slots=True)
class Images:
    """Third-party images; each may be a mirror's or another build of the same."""

    postgres: str = POSTGRES_IMAGE
    brokers: Mapping[str, str] = field(
        default_factory=lambda: {kind.name: kind.image for kind in BROKERS.values()}
    )
    """By the name of the broker's kind."""
    node: str | None = None
    """None: kind's own choice."""

    @staticmethod
    def from_env(*, node: str | None = None) -> Images:
        """`SEATRIAL_POSTGRES_IMAGE`, `SEATRIAL_NODE_IMAGE` and one for each broker, as `SEATRIAL_KAFKA_IMAGE`; empty
        counts as unset, and `node` wins over its variable.
        """
        return Images(
            postgres=os.environ.get("SEATRIAL_POSTGRES_IMAGE") or POSTGRES_IMAGE,
            brokers={
                kind.name: os.environ.get(kind.variable("IMAGE")) or kind.image for kind in BROKERS.values()
            },
            node=node or os.environ.get("SEATRIAL_NODE_IMAGE") or None,
        )


class Nodes:
    """A kind cluster called `seatrial`. An existing one is used and left as it is; one made here is deleted again.

    With `context` it is any other cluster of the user's kubeconfig, which gets its images from its own registries.
    """

    def __init__(self, *, node_image: str | None = None, context: str | None = None) -> None:
        self._node_image = node_image
        self._context = context
        self._is_own = False
        self._loaded: set[str] = set()

    async def up(self) -> Access:
        if self._context is not None:
            return Access(context=self._context)
        if CLUSTER_NAME not in await clusters():
            await self._create()
        elif self._node_image is not None and (there := await _node_image()) != self._node_image:
            raise ClusterError(
                f"the kind cluster {CLUSTER_NAME} runs {there} and {self._node_image} is asked for; "
                "end it with `seatrial kind down`"
            )
        for node in await self._names():
            await _output("docker", "exec", node, "sh", "-c", _NO_WAY_OUT)
        return Access(kubeconfig=await _output("kind", "get", "kubeconfig", "--name", CLUSTER_NAME))

    async def down(self) -> None:
        """Deletes it if this made it; safe to call twice."""
        if self._is_own:
            self._is_own = False
            await delete()

    async def load(self, images: Iterable[str]) -> None:
        """Copies images that this machine's Docker has onto the nodes; the nodes pull the others.

        Copied images are noted on the node, since a copy takes seconds and `kind load` cannot always tell.
        """
        if self._context is not None:
            return
        asked = [image for image in dict.fromkeys(images) if image not in self._loaded]
        here = {image: image_id for image in asked if (image_id := await image_id_of(image))}
        nodes = await self._names() if here else []
        noted = [await _output("docker", "exec", node, "sh", "-c", _NOTES) for node in nodes]
        lacking = [
            image
            for image, image_id in here.items()
            if any(f"{image} {image_id}\n" not in each for each in noted)
        ]
        if lacking:
            words = ("kind", "load", "docker-image", "--name", CLUSTER_NAME, *lacking)
            await _output(*words, within_s=LOAD_WITHIN_S)
            note = "".join(f"{image} {here[image]}\n" for image in lacking)
            for node in nodes:
                await _output("docker", "exec", "--interactive", node, "sh", "-c", _NOTE, given=note)
        self._loaded.update(asked)

    async def _names(self) -> Sequence[str]:
        return (await _output("kind", "get", "nodes", "--name", CLUSTER_NAME)).split()

    async def _create(self) -> None:
        self._is_own = True
        words = ["kind", "create", "cluster", "--name", CLUSTER_NAME, "--wait", "2m", "--config", "-"]
        # Otherwise kind would make the new cluster the user's current one.
        words += ["--kubeconfig", os.devnull]
        words += [] if self._node_image is None else ["--image", self._node_image]
        try:
            await _output(*words, given=_LAYOUT, within_s=CREATE_WITHIN_S)
        except BaseException:
            with contextlib.suppress(ClusterError):
                await self.down()
            raise


async def clusters() -> Sequence[str]:
    return (await _output("kind", "get", "clusters", "--quiet")).split()


async def delete() -> None:
    await _output(
        "kind",
        "delete",
        "cluster",
        "--name",
        CLUSTER_NAME,
        "--kubeconfig",
        os.devnull,
        within_s=CREATE_WITHIN_S,
    )


async def image_id_of(image: str) -> str | None:
    """As this machine's Docker knows it; None when it has none of that name."""
    try:
        return (await _output("docker", "image", "inspect", "--format", "{{.Id}}", image)).strip()
    except ClusterError as err:
        if "No such image" in str(err):
            return None
        raise


async def _node_image() -> str:
    said = await _output("docker", "inspect", f"{CLUSTER_NAME}-control-plane")
    return str(json.loads(said)[0]["Config"]["Image"])


async def _output(*words: str, given: str | None = None, within_s: float = COMMAND_WITHIN_S) -> str:
    """Raises ClusterError with what the command said; it is ended when this is cancelled."""
    if shutil.which(words[0]) is None:
        raise ClusterError(f"{words[0]} is not on PATH; install it, or choose --backend local")
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(within_s):
            out, err = await process.communicate(given.encode() if given is not None else None)
    except TimeoutError:
        raise ClusterError(f"{' '.join(words[:3])} has not ended in {within_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ClusterError(
            f"{' '.join(words[:3])} failed: {err.decode(errors='replace').strip()[-_SAID_CHARACTERS_MAX:]}"
        )
    return out.decode()
