"""Whole renders kept as files, so that a change of the chart shows in a review what it changes for whom.

Run it to write them; test_chart_golden.py compares.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from effects import ENTERED, OWNED, OWNED_PARTS, PARTS, POOLED, ROUTED, TOPICS, TRIAL, WOKEN
from overlay import OVERLAYS, values_of_overlay
from rendering import CHART, DATABASE, EVERYTHING, KAFKA, Values, merged, rendered

FOLDER = Path(__file__).parent / "golden"

TEXT_OBJECT = """
apiVersion: v1
kind: Secret
metadata: { name: x, namespace: {{ .Values.namespaceOverride | quote }} }
"""
NARROW: Values = {
    "fullnameOverride": "orders",
    "namespaceOverride": "shop",
    "commonLabels": {"team": "orders"},
    "commonAnnotations": {"example.com/owner": "orders"},
    "global": {"imageRegistry": "registry.example"},
    "image": {"digest": f"sha256:{'0123456789abcdef' * 4}"},
    "imagePullSecrets": [{"name": "registry"}],
    "service": {"type": "LoadBalancer", "annotations": {"example.com/internal": True}},
    "serviceAccount": {"annotations": {"example.com/role": "engine"}},
    "probes": {"liveness": {"protocol": "grpc"}},
    "preStopSeconds": 0,
    "podAnnotations": {"example.com/revision": 1000000},
    "podLabels": {"tier": "back"},
    "podSecurityContext": {"runAsUser": None, "fsGroup": ""},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [
        {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "priorityClassName": "high",
    "runtimeClassName": "gvisor",
    "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["kafka-0.example"]}],
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.0.0.53"]},
    "extraEnv": [
        {"name": "WINDLASS_LANES", "value": 2},
        {"name": "X", "valueFrom": {"secretKeyRef": {"name": "x", "key": "x"}}},
    ],
    "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "extraInitContainers": [{"name": "first", "image": "registry.example/first:1"}],
    "extraContainers": [
        {"name": "beside", "image": "registry.example/beside:1", "securityContext": {"runAsUser": 2000}}
    ],
    "extraObjects": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "{{ .Release.Name }}-more", "namespace": "shop"},
            "data": {"lane-count": "2"},
        },
        TEXT_OBJECT,
    ],
}
MESHED: Values = {
    "platform": "openshift",
    "jobs": {
        "podAnnotations": {"example.com/inject": True},
        "podLabels": {"team": "orders"},
        "serviceAccount": {"create": True, "annotations": {"example.com/role": "jobs"}},
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "extraInitContainers": [
            {"name": "proxy", "image": "registry.example/proxy:1", "restartPolicy": "Always"}
        ],
    },
    "migrations": {"enabled": True, "annotations": {"argocd.argoproj.io/sync-wave": "-1"}},
    "kafka": {"saslUsername": "orders"},
}
"""A place that asks much of pods: a mesh, an identity for each Job, ids of the platform's choosing."""
OPEN_WAYS: Values = {
    "networkPolicy": {
        "enabled": True,
        "apiFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "orders"}}}],
        "metricsFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
        "databaseTo": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "databasePorts": [6432],
        "brokerTo": [{"podSelector": {"matchLabels": {"app": "kafka"}}}],
        "brokerPorts": [9094],
        "extraIngress": [{"ports": [{"port": 7000}]}],
        "extraEgress": [{"ports": [{"port": 443}]}],
    }
}
MONITORED: Values = {
    "podMonitor": {
        "enabled": True,
        "interval": "15s",
        "scrapeTimeout": "5s",
        "labels": {"release": "prometheus"},
        "relabelings": [{"targetLabel": "region", "replacement": "eu"}],
        "metricRelabelings": [{"sourceLabels": ["__name__"], "regex": "process_.*", "action": "drop"}],
    },
    "prometheusRule": {
        "enabled": True,
        "selector": 'job="orders"',
        "runbookUrl": "https://runbooks.example/",
        "disabled": ["WindlassPickupSlow"],
    },
    "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Orders"}},
}
KEDA: Values = {
    "keda": {
        "enabled": True,
        "queues": [{"jobType": "pay", "targetLength": 20}, {"jobType": "ship%20it", "targetLength": 1000000}],
        "annotations": {"autoscaling.keda.sh/paused": "true"},
    }
}
VERIFIED: Values = {
    "postgresql": {
        "host": "",
        "database": "orders",
        "secretKeys": {"host": "host", "port": "port"},
        "sslmode": "verify-full",
        "tls": {"existingConfigMap": "company-ca", "caKey": "root.pem"},
    }
}

TLS: Values = {
    "kafka": {
        "saslUsername": "u",
        "saslPassword": "p",
        "existingSecret": "",
        "tlsServerName": "kafka.example",
        "tls": {"existingSecret": "kafka-ca"},
    },
    "engine": {"dispatchMode": "polling", "db": {"maxConns": 8, "minConns": "2"}},
}
POOLS: Values = {
    "replicaCount": 3,
    "pools": [
        {"name": "next", "replicas": 1, "image": {"tag": "0.2.0"}},
        {
            "name": "pinned",
            "replicas": 0,
            "dispatchMode": "polling",
            "image": {"digest": f"sha256:{'fedcba9876543210' * 4}"},
        },
    ],
    "scheduler": {"replicas": 1},
    "podMonitor": {"enabled": True},
    "podDisruptionBudget": {"enabled": True, "minAvailable": "50%"},
    "topics": {"useHelmHooks": False},
    "migrations": {"enabled": True, "useHelmHooks": False},
    "kafka": {"tlsCaPath": "/etc/ssl/kafka.pem"},
    "service": {"type": "NodePort"},
    "tests": {"enabled": False},
}
WAYS_IN: Values = {
    "engine": {"idleTimeoutSeconds": 620, "grpc": {"connectionAgeSeconds": 60}},
    "service": {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"], "grpcAppProtocol": ""},
    "ingress": {
        "className": "nginx",
        "annotations": {"cert-manager.io/cluster-issuer": "public"},
        "hosts": [
            {
                "host": "jobs.example",
                "paths": [
                    {"path": "/v1", "pathType": "Prefix"},
                    {"path": "/ready", "pathType": "Exact"},
                ],
            },
            {"host": "*.jobs.example"},
        ],
        "tls": [{"secretName": "jobs-tls", "hosts": ["jobs.example", "*.jobs.example"]}],
        "grpc": {
            "annotations": {"nginx.ingress.kubernetes.io/backend-protocol": "GRPC"},
            "hosts": ["grpc.example", "jobs.example"],
            "tls": [{"secretName": "grpc-tls"}],
        },
    },
    "httpRoute": {
        "labels": {"gateway": "public"},
        "annotations": {"example.com/owner": "orders"},
        "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
        "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-debug"]}}],
        "timeouts": {"backendRequest": "33s"},
    },
    "grpcRoute": {
        "parentRefs": [{"name": "inner"}],
        "hostnames": ["jobs.example"],
        "matches": [{"method": {"service": "workflow.v1.WorkflowEngine"}}],
        "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["server"]}}],
    },
}
#: what is on one host or Gateway with REST and is still told apart
GRPC_IN: Values = {
    "ingress": {
        "hosts": [{"host": "grpc.example"}],
        "tls": [{"secretName": "any", "hosts": ["*.example"]}],
        "grpc": {"enabled": True, "hosts": ["grpc.example"]},
    },
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": []},
    "grpcRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["grpc.example"]},
}

CASES: Mapping[str, Values] = {
    "default": DATABASE,
    "trial": TRIAL,
    "two-roles": merged(
        OWNED,
        POOLED,
        {
            "postgresql": {"schema": "orders", "port": 6432},
            "networkPolicy": {"enabled": True},
            "migrations": {"appRole": "orders_app"},
            "engine": {"db": {"maxConns": 8}, "retentionDays": 90},
        },
    ),
    "pooled": merged(DATABASE, {"postgresql": {"pooler": "transaction"}, "migrations": {"enabled": True}}),
    "two-roles-in-parts": merged(
        OWNED_PARTS,
        {
            "postgresql": {"session": {"host": "db-direct", "port": 5433}},
            "migrations": {"user": "", "secretKeys": {"user": "username"}, "useHelmHooks": False},
            "networkPolicy": {"enabled": True},
        },
    ),
    "woken": merged(
        DATABASE,
        WOKEN,
        {
            "redis": {"secretKeys": {"password": "pw"}, "tls": {"existingConfigMap": "company-ca"}},
            "auth": {
                "existingSecret": "windlass-tokens",
                "metricsTokens": {"enabled": True, "existingSecret": "windlass-scrape"},
                "jwt": {
                    "issuer": "https://login.example.com",
                    "audience": "windlass",
                    "jwksUrl": "https://login.example.com:8443/keys",
                    "tls": {"existingConfigMap": "company-ca"},
                    "roles": [{"value": "ops", "role": "operator"}, {"value": "shop", "role": "client"}],
                },
            },
            "cors": {"origins": ["https://console.example.com"]},
            "podMonitor": {"enabled": True},
            "tls": {"existingSecret": "windlass-tls", "clientCASecret": "windlass-callers"},
            "tests": {"existingSecret": "windlass-test"},
            "networkPolicy": {"enabled": True},
            "migrations": {"enabled": True},
        },
    ),
    "parts": merged(PARTS, VERIFIED, {"migrations": {"enabled": True, "onStartup": False}}, KEDA),
    "everything": merged(TRIAL, KAFKA, EVERYTHING, TLS),
    "narrow": merged(DATABASE, NARROW, MONITORED, OPEN_WAYS),
    "topics": merged(TOPICS, OPEN_WAYS, POOLS),
    "meshed": merged(TOPICS, MESHED),
    "meshed-plain": merged(
        TOPICS, MESHED, {"migrations": {"useHelmHooks": False}, "topics": {"useHelmHooks": False}}
    ),
    "ways-in": merged(ENTERED, ROUTED, WAYS_IN),
    "grpc-in": merged(DATABASE, GRPC_IN),
    **{path.stem: values_of_overlay(path) for path in OVERLAYS},
}
LONG_CHARACTERS = 1000


def text_of(values: Values, chart: Path = CHART) -> str:
    result = rendered(values, chart=chart)
    objects = yaml.dump_all(
        _shortened(result.objects), Dumper=yaml.CSafeDumper, sort_keys=False, width=120, allow_unicode=True
    )
    notes = "".join(f"# {line}".rstrip() + "\n" for line in result.notes.splitlines())
    return f"{objects}---\n# NOTES.txt\n{notes}"


def _shortened(node: Any) -> Any:
    """Whole files (a dashboard, the test's program) are told by their digests."""
    if isinstance(node, dict):
        return {key: _shortened(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_shortened(value) for value in node]
    if isinstance(node, str) and len(node) > LONG_CHARACTERS:
        return f"{len(node)} characters, sha256 {hashlib.sha256(node.encode()).hexdigest()}"
    return node


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.yaml"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.yaml"):
        stale.unlink()
    for name, values in CASES.items():
        path_of(name).write_text(text_of(values))
