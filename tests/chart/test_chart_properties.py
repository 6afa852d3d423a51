"""Random values from the chart's own schema: legal ones never fail, and every rule of rendering.py holds for them."""

import json
import math
import re
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from rendering import EVERYTHING, KAFKA, Values, merged, rendered
from validity import Object
from values_schema import schema

ROOT = schema()
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
MORE = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "more", "namespace": "{{ .Values.namespaceOverride | default .Release.Namespace }}"},
}
HEADERS = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": "1"}]}}
SPECIAL = {
    "httpRoute.matches": st.sampled_from([[], [{"path": {"type": "Exact", "value": "/ready"}}]]),
    "grpcRoute.matches": st.sampled_from([[], [{"method": {"service": "workflow.v1.WorkflowEngine"}}]]),
    "httpRoute.filters": st.sampled_from([[], [HEADERS]]),
    "grpcRoute.filters": st.sampled_from([[], [HEADERS]]),
    "postgresql.dsn": st.sampled_from(
        ["", "postgres://u:p@db:5432/one?sslmode=require", "host=db dbname=one"]
    ),
    "enabled": st.booleans(),
    "extraObjects": st.sampled_from([[], [MORE], [json.dumps(MORE)]]),
}


def resolved(node: Object) -> Object:
    if "$ref" in node:
        target = ROOT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return target
    return node


def legal(node: Object, path: str = "") -> st.SearchStrategy[Any]:
    """What the schema allows at this node, as far as it says; objects without keys of their own stay empty."""
    node = resolved(node)
    if path in SPECIAL:
        return SPECIAL[path]
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if "anyOf" in node:
        return st.one_of(*(legal(option) for option in node["anyOf"]))
    if isinstance(node.get("type"), list):
        return st.one_of(*(legal({"type": option}) for option in node["type"]))
    return {"object": _object, "array": _array}.get(node["type"], _scalar)(node, path)


def _object(node: Object, path: str) -> st.SearchStrategy[Any]:
    if "properties" in node:
        keys = {key: legal(child, f"{path}.{key}".strip(".")) for key, child in node["properties"].items()}
        alternatives = [option["required"] for option in node.get("oneOf", [{"required": []}])]
        excluded = {key for option in alternatives for key in option}
        # the root and the sections are laid over the defaults, so their `required` is met already
        needed = set(node.get("required", ())) if path.startswith("[]") else {"enabled"} & keys.keys()
        return st.one_of(
            *(
                st.fixed_dictionaries(
                    {key: keys[key] for key in keys if key in needed | set(option)},
                    optional={key: keys[key] for key in keys if key not in needed | excluded},
                )
                for option in alternatives
            )
        ).filter(lambda found: len(found) >= node.get("minProperties", 0))
    if isinstance(node.get("additionalProperties"), dict):
        pattern = resolved(node.get("propertyNames", {"pattern": "^[a-z]{1,9}$"}))["pattern"]
        return st.dictionaries(
            st.from_regex(pattern, fullmatch=True), legal(node["additionalProperties"]), max_size=3
        )
    return st.just({})


def _array(node: Object, _path: str) -> st.SearchStrategy[Any]:
    return st.lists(
        legal(node["items"], "[]"),
        min_size=node.get("minItems", 0),
        max_size=3,
        unique_by=repr if node.get("uniqueItems") else None,
    )


def _scalar(node: Object, _path: str) -> st.SearchStrategy[Any]:
    if node["type"] == "boolean":
        return st.booleans()
    if node["type"] == "integer":
        return st.integers(node.get("minimum", 0), node.get("maximum", 10**9))
    if node["type"] == "number":
        low, high = node.get("minimum", 0), node.get("maximum", 10**12)
        return st.one_of(st.integers(math.ceil(low), int(high)), st.floats(low, high, allow_nan=False))
    if "pattern" not in node:
        return TEXT.filter(lambda text: len(text) >= node.get("minLength", 0))
    return st.from_regex(node["pattern"], fullmatch=True).filter(
        lambda text: len(text) <= node.get("maxLength", 99)
    )


def consistent(values: Values) -> Values:
    """The nearest values that break none of the rules across keys."""
    values = merged(values)
    _postgresql(values.setdefault("postgresql", {}))
    _migrations(values.setdefault("migrations", {}), values["postgresql"])
    _engine(values.setdefault("engine", {}))
    _kafka(values)
    _redis(values)
    _tracing(values)
    _auth(values)
    _ways(values)
    _tls(values)
    _replicas(values)
    _rollout(values)
    _pod(values)
    _jobs(values)
    return values


def _postgresql(postgresql: Values) -> None:
    keys = postgresql.setdefault("secretKeys", {})
    tls = postgresql.setdefault("tls", {})
    parts = any([postgresql.get(part) for part in ("host", "user", "database")] + list(keys.values()))
    if parts:
        postgresql["dsn"] = ""
        for part in ("host", "user"):
            if not keys.get(part):
                postgresql[part] = postgresql.get(part) or "given"
        for part in ("host", "user", "database"):
            if postgresql.get(part):
                keys[part] = ""
        postgresql["existingSecret"] = "parts" if any(keys.values()) else ""
        postgresql["existingSecretKey"] = "dsn"
    elif postgresql.get("existingSecret"):
        postgresql["dsn"] = ""
    else:
        postgresql["dsn"] = postgresql.get("dsn") or "host=db"
    if tls.get("existingSecret") or postgresql.get("sslmode", "").startswith("verify-"):
        tls["existingConfigMap"] = ""
        tls["existingSecret"] = tls.get("existingSecret") or "ca"
    if "sslmode" in postgresql["dsn"]:
        postgresql["sslmode"] = ""
    elif parts and (tls.get("existingSecret") or tls.get("existingConfigMap")):
        postgresql["sslmode"] = "verify-full"

    _session(postgresql.setdefault("session", {}), postgresql, in_parts=parts)


def _session(session: Values, postgresql: Values, *, in_parts: bool) -> None:
    if session.get("host") and not in_parts:
        session["host"] = ""
    if session.get("host"):
        session["existingSecretKey"] = session["existingSecret"] = ""
    elif session.get("existingSecret") or session.get("existingSecretKey"):
        session["existingSecret"] = session.get("existingSecret") or "direct"
        session["existingSecretKey"] = session.get("existingSecretKey") or "direct"
    if not in_parts and session.get("existingSecret") == postgresql.get("existingSecret"):
        session["existingSecret"] = session["existingSecretKey"] = ""


def _migrations(migrations: Values, postgresql: Values) -> None:
    keys = migrations.setdefault("secretKeys", {})
    in_parts = any(
        [postgresql.get(part) for part in ("host", "user", "database")]
        + list(postgresql["secretKeys"].values())
    )
    if not migrations.get("existingSecret") or not in_parts:
        migrations["user"] = keys["user"] = keys["password"] = ""
    if not migrations.get("existingSecret"):
        migrations["appRole"] = ""
        return
    migrations["enabled"] = True
    migrations["existingSecret"] += "-owner"
    if in_parts:
        migrations["existingSecretKey"] = "dsn"
        keys["password"] = keys.get("password") or "pw"
        keys["user"] = "" if migrations.get("user") else keys.get("user") or "user"


def _engine(engine: Values) -> None:
    ports = [
        engine.get(name, {}).get("port", port)
        for name, port in (("rest", 8080), ("grpc", 9090), ("metrics", 9091))
    ]
    if len(set(ports)) < 3:
        for name in ("rest", "grpc", "metrics"):
            engine.pop(name, None)
    pool = engine.get("db", {})
    if int(pool.get("minConns") or 0) > int(pool.get("maxConns") or 10**6):
        pool["minConns"] = ""


def _kafka(values: Values) -> None:
    kafka = values.setdefault("kafka", {})
    pools = values["pools"] = list({pool["name"]: pool for pool in values.get("pools", ())}.values())
    common = values["engine"].get("dispatchMode", "polling")
    topics = values.setdefault("topics", {})
    if "kafka_outbox" not in {common, *(pool.get("dispatchMode", common) for pool in pools)}:
        topics["enabled"] = False
        return
    definitions = topics.setdefault("definitions", {})
    definitions["existingConfigMap"] = definitions.get("existingConfigMap") or "definitions"
    definitions["files"] = definitions.get("files") or ["one.json"]
    kafka["seedBrokers"] = kafka.get("seedBrokers") or "kafka:9092"
    tls = kafka.setdefault("tls", {})
    if kafka.get("transport") != "sasl_scram_tls":
        for key in ("saslUsername", "saslPassword", "existingSecret", "tlsCaPath", "tlsServerName"):
            kafka[key] = ""
        tls["existingSecret"] = tls["existingConfigMap"] = ""
        return
    if kafka.get("existingSecret"):
        kafka["saslPassword"] = ""
        if kafka.get("saslUsername"):
            kafka["existingSecretUsernameKey"] = "username"
    else:
        kafka["saslUsername"] = kafka.get("saslUsername") or "user"
        kafka["saslPassword"] = kafka.get("saslPassword") or "password"
    if tls.get("existingSecret") or tls.get("existingConfigMap"):
        kafka["tlsCaPath"] = ""
    if tls.get("existingSecret"):
        tls["existingConfigMap"] = ""


def _tracing(values: Values) -> None:
    tracing = values.setdefault("tracing", {})
    tls = tracing.setdefault("tls", {})
    if not tracing.get("endpoint"):
        tracing.pop("sampleRatio", None)
        tracing["existingSecret"] = tls["existingSecret"] = tls["existingConfigMap"] = ""
        return
    tracing["endpoint"] = tracing["endpoint"].removesuffix("/").removesuffix("/v1/traces")
    if tls.get("existingSecret") or not tracing["endpoint"].startswith("https:"):
        tls["existingConfigMap"] = ""
    if not tracing["endpoint"].startswith("https:"):
        tls["existingSecret"] = ""


def _auth(values: Values) -> None:
    auth, tests = values.setdefault("auth", {}), values.setdefault("tests", {})
    jwt = auth.setdefault("jwt", {})
    _jwt(jwt)
    is_on = auth.get("existingSecret") or jwt.get("issuer")
    if not is_on:
        tests["existingSecret"] = ""
    elif tests.get("enabled", True):
        tests["existingSecret"] = tests.get("existingSecret") or "admin"
    metrics = auth.setdefault("metricsTokens", {})
    if not is_on:
        metrics["enabled"] = False
    metrics["existingSecret"] = metrics.get("existingSecret") or "scrape" if metrics.get("enabled") else ""
    cors = values.setdefault("cors", {})
    if is_on:
        cors["origins"] = [origin for origin in cors.get("origins", []) if origin != "*"]


def _jwt(jwt: Values) -> None:
    keys, tls = jwt.setdefault("jwks", {}), jwt.setdefault("tls", {})
    if not jwt.get("issuer"):
        jwt["audience"] = jwt["jwksUrl"] = ""
        jwt["roles"] = []
        return
    jwt["audience"] = jwt.get("audience") or "given"
    jwt["roles"] = jwt.get("roles") or [{"value": "given", "role": "client"}]
    for source in (keys, tls):
        if source.get("existingSecret"):
            source["existingConfigMap"] = ""
    if keys.get("existingSecret") or keys.get("existingConfigMap"):
        jwt["jwksUrl"] = tls["existingSecret"] = tls["existingConfigMap"] = ""
    else:
        jwt["jwksUrl"] = jwt.get("jwksUrl") or "https://given"


def _tls(values: Values) -> None:
    tls = values.setdefault("tls", {})
    if not tls.get("existingSecret"):
        tls["clientCASecret"] = tls["serverName"] = ""
    else:
        values.setdefault("probes", {}).setdefault("liveness", {})["protocol"] = "http"


def _redis(values: Values) -> None:
    redis = values.setdefault("redis", {})
    keys, tls = redis.setdefault("secretKeys", {}), redis.setdefault("tls", {})
    if values["engine"].get("wakeBus") != "redis":
        redis["url"] = redis["existingSecret"] = keys["url"] = keys["password"] = ""
        tls["existingSecret"] = tls["existingConfigMap"] = ""
        return
    redis["url"] = "" if keys.get("url") else "rediss://redis"
    redis["existingSecret"] = "redis" if any(keys.values()) else ""
    if tls.get("existingSecret"):
        tls["existingConfigMap"] = ""


def _replicas(values: Values) -> None:
    scaling, keda = values.setdefault("autoscaling", {}), values.setdefault("keda", {})
    if scaling.get("enabled"):
        keda["enabled"] = False
    for bounded in (scaling, keda):
        bounds = sorted((bounded.get("minReplicas", 1), bounded.get("maxReplicas", 5)))
        bounded["minReplicas"], bounded["maxReplicas"] = bounds
    keda["queues"] = keda.get("queues") or [{"jobType": "pay", "targetLength": 1}]
    values.setdefault("resources", {}).setdefault("requests", {})["cpu"] = "100m"
    budget = values.setdefault("podDisruptionBudget", {})
    if budget.get("maxUnavailable"):
        budget["minAvailable"] = ""
    elif budget.get("minAvailable"):
        fewest = next(
            (each["minReplicas"] for each in (scaling, keda) if each.get("enabled")),
            values.get("replicaCount", 1),
        )
        budget["minAvailable"] = max(0, fewest - 1)


def _ways(values: Values) -> None:
    service = values.get("service", {})
    if len(service.get("ipFamilies", ())) > 1:
        service["ipFamilyPolicy"] = "PreferDualStack"
    ingress = values.setdefault("ingress", {})
    grpc = ingress.setdefault("grpc", {})
    grpc["hosts"] = [f"grpc-{host}" for host in grpc.get("hosts", ()) if host[0] != "*"] or ["grpc.example"]
    ingress["hosts"] = [each for each in ingress.get("hosts", ()) if each["host"] not in grpc["hosts"]]
    ingress["hosts"] = ingress["hosts"] or [{"host": "jobs.example"}]
    for section in (ingress, grpc):
        section["tls"] = [{"secretName": each.get("secretName", "tls")} for each in section.get("tls", ())]
    route = values.setdefault("httpRoute", {})
    route["parentRefs"] = [{"name": "public"}]
    route["timeouts"] = {"request": "60s"}
    route = values.setdefault("grpcRoute", {})
    # Of another Gateway, since both may be for every hostname.
    route["parentRefs"] = [{"name": "inner", "sectionName": "grpc"}]


def _rollout(values: Values) -> None:
    grace_s = values.get("preStopSeconds", 5) + values["engine"].get("shutdownGraceSeconds", 30) + 5
    values["terminationGracePeriodSeconds"] = max(values.get("terminationGracePeriodSeconds", 45), grace_s)
    rolling = values.setdefault("rollingUpdate", {})
    if str(rolling.get("maxUnavailable", 0)) in {"0", "0%"}:
        rolling["maxSurge"] = 1
    if values.get("serviceMonitor", {}).get("enabled"):
        values.setdefault("podMonitor", {})["enabled"] = False


def _pod(values: Values) -> None:
    volumes = {volume["name"]: volume for volume in values.get("extraVolumes", ())}
    values["extraVolumes"] = list(volumes.values())
    mounts = {
        mount["mountPath"]: mount for mount in values.get("extraVolumeMounts", ()) if mount["name"] in volumes
    }
    values["extraVolumeMounts"] = list(mounts.values())
    values["extraEnv"] = list({entry["name"]: entry for entry in values.get("extraEnv", ())}.values())
    names: set[str] = set()
    for section in ("extraInitContainers", "extraContainers"):
        unique = {each["name"]: each for each in values.get(section, ()) if each["name"] not in names}
        values[section] = list(unique.values())
        names |= set(unique)


def _jobs(values: Values) -> None:
    if values.get("platform") == "openshift":
        values["podSecurityContext"] = {}
    jobs = values.setdefault("jobs", {})
    account = jobs.setdefault("serviceAccount", {})
    if account.get("create"):
        account["name"] = ""
    else:
        account["annotations"] = {}
    jobs["extraInitContainers"] = list(
        {each["name"]: each for each in jobs.get("extraInitContainers", ())}.values()
    )


LEGAL = legal(ROOT).map(consistent)
ROUNDS_MAX = 8
"""Until each kind of object has been drawn."""
QUICK = settings(max_examples=50, deadline=None, derandomize=True, database=None,
                 suppress_health_check=list(HealthCheck))  # fmt: skip


def test_legal_values_never_fail() -> None:
    """`rendered` holds each object to Kubernetes' strict schemas, to restricted security and to its references.

    Every key and every kind of object is among the cases, else the properties would hold for want of them.
    """
    kinds: set[str] = set()
    keys: set[str] = set()

    @settings(QUICK, derandomize=False, max_examples=130)
    @given(LEGAL)
    def draw(values: Values) -> None:
        result = rendered(values)
        assert result.of_kind("Deployment")
        kinds.update(found["kind"] for found in result.objects)
        keys.update(re.findall(r"'(\w+)'", str(values)))

    everything = rendered(merged({"postgresql": {"dsn": "host=db"}}, EVERYTHING))
    wanted = {found["kind"] for found in everything.objects} | {"PodMonitor", "ScaledObject"}
    for number in range(ROUNDS_MAX):
        # What is drawn differs from process to process: sets have another order in each.
        seed(number)(draw)()
        if kinds >= wanted and keys >= set(ROOT["properties"]):
            break
    assert kinds >= wanted
    assert keys >= set(ROOT["properties"])


@QUICK
@given(st.fixed_dictionaries({"podAnnotations": st.dictionaries(st.just("a"), TEXT), "value": TEXT}))
def test_strings_arrive_as_they_were_written(drawn: Values) -> None:
    values = merged(
        {"postgresql": {"dsn": "host=db"}, "podAnnotations": drawn["podAnnotations"]},
        {"extraEnv": [{"name": "A", "value": drawn["value"].replace("$", "")}]},
    )
    result = rendered(values)
    annotations = result.of_kind("Deployment")[0]["spec"]["template"]["metadata"]["annotations"]
    assert {key: annotations[key] for key in drawn["podAnnotations"]} == drawn["podAnnotations"]
    assert result.containers()[0].env["A"] == drawn["value"].replace("$", "")


@QUICK
@given(TEXT, TEXT)
def test_credentials_arrive_as_they_were_written(user: str, password: str) -> None:
    kafka = {"existingSecret": "", "saslUsername": f"u{user}", "saslPassword": f"p{password}"}
    dsn = f"host=db password={password} user=u"
    env = rendered(merged(KAFKA, {"kafka": kafka, "postgresql": {"dsn": dsn}})).containers()[0].env
    assert (env["WE_KAFKA_SASL_USERNAME"], env["WE_KAFKA_SASL_PASSWORD"]) == (f"u{user}", f"p{password}")
    assert env["WE_POSTGRES_DSN"] == dsn
