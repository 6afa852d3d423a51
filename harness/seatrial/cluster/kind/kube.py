"""One Kubernetes API, as objects in and out; every error names the object and what the API said.

The package's typed API takes seconds to import and checks what the server checks anyway, so only its client is used,
for kubeconfigs and their many ways to prove who one is.
"""

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
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.stream import WsApiClient

from seatrial.cluster import ClusterError
from seatrial.deadline import Deadline

Object = dict[str, Any]

FIELD_MANAGER = "seatrial"
CALL_TIMEOUT_S = 60.0
#: longer than any drill
FOLLOW_WITHIN_S = 3600.0
GONE_WITHIN_S = 60.0
_GONE_INTERVAL_S = 0.5
_STDOUT, _STDERR, _EXIT = 1, 2, 3
_RESOURCES: Mapping[str, tuple[str, str]] = {
    "ConfigMap": ("api/v1", "configmaps"),
    "Namespace": ("api/v1", "namespaces"),
    "Event": ("api/v1", "events"),
    "Node": ("api/v1", "nodes"),
    "Pod": ("api/v1", "pods"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
    "DaemonSet": ("apis/apps/v1", "daemonsets"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "ReplicaSet": ("apis/apps/v1", "replicasets"),
    "StatefulSet": ("apis/apps/v1", "statefulsets"),
    "Job": ("apis/batch/v1", "jobs"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "PodMetrics": ("apis/metrics.k8s.io/v1beta1", "pods"),
}
"""Where the API keeps each kind."""

#: the package types its models but not these
_Sockets: Any = WsApiClient
_config: Any = kubernetes_config


class CommandFailed(ClusterError):
    """It did not exit 0; the code is None when nobody knows it."""

    def __init__(self, text: str, exit_code: int | None) -> None:
        super().__init__(text)
        self.exit_code = exit_code


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

    async def __aenter__(self) -> Self:
        self._client = await self._stack.enter_async_context(await _client(self.access))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def apply(self, *objects: Object) -> None:
        """Server-side: makes each, or changes what is there to be so."""
        for wanted in objects:
            kind, metadata = wanted["kind"], wanted["metadata"]
            await self._call(
                f"{kind} {metadata['name']} cannot be applied",
                "PATCH",
                _path(kind, metadata.get("namespace"), metadata["name"]),
                query={"fieldManager": FIELD_MANAGER, "force": "true"},
                body=wanted,
                content_type="application/apply-patch+yaml",
            )

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """Raises NotThere."""
        return await self._call(f"{kind} {name} cannot be read", "GET", _path(kind, namespace, name))

    async def list(self, kind: str, namespace: str | None = None, *, labels: str = "") -> list[Object]:
        query = {"labelSelector": labels} if labels else {}
        found = await self._call(f"the {kind}s cannot be listed", "GET", _path(kind, namespace), query=query)
        return list(found["items"])

    async def patch(
        self, kind: str, name: str, change: Mapping[str, Any], namespace: str | None = None
    ) -> None:
        """A JSON merge patch."""
        await self._call(
            f"{kind} {name} cannot be changed",
            "PATCH",
            _path(kind, namespace, name),
            body=change,
            content_type="application/merge-patch+json",
        )

    async def delete(
        self, kind: str, name: str, namespace: str | None = None, *, grace_s: int | None = None
    ) -> None:
        """Returns when the API has taken it; nothing happens when there is none."""
        options = {"propagationPolicy": "Background"}
        options |= {} if grace_s is None else {"gracePeriodSeconds": str(grace_s)}
        try:
            await self._call(
                f"{kind} {name} cannot be deleted", "DELETE", _path(kind, namespace, name), query=options
            )
        except NotThere:
            return

    async def evict(self, pod: str, namespace: str) -> None:
        """As `kubectl drain` asks. Raises Conflict while the pod's disruption budget forbids it."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
        }
        path = f"{_path('Pod', namespace, pod)}/eviction"
        await self._call(f"Pod {pod} cannot be evicted", "POST", path, body=eviction)

    async def execute(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> str:
        """What the command printed. Raises CommandFailed with it when it does not exit 0."""
        name = f"{' '.join(command[:2])} in {namespace}/{pod}"
        query = [("container", container), ("stdout", "true"), ("stderr", "true"), ("command", list(command))]
        said: list[str] = []
        ended: Mapping[str, Any] = {}
        async with _plainly(f"{name} cannot be run"), _Sockets(self._client.configuration) as sockets:
            headers: dict[str, str] = {}
            await sockets.update_params_for_auth(headers, [], ["BearerToken"], "", "GET", None)
            host = self._client.configuration.host
            url = f"{host}/{_path('Pod', namespace, pod)}/exec"
            opened = await sockets.request(
                "GET", url, query_params=query, headers=headers, _preload_content=False
            )
            async with opened as socket:
                async for message in socket:
                    data = message.data if isinstance(message.data, bytes) else message.data.encode()
                    if data and data[0] in {_STDOUT, _STDERR}:
                        said.append(data[1:].decode(errors="replace"))
                    elif data and data[0] == _EXIT:
                        ended = json.loads(data[1:])
        text = "".join(said)
        if ended.get("status") != "Success":
            text = f"{name} failed: {ended.get('message', 'the connection was lost')}: {text[-1000:]}"
            raise CommandFailed(text, _exit_code(ended))
        return text

    async def log_lines(self, namespace: str, pod: str, container: str) -> AsyncIterator[bytes]:
        """The lines of the running container from its start, until it ends."""
        what = f"the log of {namespace}/{pod} cannot be read"
        async with _plainly(what):
            response = await self._response(
                "GET",
                f"{_path('Pod', namespace, pod)}/log",
                query={"container": container, "follow": "true"},
                timeout_s=FOLLOW_WITHIN_S,
            )
            if response.status >= 400:
                raise _refusal(what, response.status, await response.read())
            async for line in response.content:
                yield line

    async def log(self, namespace: str, pod: str, container: str, *, of_run_before: bool = False) -> str:
        """All that the container has written, or did before it was started again."""
        what = f"the log of {namespace}/{pod} cannot be read"
        query = {"container": container, "previous": str(of_run_before).lower()}
        async with _plainly(what):
            response = await self._response("GET", f"{_path('Pod', namespace, pod)}/log", query=query)
            content = await response.read()
        if response.status >= 400:
            raise _refusal(what, response.status, content)
        return content.decode(errors="replace")

    async def _call(
        self,
        what: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        async with _plainly(what):
            response = await self._response(method, path, query=query, body=body, content_type=content_type)
            content = await response.read()
        if response.status >= 400:
            raise _refusal(what, response.status, content)
        return dict(json.loads(content))

    async def _response(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> aiohttp.ClientResponse:
        request = await self._client.param_serialize(
            method,
            f"/{path}",
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=dict(body) if body is not None else None,
            auth_settings=["BearerToken"],
        )
        answer = await self._client.call_api(*request, _request_timeout=timeout_s)
        response: aiohttp.ClientResponse = answer.response
        return response


async def remove_pods(kube: Kube, namespace: str, *, labels: str = "") -> None:
    """Those whose owner is gone are not asked to take their time; returns when there is none."""
    async for _ in Deadline(GONE_WITHIN_S).attempts(_GONE_INTERVAL_S):
        if not (pods := await kube.list("Pod", namespace, labels=labels)):
            return
        for pod in pods:
            await kube.delete("Pod", pod["metadata"]["name"], namespace, grace_s=1)
    raise ClusterError(f"the pods of {namespace} do not end in {GONE_WITHIN_S:g} s")


def _path(kind: str, namespace: str | None, name: str | None = None) -> str:
    group, plural = _RESOURCES[kind]
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{group}{within}/{plural}" + (f"/{name}" if name else "")


async def _client(access: Access) -> Any:
    try:
        if access.kubeconfig is not None:
            return await _config.new_client_from_config_dict(yaml.safe_load(access.kubeconfig))
        return await _config.new_client_from_config(context=access.context)
    except (kubernetes_config.ConfigException, OSError, yaml.YAMLError) as err:
        named = f"context {access.context!r}" if access.context else "the cluster"
        # PyYAML's text quotes the file, which holds tokens.
        cause = "its kubeconfig is not YAML" if isinstance(err, yaml.YAMLError) else err
        raise ClusterError(
            f"{named} cannot be used: {cause}; `kubectl config get-contexts` lists those there are"
        ) from None


@asynccontextmanager
async def _plainly(what: str) -> AsyncIterator[None]:
    """Raises ClusterError when the API does not answer."""
    began_s = time.monotonic()
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as err:
        waited_s = time.monotonic() - began_s
        raise ClusterError(
            f"{what}: the API did not answer in {waited_s:.0f} s ({str(err) or type(err).__name__})"
        ) from None


def _refusal(what: str, status: int, content: bytes) -> ClusterError:
    """The API's sentence; its body is a Status object."""
    try:
        said = str(json.loads(content)["message"])
    except (json.JSONDecodeError, KeyError, TypeError):
        said = content.decode(errors="replace")[:300]
    kinds = {404: NotThere, 429: Conflict}
    return kinds.get(status, ClusterError)(f"{what}: {status} {said}")


def _exit_code(ended: Mapping[str, Any]) -> int | None:
    """Of a Status as `exec` sends it at its end."""
    causes = (ended.get("details") or {}).get("causes") or ()
    codes = [int(each["message"]) for each in causes if each.get("reason") == "ExitCode"]
    return codes[0] if codes else None
