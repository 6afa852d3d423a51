"""The schema is strict, complete, and what the operator meets first: never a template's own error."""

import json
import shutil
from pathlib import Path
from typing import Any

import helm_python
import jsonschema_rs
import pytest
import yaml
from rendering import CHART, DATABASE, Values, merged, refusal_of, rendered
from values_schema import OPTIONAL, Key, defaults, has_default, leaves, schema, sections

from seatrial.render import render_chart

SECTIONS = [path for path, _ in sections(schema()) if path != ("global",)]
LEAVES = [path for path, _ in leaves(schema()) if has_default(path)]
JUDGE = jsonschema_rs.Draft7Validator(schema())
WRONG: tuple[Any, ...] = ({"nonsense": {"deep": 1}}, [["nonsense"]], True, "\u00a7", -1, 1.5)


def nested(path: Key, value: Any) -> Values:
    for key in reversed(path):
        value = {key: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("section", SECTIONS, ids=".".join)
def test_an_unknown_key_is_refused_at_every_level(section: Key) -> None:
    refusal = refusal_of(merged(DATABASE, nested((*section, "nonsense"), 1)))
    where = "/".join(("", *section))
    assert f"at '{where}': additional properties 'nonsense' not allowed" in refusal


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"imagePullSecrets": [{"name": "a", "nonsense": 1}]}, "/imagePullSecrets/0"),
        ({"tolerations": [{"nonsense": 1}]}, "/tolerations/0"),
        ({"affinity": {"nonsense": {}}}, "/affinity"),
        ({"topologySpreadConstraints": [{"nonsense": 1}]}, "/topologySpreadConstraints/0"),
        ({"extraEnv": [{"name": "A", "value": "1", "nonsense": 1}]}, "/extraEnv/0"),
        ({"extraEnvFrom": [{"secretRef": {"name": "a", "nonsense": 1}}]}, "/extraEnvFrom/0/secretRef"),
        ({"extraVolumeMounts": [{"name": "a", "mountPath": "/a", "nonsense": 1}]}, "/extraVolumeMounts/0"),
        ({"pools": [{"name": "a", "replicas": 1, "nonsense": 1}]}, "/pools/0"),
        ({"pools": [{"name": "a", "replicas": 1, "image": {"nonsense": 1}}]}, "/pools/0/image"),
        ({"keda": {"queues": [{"jobType": "a", "targetLength": 1, "nonsense": 1}]}}, "/keda/queues/0"),
        ({"networkPolicy": {"apiFrom": [{"nonsense": {}}]}}, "/networkPolicy/apiFrom/0"),
        ({"serviceMonitor": {"relabelings": [{"nonsense": "a"}]}}, "/serviceMonitor/relabelings/0"),
        ({"autoscaling": {"behavior": {"scaleUp": {"nonsense": 1}}}}, "/autoscaling/behavior/scaleUp"),
        ({"hostAliases": [{"nonsense": 1}]}, "/hostAliases/0"),
        ({"dnsConfig": {"nonsense": 1}}, "/dnsConfig"),
    ],
)
def test_an_unknown_key_is_refused_in_lists(values: Values, where: str) -> None:
    refusal = refusal_of(merged(DATABASE, values))
    assert f"at '{where}'" in refusal
    assert "'nonsense' not allowed" in refusal


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_a_wrong_value_is_refused_by_the_schema_and_named(path: Key) -> None:
    wrong = [
        values
        for values in (merged(DATABASE, nested(path, value)) for value in WRONG)
        if not JUDGE.is_valid(merged(defaults(), values))
    ]
    assert len(wrong) >= 2, "the schema takes nearly anything here"
    for values in wrong[:2]:
        assert f"at '/{'/'.join(path)}" in refusal_of(values)


def test_every_default_is_legal_and_every_key_is_required() -> None:
    """A key set to null goes from the values: the schema then misses it, and no template stumbles over it."""
    JUDGE.validate(defaults())
    for path, node in sections(schema()):
        if path not in {("global",), ("resources",), ("podSecurityContext",)}:
            assert set(node["required"]) == set(node["properties"]) - set(OPTIONAL if not path else ()), path


def test_every_example_is_legal() -> None:
    for path, node in leaves(schema()):
        judge = jsonschema_rs.Draft7Validator({**node, "definitions": schema()["definitions"]})
        for example in node.get("examples", ()):
            assert judge.is_valid(example), (path, example)


@pytest.mark.parametrize("section", [path for path in SECTIONS if path], ids=".".join)
def test_null_is_refused_or_renders(section: Key) -> None:
    """Helm takes a key out that is set to null, and templates that read on would say "nil pointer"."""
    for path in [section, *(leaf for leaf in LEAVES if leaf[:-1] == section)]:
        missing = json.loads(json.dumps(merged(defaults(), DATABASE)))
        holder = missing
        for key in path[:-1]:
            holder = holder[key]
        del holder[path[-1]]
        if JUDGE.is_valid(missing) or path == section:
            refusal = refusal_of(merged(DATABASE, nested(path, None)))
            assert refusal == "" or "missing propert" in refusal or "no database" in refusal, refusal


def test_every_key_is_described_in_sentences() -> None:
    assert [path for path, node in leaves(schema()) if not node["description"].endswith(".")] == []


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A parent chart that has ours as a subchart, switched by a condition."""
    folder = tmp_path_factory.mktemp("parent")
    chart = {
        "apiVersion": "v2",
        "name": "parent",
        "version": "1.0.0",
        "dependencies": [{"name": "windlass", "version": "0.1.0", "condition": "windlass.enabled"}],
    }
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart))
    (folder / "values.yaml").write_text(yaml.safe_dump({"global": {"region": "eu"}, "windlass": DATABASE}))
    shutil.copytree(CHART, folder / "charts" / "windlass")
    return folder


@pytest.mark.parametrize("extra", [{}, {"windlass": {"enabled": True}}, {"global": {"deep": {"er": 1}}}])
def test_as_a_subchart_it_renders_the_same(parent: Path, extra: Values) -> None:
    assert render_chart(parent, extra, "rel", "ns").objects == rendered(DATABASE).objects


def test_as_a_subchart_it_can_be_switched_off(parent: Path) -> None:
    assert render_chart(parent, {"windlass": {"enabled": False}}, "rel", "ns").objects == []


def test_lint_has_nothing_to_say() -> None:
    report = helm_python.lint(CHART, DATABASE, strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []
