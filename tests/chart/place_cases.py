# ruff: noqa: E501  (one line a case: a table reads better than code)
"""As value_cases.py, for the keys about where the chart is put: identities, meshes, OpenShift, what a Secret holds."""

from effects import CLOSED, INLINE, JOBS, OWN_ACCOUNTS, PARTS, SECURED, TOPICS, TRIAL, USER_NAMED
from fields import Case, Getter, first, pod, variable
from rendering import Values, merged
from value_cases import kafka

JOB_POD = ("Job", "spec", "template", "spec")
JOB_LABELS = ("Job", "spec", "template", "metadata", "labels")
AFFINITY: Values = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
PROXY: Values = {"name": "proxy", "image": "registry.example/proxy:1", "restartPolicy": "Always"}
OPEN_TO_DATABASE = ("NetworkPolicy", "spec", "egress", "1", "ports")
GUARDED_TRIAL = merged(TRIAL, {"networkPolicy": {"enabled": True}})
OPENSHIFT: Values = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def accounts(annotation: str) -> Getter:
    """Of each ServiceAccount its name, and what the annotation says."""
    return lambda result: {
        found["metadata"]["name"]: found["metadata"].get("annotations", {}).get(annotation)
        for found in result.of_kind("ServiceAccount")
    }


def dsn_ports(*ports: int) -> list[dict[str, int]]:
    return [{"port": port} for port in ports]


# fmt: off
PLACES = [
    Case("platform", "openshift", pod("spec", "securityContext"), OPENSHIFT),
    Case("platform", "openshift", first(*JOB_POD, "securityContext"), OPENSHIFT, JOBS),
    Case("platform", "openshift", first("Pod", "spec", "securityContext"), OPENSHIFT),
    *(Case(f"podSecurityContext.{key}", "", pod("spec", "securityContext", key), None) for key in ("runAsUser", "runAsGroup", "fsGroup")),
    Case("jobs.podAnnotations", {"a.b/c": 1000000}, first("Job", "spec", "template", "metadata", "annotations"), {"a.b/c": "1000000"}, JOBS),
    Case("jobs.podAnnotations", {"a.b/c": True}, first("Pod", "metadata", "annotations", "a.b/c"), "true"),
    Case("jobs.podAnnotations", {"helm.sh/hook": "pre-install", "a": "b"}, first("Pod", "metadata", "annotations", "helm.sh/hook"), "test"),
    Case("jobs.podAnnotations", {"a": "b"}, pod("metadata", "annotations", "a"), None, JOBS),
    Case("jobs.podLabels", {"team": 7}, first(*JOB_LABELS, "team"), "7", JOBS),
    Case("jobs.podLabels", {"team": 7}, first("Pod", "metadata", "labels", "team"), "7"),
    Case("jobs.serviceAccount.name", "orders", first(*JOB_POD, "serviceAccountName"), "orders", JOBS),
    Case("jobs.serviceAccount.name", "orders", first("Pod", "spec", "serviceAccountName"), "orders"),
    Case("jobs.serviceAccount.name", "orders", pod("spec", "serviceAccountName"), "rel-windlass", JOBS),
    Case("jobs.serviceAccount.name", "", first(*JOB_POD, "serviceAccountName"), None, JOBS, merged(JOBS, {"jobs": {"serviceAccount": {"name": "x"}}})),
    Case("jobs.serviceAccount.create", True, first(*JOB_POD, "serviceAccountName"), "rel-windlass-migrate", JOBS),
    Case("jobs.serviceAccount.create", True, first("Pod", "spec", "serviceAccountName"), "rel-windlass-test"),
    Case("jobs.serviceAccount.create", True, accounts("helm.sh/hook"),
         {"rel-windlass": None, "rel-windlass-topics": "pre-install,pre-upgrade", "rel-windlass-test": "test"}, TOPICS),
    Case("jobs.serviceAccount.create", True, accounts("helm.sh/hook-weight"),
         {"rel-windlass": None, "rel-windlass-migrate": "-5", "rel-windlass-test": "-5"}, JOBS),
    Case("jobs.serviceAccount.create", True, accounts("argocd.argoproj.io/sync-wave"), {"rel-windlass": None, "rel-windlass-migrate": "-1", "rel-windlass-test": None},
         merged(JOBS, {"migrations": {"useHelmHooks": False, "annotations": {"argocd.argoproj.io/sync-wave": "-1"}}})),
    Case("jobs.serviceAccount.annotations", {"a": "b"}, accounts("a"), {"rel-windlass": None, "rel-windlass-migrate": "b", "rel-windlass-test": "b"}, OWN_ACCOUNTS),
    Case("jobs.affinity", AFFINITY, first(*JOB_POD, "affinity"), AFFINITY, JOBS),
    Case("jobs.affinity", AFFINITY, first("Pod", "spec", "affinity"), AFFINITY),
    Case("jobs.affinity", AFFINITY, pod("spec", "affinity"), None, JOBS),
    Case("jobs.extraInitContainers", [PROXY], first(*JOB_POD, "initContainers", "0", "restartPolicy"), "Always", JOBS),
    Case("jobs.extraInitContainers", [PROXY], first(*JOB_POD, "initContainers", "0", "securityContext", "readOnlyRootFilesystem"), True, TOPICS),
    Case("jobs.extraInitContainers", [PROXY], first("Pod", "spec", "initContainers", "0", "name"), "proxy"),
    Case("jobs.extraInitContainers", [PROXY], pod("spec", "initContainers"), None, JOBS),
    Case("kafka.saslUsername", "orders", variable("WE_KAFKA_SASL_USERNAME"), "orders", SECURED),
    Case("kafka.saslUsername", "orders", variable("WE_KAFKA_SASL_PASSWORD"), {"name": "windlass-kafka", "key": "password"}, SECURED),
    Case("kafka.saslUsername", "orders", first("Secret"), None, SECURED),
    Case("kafka.existingSecretPasswordKey", "p", variable("WE_KAFKA_SASL_PASSWORD"), {"name": "windlass-kafka", "key": "p"}, USER_NAMED),
    Case("kafka.existingSecret", "own", variable("WE_KAFKA_SASL_USERNAME"), {"name": "own", "key": "username"},
         kafka(existingSecret="", saslUsername="", saslPassword=""), INLINE),
    *(Case("postgresql.dsn", dsn, first(*OPEN_TO_DATABASE), dsn_ports(*ports), GUARDED_TRIAL)
      for dsn, ports in (
          ("postgres://u:p@db:6432/one", [6432]),
          ("postgres://u:p%40@db/one?application_name=a", [5432]),
          ("postgresql://db:7000", [7000]),
          ("postgres://u:p@a:5433,b,[::1]:5434,[::1]/one", [5433, 5432, 5434]),
          ("postgres://u@/one?host=a&port=5433%2C5434", [5433, 5434]),
          ("host=db port=6433 user=u", [6433]),
          ("host=a,b port = '6433,6434'", [6433, 6434]),
          ("host=db airport=1 user=u", [5432]),
      )),
    Case("postgresql.port", 6432, first(*OPEN_TO_DATABASE), dsn_ports(6432), merged(PARTS, {"networkPolicy": {"enabled": True}})),
    Case("postgresql.session.host", "direct", first(*OPEN_TO_DATABASE), dsn_ports(6432, 5432),
         merged(PARTS, {"postgresql": {"port": 6432}, "networkPolicy": {"enabled": True}})),
    Case("migrations.existingSecret", "own", first(*OPEN_TO_DATABASE), dsn_ports(6432, 5432),
         merged(GUARDED_TRIAL, {"postgresql": {"dsn": "host=pooler port=6432"}, "migrations": {"enabled": True}})),
    Case("migrations.existingSecret", "own", first(*OPEN_TO_DATABASE), dsn_ports(6432),
         merged(PARTS, {"postgresql": {"port": 6432}, "migrations": {"enabled": True, "user": "o", "secretKeys": {"password": "p"}}, "networkPolicy": {"enabled": True}}),
         merged(PARTS, {"networkPolicy": {"enabled": True}})),
    Case("networkPolicy.databasePorts", [1], first(*OPEN_TO_DATABASE), dsn_ports(1), merged(GUARDED_TRIAL, {"postgresql": {"dsn": "host=db port=6432"}})),
    Case("networkPolicy.databasePorts", [1], first(*OPEN_TO_DATABASE), dsn_ports(1), CLOSED),
]
# fmt: on
