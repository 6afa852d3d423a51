"""A pod that does nothing until it is asked to run some Python, in the engine's image: a caller or a listener."""

from __future__ import annotations

import json

from seatrial.cluster.kind.kube import Kube, Object
from seatrial.deadline import Deadline

READY_WITHIN_S = 60.0
_LOOK_INTERVAL_S = 0.2
_PYTHON = "python3"


class PythonPod:
    """It goes with its namespace."""

    def __init__(self, kube: Kube, namespace: str, name: str, image: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._image = image
        self.name = name
        self.address = ""

    async def start(self, program: str = "import signal; signal.pause()") -> None:
        """Returns when `program` runs, which ends with the pod."""
        await self._kube.apply(_pod(self._namespace, self.name, self._image, program))
        async for _ in Deadline(READY_WITHIN_S).attempts(_LOOK_INTERVAL_S):
            found = await self._kube.get("Pod", self.name, self._namespace)
            if found["status"].get("phase") == "Running" and found["status"].get("podIP"):
                self.address = found["status"]["podIP"]
                return
        raise AssertionError(json.dumps(found["status"]))

    async def run(self, program: str, *arguments: str) -> str:
        """What it printed."""
        return await self._kube.execute(
            self._namespace, self.name, self.name, [_PYTHON, "-c", program, *arguments]
        )


def _pod(namespace: str, name: str, image: str, program: str) -> Object:
    container = {
        "name": name,
        "image": image,
        "command": [_PYTHON, "-c", program],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"role": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    }
