"""The schema is strict, complete, and what the operator meets first: never a template's own error."""

import shutil
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import pytest
import yaml
from rendering import CHART, DATABASE, Values, merged, refusal_of, rendered
from values_table import OPTIONAL, default_of, defaults, leaves, schema, sections

from seatrial.render import render_chart

SECTIONS = [path for path, _ in sections(schema())]
LEAVES = [path for path, _ in leaves(schema()) if path[0] not in OPTIONAL]
WRONG: tuple[Any, ...] = ({"nonsense": {"deep": 1}}, [["nonsense"]], True, "\u00a7", -1, 1.5)


def nested(path: tuple[str, ...], value: Any) -> Values:
    for key in reversed(path):
        value = {key: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("section", SECTIONS, ids=".".join)
def test_an_unknown_key_is_refused_at_every_level(section: tuple[str, ...]) -> None:
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
    ],
)
def test_an_unknown_key_is_refused_in_lists(values: Values, where: str) -> None:
    refusal = refusal_of(merged(DATABASE, values))
    assert f"at '{where}'" in refusal
    assert "'nonsense' not allowed" in refusal


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_a_wrong_value_is_refused_by_the_schema_and_named(path: tuple[str, ...]) -> None:
    judge = jsonschema.Draft7Validator(schema())
    refused = 0
    for wrong in WRONG:
        values = merged(defaults(), DATABASE, nested(path, wrong))
        if judge.is_valid(values):
            continue
        refused += 1
        refusal = refusal_of(values)
        assert f"at '/{'/'.join(path)}" in refusal
    assert refused >= 2, "the schema takes nearly anything here"


def test_every_default_is_legal_and_every_key_has_one() -> None:
    jsonschema.Draft7Validator(schema()).validate(defaults())
    for path in LEAVES:
        default_of(path)
    assert _keys(defaults(), SECTIONS) == set(LEAVES)


def _keys(values: Values, known: list[tuple[str, ...]], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for key, value in values.items():
        here = (*path, key)
        found |= _keys(value, known, here) if here in known else {here}
    return found


@pytest.mark.parametrize("path", [*LEAVES, *SECTIONS[1:]], ids=".".join)
def test_null_is_refused_or_renders(path: tuple[str, ...]) -> None:
    refusal = refusal_of(merged(DATABASE, nested(path, None)))
    assert refusal == "" or "missing property" in refusal or "no database" in refusal, refusal


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
