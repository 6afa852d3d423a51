"""One Kubernetes API, as objects in and out; every error names the object and what the API said."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import ResourceNotFoundError
from kubernetes.aio.stream import WsApiClient

from seatrial.cluster import ClusterError

Object = dict[str, Any]

#: the package types its models but not these
_Dynamic: Any = DynamicClient
_Sockets: Any = WsApiClient
_config: Any = kubernetes_config

FIELD_MANAGER = "seatrial"
CALL_TIMEOUT_S = 30
EXEC_TIMEOUT_S = 120
_STDOUT, _STDERR, _EXIT = 1, 2, 3
_VERSIONS: Mapping[str, str] = {
    "DaemonSet": "apps/v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "Job": "batch/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
    "PodMetrics": "metrics.k8s.io/v1beta1",
}
"""The API of each kind that is not in `v1`."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a cluster is reached: a kubeconfig of its own, or a context of the user's. Holds keys, so it is not shown."""

    kubeconfig: str | None = field(default=None, repr=False)
    context: str | None = None


class NotThere(ClusterError):
    """The API knows no object of that name."""


class Conflict(ClusterError):
    """The API will not do it now: for an eviction, the disruption budget is used up."""


class Kube:
    """`async with Kube(access) as kube`. Every method raises ClusterError with the API's own words."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._dynamic: Any = None

    async def __aenter__(self) -> Self:
        try:
            self._client = await self._stack.enter_async_context(await _client(self.access))
            self._dynamic = await _Dynamic(self._client)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def apply(self, *objects: Object) -> None:
        """Server-side: makes each, or changes what is there to be so."""
        for wanted in objects:
            name = wanted["metadata"]["name"]
            async with _plainly(f"{wanted['kind']} {name} cannot be applied"):
                await self._dynamic.server_side_apply(
                    await self._resource(wanted["kind"]), body=wanted, name=name,
                    namespace=wanted["metadata"].get("namespace"), field_manager=FIELD_MANAGER,
                    force_conflicts=True, _request_timeout=CALL_TIMEOUT_S,
                )  # fmt: skip

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """Raises NotThere."""
        async with _plainly(f"{kind} {name} cannot be read"):
            resource = await self._resource(kind)
            found = await self._dynamic.get(
                resource, name=name, namespace=namespace, _request_timeout=CALL_TIMEOUT_S
            )
            return dict(found.to_dict())

    async def list(self, kind: str, namespace: str | None = None, *, labels: str = "") -> list[Object]:
        async with _plainly(f"the {kind}s cannot be listed"):
            found = await self._dynamic.get(
                await self._resource(kind), namespace=namespace, label_selector=labels,
                _request_timeout=CALL_TIMEOUT_S,
            )  # fmt: skip
            return [item.to_dict() for item in found.items]

    async def patch(
        self, kind: str, name: str, change: Mapping[str, Any], namespace: str | None = None
    ) -> None:
        """A JSON merge patch."""
        async with _plainly(f"{kind} {name} cannot be changed"):
            await self._dynamic.patch(
                await self._resource(kind), body=dict(change), name=name, namespace=namespace,
                content_type="application/merge-patch+json", _request_timeout=CALL_TIMEOUT_S,
            )  # fmt: skip

    async def delete(
        self, kind: str, name: str, namespace: str | None = None, *, grace_s: int | None = None
    ) -> None:
        """Returns when the API has taken it; nothing happens when there is none."""
        options = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        try:
            async with _plainly(f"{kind} {name} cannot be deleted"):
                await self._dynamic.delete(
                    await self._resource(kind), name=name, namespace=namespace,
                    body={"propagationPolicy": "Background", **options}, _request_timeout=CALL_TIMEOUT_S,
                )  # fmt: skip
        except NotThere:
            return

    async def evict(self, pod: str, namespace: str) -> None:
        """As `kubectl drain` asks. Raises Conflict while the pod's disruption budget forbids it."""
        core = kubernetes_client.CoreV1Api(self._client)
        body = kubernetes_client.V1Eviction(
            metadata=kubernetes_client.V1ObjectMeta(name=pod, namespace=namespace)
        )
        async with _plainly(f"Pod {pod} cannot be evicted"):
            await core.create_namespaced_pod_eviction(pod, namespace, body, _request_timeout=CALL_TIMEOUT_S)

    async def execute(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> str:
        """What the command printed. Raises ClusterError with it when it does not exit 0."""
        name = f"{' '.join(command[:2])} in {namespace}/{pod}"
        said: list[str] = []
        ended: Mapping[str, Any] = {}
        async with _plainly(f"{name} cannot be run"), _Sockets(self._client.configuration) as sockets:
            core: Any = kubernetes_client.CoreV1Api(sockets)
            opened = await core.connect_get_namespaced_pod_exec_without_preload_content(
                pod, namespace, container=container, command=list(command), stdout=True, stderr=True,
                stdin=False, tty=False,
            )  # fmt: skip
            async with opened as socket:
                async for message in socket:
                    data = message.data if isinstance(message.data, bytes) else message.data.encode()
                    if data and data[0] in {_STDOUT, _STDERR}:
                        said.append(data[1:].decode(errors="replace"))
                    elif data and data[0] == _EXIT:
                        ended = json.loads(data[1:])
        text = "".join(said)
        if ended.get("status") != "Success":
            raise ClusterError(
                f"{name} failed: {ended.get('message', 'the connection was lost')}: {text[-1000:]}"
            )
        return text

    async def log_lines(self, namespace: str, pod: str, container: str) -> AsyncIterator[bytes]:
        """The lines of the running container from its start, until it ends."""
        core: Any = kubernetes_client.CoreV1Api(self._client)
        async with _plainly(f"the log of {namespace}/{pod} cannot be read"):
            response = await core.read_namespaced_pod_log_without_preload_content(
                pod, namespace, container=container, follow=True, _request_timeout=(CALL_TIMEOUT_S, None)
            )
            async for line in response.content:
                yield line

    async def _resource(self, kind: str) -> Any:
        return await self._dynamic.resources.get(api_version=_VERSIONS.get(kind, "v1"), kind=kind)


async def _client(access: Access) -> Any:
    try:
        if access.kubeconfig is not None:
            return await _config.new_client_from_config_dict(yaml.safe_load(access.kubeconfig))
        return await _config.new_client_from_config(context=access.context)
    except (kubernetes_config.ConfigException, OSError, yaml.YAMLError) as err:
        named = f"context {access.context!r}" if access.context else "the cluster"
        raise ClusterError(
            f"{named} cannot be used: {err}; `kubectl config get-contexts` lists those there are"
        ) from None


@asynccontextmanager
async def _plainly(what: str) -> AsyncIterator[None]:
    """Raises ClusterError for what the API, the network or the discovery says."""
    began_s = time.monotonic()
    try:
        yield
    except kubernetes_client.ApiException as err:
        kinds = {404: NotThere, 429: Conflict}
        raise kinds.get(err.status, ClusterError)(f"{what}: {err.status} {_message(err)}") from None
    except ResourceNotFoundError as err:
        raise NotThere(f"{what}: the cluster has no such API ({err})") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as err:
        waited_s = time.monotonic() - began_s
        raise ClusterError(
            f"{what}: the API did not answer in {waited_s:.0f} s ({str(err) or type(err).__name__})"
        ) from None


def _message(error: Any) -> str:
    """The API's sentence; its body is a Status object."""
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or "")
    try:
        return str(json.loads(body).get("message") or error.reason)
    except (json.JSONDecodeError, AttributeError):
        return body[:300] or str(error.reason)
