# ruff: noqa: E501  (as value_cases.py)
"""The cases of value_cases.py that are about ways in: connections, Service, Ingress and Gateway API."""

from typing import Any

from effects import ENTERED, ROUTED
from fields import Case, Getter, first, variable, walk
from rendering import merged


def grpc_ingress(*path: str) -> Getter:
    return lambda result: walk(result.of_kind("Ingress")[-1], path)


def metrics_service(*path: str) -> Getter:
    return lambda result: walk(result.of_kind("Service")[1], path)


def backend(port: str) -> Any:
    """Of an Ingress."""
    return {"service": {"name": "rel-windlass", "port": {"name": port}}}


# fmt: off
WAY_CASES = [
    Case("engine.grpc.connectionAgeSeconds", 60, variable("WINDLASS_GRPC_CONNECTION_AGE_SECONDS"), "60"),
    Case("engine.grpc.connectionAgeSeconds", 0, variable("WINDLASS_GRPC_CONNECTION_AGE_SECONDS"), "0"),
    Case("engine.idleTimeoutSeconds", 620, variable("WINDLASS_IDLE_TIMEOUT_SECONDS"), "620"),
    Case("service.ipFamilyPolicy", "RequireDualStack", first("Service", "spec", "ipFamilyPolicy"), "RequireDualStack"),
    Case("service.ipFamilies", ["IPv6"], first("Service", "spec", "ipFamilies"), ["IPv6"]),
    Case("service.ipFamilies", ["IPv6", "IPv4"], metrics_service("spec", "ipFamilies"), ["IPv6", "IPv4"]),
    Case("service.grpcAppProtocol", "grpc", first("Service", "spec", "ports", "1", "appProtocol"), "grpc"),
    Case("service.grpcAppProtocol", "", first("Service", "spec", "ports", "1", "appProtocol"), None),
    Case("ingress.enabled", True, first("Ingress", "metadata", "name"), "rel-windlass", merged(ENTERED, {"ingress": {"enabled": False}})),
    Case("ingress.className", "nginx", first("Ingress", "spec", "ingressClassName"), "nginx", ENTERED),
    Case("ingress.annotations", {"a.b/c": True}, first("Ingress", "metadata", "annotations"), {"a.b/c": "true"}, ENTERED),
    Case("ingress.hosts", [{"host": "a.example", "paths": [{"path": "/v1", "pathType": "Exact"}]}], first("Ingress", "spec", "rules"),
         [{"host": "a.example", "http": {"paths": [{"path": "/v1", "pathType": "Exact", "backend": backend("rest")}]}}], ENTERED),
    Case("ingress.hosts", [{"host": "a.example"}], first("Ingress", "spec", "rules", "0", "http", "paths", "0"),
         {"path": "/", "pathType": "Prefix", "backend": backend("rest")}, ENTERED),
    Case("ingress.tls", [{"secretName": "t", "hosts": ["jobs.example"]}], first("Ingress", "spec", "tls"), [{"secretName": "t", "hosts": ["jobs.example"]}], ENTERED),
    Case("ingress.grpc.enabled", True, grpc_ingress("metadata", "name"), "rel-windlass-grpc", merged(ENTERED, {"ingress": {"grpc": {"enabled": False}}})),
    Case("ingress.grpc.annotations", {"a": "b"}, grpc_ingress("metadata", "annotations"), {"a": "b"}, ENTERED),
    Case("ingress.grpc.hosts", ["g.example"], grpc_ingress("spec", "rules"),
         [{"host": "g.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend("grpc")}]}}], ENTERED),
    Case("ingress.grpc.tls", [{"hosts": ["grpc.example"]}], grpc_ingress("spec", "tls"), [{"hosts": ["grpc.example"]}], ENTERED),
    *(Case(f"{section}.{key}", value, first(kind, *path), expected, merged(ROUTED, {section: {"enabled": False}}) if key == "enabled" else ROUTED)
      for section, kind, port in (("httpRoute", "HTTPRoute", 8080), ("grpcRoute", "GRPCRoute", 9090))
      for key, value, path, expected in (
          ("enabled", True, ("spec", "rules", "0", "backendRefs"), [{"name": "rel-windlass", "port": port}]),
          ("labels", {"a": "b"}, ("metadata", "labels", "a"), "b"),
          ("annotations", {"a": "b"}, ("metadata", "annotations"), {"a": "b"}),
          ("parentRefs", [{"name": "g", "sectionName": "https"}], ("spec", "parentRefs"), [{"name": "g", "sectionName": "https"}]),
          ("hostnames", ["*.other.example"], ("spec", "hostnames"), ["*.other.example"]),
          ("matches", [{"headers": [{"name": "x", "value": "1"}]}], ("spec", "rules", "0", "matches"), [{"headers": [{"name": "x", "value": "1"}]}]),
          ("filters", [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["x"]}}], ("spec", "rules", "0", "filters"),
           [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["x"]}}]),
      )),
    Case("httpRoute.hostnames", ["*.other.example"], first("HTTPRoute", "spec", "hostnames"), ["*.other.example"],
         merged(ROUTED, {"grpcRoute": {"enabled": False, "hostnames": ["*.other.example"]}})),
    Case("httpRoute.timeouts.request", "60s", first("HTTPRoute", "spec", "rules", "0", "timeouts"), {"request": "60s"}, ROUTED),
    Case("httpRoute.timeouts.request", "", first("HTTPRoute", "spec", "rules", "0", "timeouts"), None, ROUTED),
    Case("httpRoute.timeouts.backendRequest", "33s", first("HTTPRoute", "spec", "rules", "0", "timeouts"), {"request": "35s", "backendRequest": "33s"}, ROUTED),
]
# fmt: on
