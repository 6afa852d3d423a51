"""Where each key acts: it is given another legal value, and the two renders are compared field by field.

The README's table and the proof that no key is accepted and ignored are both made of this.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from rendering import DATABASE, KAFKA, Values, merged, rendered
from values_schema import Key, leaves, schema

from seatrial.render import Rendered

TRIAL: Values = {"postgresql": {"dsn": "postgres://u:pw@db/one"}}
PARTS: Values = {
    "postgresql": {
        "existingSecret": "windlass-db",
        "host": "db",
        "user": "w",
        "secretKeys": {"password": "pw"},
    }
}
POOLED: Values = merged(DATABASE, {"postgresql": {"session": {"existingSecretKey": "session-dsn"}}})
POOLED_PARTS: Values = merged(PARTS, {"postgresql": {"session": {"host": "db-direct"}}})
OWNED: Values = merged(DATABASE, {"migrations": {"enabled": True, "existingSecret": "windlass-db-owner"}})
OWNED_PARTS: Values = merged(
    PARTS,
    {
        "migrations": {
            "enabled": True,
            "existingSecret": "windlass-db-owner",
            "user": "owner",
            "secretKeys": {"password": "pw"},
        }
    },
)
SECURED: Values = merged(DATABASE, KAFKA)
WOKEN: Values = merged(
    DATABASE,
    {
        "engine": {"wakeBus": "redis"},
        "redis": {"existingSecret": "windlass-redis", "secretKeys": {"url": "u"}},
    },
)
INLINE: Values = merged(SECURED, {"kafka": {"existingSecret": "", "saslUsername": "u", "saslPassword": "p"}})
TOPICS: Values = merged(
    SECURED,
    {
        "topics": {
            "enabled": True,
            "definitions": {"existingConfigMap": "definitions", "files": ["pay.json"]},
        }
    },
)
ASKED: Values = merged(
    DATABASE, {"auth": {"existingSecret": "windlass-tokens"}, "tests": {"existingSecret": "windlass-admin"}}
)
SERVED: Values = merged(DATABASE, {"tls": {"existingSecret": "windlass-tls"}})
SERVED_TO: Values = merged(SERVED, {"tls": {"clientCASecret": "windlass-callers"}})
SCRAPED: Values = merged(SERVED, {"serviceMonitor": {"enabled": True}})
SCALED: Values = merged(DATABASE, {"autoscaling": {"enabled": True}})
KEDA: Values = merged(
    DATABASE, {"keda": {"enabled": True, "queues": [{"jobType": "pay", "targetLength": 20}]}}
)
GUARDED: Values = merged(DATABASE, {"replicaCount": 4, "podDisruptionBudget": {"enabled": True}})
CLOSED: Values = merged(SECURED, {"networkPolicy": {"enabled": True}})
POOL: Values = merged(SECURED, {"pools": [{"name": "pool", "replicas": 1}]})
ALERTED: Values = merged(SECURED, POOL, {"pools": [{"name": "pool", "replicas": 1, "dispatchMode": "polling"}]},
                         {"prometheusRule": {"enabled": True}, "engine": {"retentionDays": 30}})  # fmt: skip


def nested(key: str, value: Any) -> Values:
    for part in reversed(key.split(".")):
        value = [value] if part.endswith("[]") else value
        value = {part.removesuffix("[]"): value}
    assert isinstance(value, dict)
    return value


def _enabled(section: str) -> Values:
    return merged(DATABASE, {section: {"enabled": True}})


CONTEXTS: Mapping[str, Values] = {
    "": DATABASE,
    "pools[]": POOL,
    "engine.dispatchMode": merged(DATABASE, {"kafka": {"seedBrokers": "kafka:9092"}}),
    "auth": ASKED,
    "auth.existingSecret": merged(DATABASE, {"tests": {"enabled": False}}),
    "tls": SERVED,
    "tls.existingSecret": DATABASE,
    "tls.serverName": SCRAPED,
    "tls.clientCAKey": SERVED_TO,
    "tests.existingSecret": ASKED,
    "tests.existingSecretKey": ASKED,
    "postgresql.dsn": TRIAL,
    "postgresql.host": PARTS,
    "postgresql.port": PARTS,
    "postgresql.database": PARTS,
    "postgresql.user": PARTS,
    "postgresql.secretKeys": PARTS,
    "postgresql.tls.caKey": merged(DATABASE, {"postgresql": {"tls": {"existingSecret": "ca"}}}),
    "postgresql.session": POOLED,
    "postgresql.session.existingSecretKey": DATABASE,
    "postgresql.session.host": PARTS,
    "postgresql.session.port": POOLED_PARTS,
    "kafka": SECURED,
    "kafka.saslUsername": INLINE,
    "kafka.saslPassword": INLINE,
    "kafka.tls.caKey": merged(SECURED, {"kafka": {"tls": {"existingSecret": "ca"}}}),
    "redis": WOKEN,
    "redis.url": merged(
        WOKEN, {"redis": {"url": "rediss://one", "existingSecret": "", "secretKeys": {"url": ""}}}
    ),
    "redis.tls.caKey": merged(WOKEN, {"redis": {"tls": {"existingSecret": "ca"}}}),
    "migrations": _enabled("migrations"),
    "migrations.enabled": DATABASE,
    "migrations.existingSecretKey": OWNED,
    "migrations.user": OWNED_PARTS,
    "migrations.secretKeys": OWNED_PARTS,
    "migrations.appRole": OWNED,
    "topics": TOPICS,
    "topics.enabled": merged(TOPICS, {"topics": {"enabled": False}}),
    "autoscaling": SCALED,
    "autoscaling.enabled": DATABASE,
    "keda": KEDA,
    "keda.enabled": merged(KEDA, {"keda": {"enabled": False}}),
    "podDisruptionBudget": GUARDED,
    "podDisruptionBudget.enabled": merged(GUARDED, {"podDisruptionBudget": {"enabled": False}}),
    "networkPolicy": CLOSED,
    "networkPolicy.enabled": DATABASE,
    "networkPolicy.redisTo": merged(WOKEN, {"networkPolicy": {"enabled": True}}),
    "networkPolicy.redisPorts": merged(WOKEN, {"networkPolicy": {"enabled": True}}),
    "serviceMonitor": _enabled("serviceMonitor"),
    "serviceMonitor.enabled": DATABASE,
    "podMonitor": _enabled("podMonitor"),
    "podMonitor.enabled": DATABASE,
    "prometheusRule": ALERTED,
    "prometheusRule.enabled": DATABASE,
    "dashboards": _enabled("dashboards"),
    "dashboards.enabled": DATABASE,
    "extraVolumeMounts": merged(
        DATABASE, {"extraVolumes": [{"name": "ca", "configMap": {"name": "company-ca"}}]}
    ),
}
"""What has to be set so that a key can act; the longest name that a key begins with counts."""

BESIDE: Mapping[str, Values] = {
    "kafka.transport": {"kafka": {"existingSecret": ""}},
    "migrations.secretKeys.user": {"migrations": {"user": ""}},
    "postgresql.secretKeys.host": {"postgresql": {"host": ""}},
    "postgresql.secretKeys.user": {"postgresql": {"user": ""}},
}
"""What goes with the other value, for the two cannot stand together."""

OTHERS: Mapping[str, Any] = {
    "engine.dispatchMode": "kafka_outbox",
    "kafka.transport": "plaintext",
    "kafka.saslPassword": "other",
    "pools[].dispatchMode": "polling",
}
"""Another value of keys whose schema has no example."""


def context_of(key: str) -> Values:
    names = [
        name for name in CONTEXTS if key == name or key.startswith((f"{name}.", f"{name}[]")) or not name
    ]
    return CONTEXTS[max(names, key=len)]


def examples_of(key: str, node: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = list(node.get("examples", ()))
    return found or [OTHERS[key]]


def changed(key: str, value: Any) -> Values:
    """The values with this key given; the other keys of a list's item stay."""
    context = context_of(key)
    section, is_item, rest = key.partition("[].")
    if not is_item:
        return merged(context, nested(key, value), BESIDE.get(key, {}))
    items: Any = context
    for part in section.split("."):
        items = items[part]
    return merged(context, nested(section, [merged(items[0], nested(rest, value))]))


def effects(key: str, value: Any) -> list[str]:
    """`Kind .path` of each field that differs; the pods' before others, fewest details first."""
    before, after = _fields(rendered(context_of(key))), _fields(rendered(changed(key, value)))
    differing = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return sorted(differing, key=lambda name: (not name.startswith("Deployment"), name.count("."), name))


def _fields(result: Rendered) -> dict[str, Any]:
    """Every leaf of every object. Names are left out of the path, so that a renamed object is the same object."""
    found: dict[str, Any] = {}
    for index, each in enumerate(result.objects):
        twin = sum(other["kind"] == each["kind"] for other in result.objects[:index])
        for path, value in _walk(each):
            found[f"{each['kind']}{f' {twin + 1}' if twin else ''} {path}"] = value
    return found


def _walk(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for key, child in node.items():
            yield from _walk(child, f"{path}.{key}")
    elif isinstance(node, list) and node:
        for index, child in enumerate(node):
            name = child.get("name", index) if isinstance(child, dict) else index
            yield from _walk(child, f"{path}[{name}]")
    else:
        yield path, node


@functools.cache
def acts_on(path: Key) -> str:
    """The field that tells most of what a key does, for the table."""
    key = ".".join(path)
    if path == ("enabled",):
        return "nothing"
    node = dict(leaves(schema()))[path]
    found = effects(key, examples_of(key, node)[0])
    assert found, f"{key} is accepted and ignored"
    return f"{found[0].replace(' .', ' `.', 1)}`" + (f" and {len(found) - 1} more" if len(found) > 1 else "")
