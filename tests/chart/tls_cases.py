"""The cases of the keys below `tls`."""

from effects import KEDA, SCRAPED
from fields import Case, container, first, metrics_service, variable, volume
from rendering import DATABASE, merged

CA = {"key": "ca.crt", "path": "ca.crt"}
TLS_CASES = [
    Case(
        "tls.existingSecret",
        "own",
        volume("tls"),
        {
            "secret": {
                "secretName": "own",
                "items": [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}],
            }
        },
    ),
    Case(
        "tls.existingSecret",
        "own",
        container("volumeMounts", "1"),
        {"name": "tls", "mountPath": "/etc/windlass/tls", "readOnly": True},
    ),
    Case("tls.existingSecret", "own", variable("WINDLASS_TLS_CERT_FILE"), "/etc/windlass/tls/tls.crt"),
    Case("tls.existingSecret", "own", variable("WINDLASS_TLS_KEY_FILE"), "/etc/windlass/tls/tls.key"),
    *(
        Case("tls.existingSecret", "own", container(probe, "httpGet", "scheme"), "HTTPS")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    ),
    *(
        Case("tls.existingSecret", "own", first("Service", "spec", "ports", port, "appProtocol"), "https")
        for port in ("0", "1")
    ),
    Case("tls.existingSecret", "own", metrics_service("spec", "ports", "0", "appProtocol"), "https"),
    Case(
        "tls.existingSecret",
        "own",
        first("Pod", "spec", "containers", "0", "env", "0", "value"),
        "https://rel-windlass.ns.svc:8080",
    ),
    Case(
        "tls.existingSecret",
        "own",
        first("Pod", "spec", "volumes", "1"),
        {"name": "tls-ca", "secret": {"secretName": "own", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ),
    Case(
        "tls.existingSecret",
        "own",
        first("ServiceMonitor", "spec", "endpoints", "0", "scheme"),
        "https",
        merged(DATABASE, {"serviceMonitor": {"enabled": True}}),
    ),
    Case(
        "tls.existingSecret",
        "own",
        first("PodMonitor", "spec", "podMetricsEndpoints", "0", "tlsConfig"),
        {"serverName": "rel-windlass.ns.svc", "ca": {"secret": {"name": "own", "key": "ca.crt"}}},
        merged(DATABASE, {"podMonitor": {"enabled": True}}),
    ),
    Case(
        "tls.existingSecret",
        "own",
        first("ScaledObject", "spec", "triggers", "0", "metadata", "url"),
        "https://rel-windlass-metrics.ns.svc:9091/metrics/pay",
        KEDA,
    ),
    Case(
        "tls.caKey",
        "ca.pem",
        first("Pod", "spec", "containers", "0", "env", "2"),
        {"name": "SSL_CERT_FILE", "value": "/etc/windlass/tls-ca/ca.pem"},
    ),
    Case("tls.caKey", "", first("Pod", "spec", "containers", "0", "env", "2"), None),
    Case(
        "tls.caKey",
        "",
        first("ServiceMonitor", "spec", "endpoints", "0", "tlsConfig"),
        {"serverName": "rel-windlass.ns.svc"},
        SCRAPED,
    ),
    Case(
        "tls.serverName",
        "w.example.com",
        first("ServiceMonitor", "spec", "endpoints", "0", "tlsConfig", "serverName"),
        "w.example.com",
    ),
    Case("tls.metrics", False, variable("WINDLASS_TLS_METRICS"), "false"),
    Case("tls.metrics", False, metrics_service("spec", "ports", "0", "appProtocol"), "http"),
    Case("tls.metrics", False, first("ServiceMonitor", "spec", "endpoints", "0", "scheme"), None, SCRAPED),
    Case(
        "tls.clientCASecret", "own", volume("tls-client-ca"), {"secret": {"secretName": "own", "items": [CA]}}
    ),
    Case(
        "tls.clientCASecret",
        "own",
        container("volumeMounts", "2"),
        {"name": "tls-client-ca", "mountPath": "/etc/windlass/tls-client-ca", "readOnly": True},
    ),
    Case(
        "tls.clientCAKey",
        "ca.pem",
        variable("WINDLASS_TLS_CLIENT_CA_FILE"),
        "/etc/windlass/tls-client-ca/ca.pem",
    ),
]
