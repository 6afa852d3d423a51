"""OpenShift chooses ids itself: no pod asks for one, alone or under a parent chart, with Helm 4 and with Helm 3.

The program `helm` is Helm 3, as in test_chart_helm3.py. What the engine does as a user that nobody knows:
tests/acceptance/test_unknown_user.py.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from rendering import CHART, DATABASE, EVERYTHING, KAFKA, Values, merged
from test_chart_helm3 import HELM, needs_helm3

from seatrial.render import render_chart

FULL = merged(DATABASE, KAFKA, EVERYTHING)
IDS = ("runAsUser", "runAsGroup", "fsGroup")
WITHOUT_IDS: dict[str, Values] = {
    "platform": {"platform": "openshift"},
    "empty ids": {"podSecurityContext": dict.fromkeys(IDS, "")},
}
PODS = 6
"""Three Deployments, two Jobs and the test."""


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart with ours as a subchart, and values of its own for it."""
    folder = tmp_path_factory.mktemp("openshift")
    chart = {
        "apiVersion": "v2",
        "name": "parent",
        "version": "1.0.0",
        "dependencies": [{"name": "windlass", "version": "0.1.0"}],
    }
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart))
    shutil.copytree(CHART, folder / "charts" / "windlass")
    return folder


def contexts(objects: Sequence[Values]) -> list[Values]:
    specs = [found["spec"].get("template", found)["spec"] for found in objects if found["kind"] in
             {"Deployment", "Job", "Pod"}]  # fmt: skip
    return [
        *(spec["securityContext"] for spec in specs),
        *(container["securityContext"] for spec in specs for container in spec["containers"]),
    ]


def by_helm4(chart: Path, values: Values) -> Sequence[Values]:
    return render_chart(chart, values, "rel", "ns").objects


def by_helm3(chart: Path, values: Values) -> Sequence[Values]:
    assert HELM is not None
    (chart / "given.json").write_text(json.dumps(values))
    command = [
        HELM,
        "template",
        "rel",
        str(chart),
        "--kube-version",
        "1.33",
        "--values",
        str(chart / "given.json"),
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return [found for found in yaml.safe_load_all(told.stdout) if found]


HELMS = pytest.mark.parametrize("helm", [by_helm4, pytest.param(by_helm3, marks=needs_helm3)])


@HELMS
@pytest.mark.parametrize("way", WITHOUT_IDS)
@pytest.mark.parametrize("in_file", [True, False], ids=["the parent's values", "values of an install"])
def test_no_pod_asks_for_an_id_under_a_parent(parent: Path, helm: object, way: str, *, in_file: bool) -> None:
    values = {"windlass": merged(FULL, WITHOUT_IDS[way])}
    (parent / "values.yaml").write_text(yaml.safe_dump(values if in_file else {}))
    assert callable(helm)
    found = contexts(helm(parent, {} if in_file else values))
    assert len(found) == 2 * PODS
    assert not [context for context in found if set(IDS) & set(context)]
    assert all(context["runAsNonRoot"] for context in found)


@pytest.mark.parametrize("way", WITHOUT_IDS)
def test_no_pod_asks_for_an_id(way: str) -> None:
    found = contexts(by_helm4(CHART, merged(FULL, WITHOUT_IDS[way])))
    assert len(found) == 2 * PODS
    assert not [context for context in found if set(IDS) & set(context)]


def test_null_in_the_values_of_a_parent_is_not_heeded_by_every_helm(parent: Path) -> None:
    """Why an id may be empty text: 3.8 and 4 overlook null here, 3.19 does not."""
    nulls = {"podSecurityContext": dict.fromkeys(IDS)}
    (parent / "values.yaml").write_text(yaml.safe_dump({"windlass": merged(FULL, nulls)}))
    assert sum(set(IDS) <= set(context) for context in contexts(by_helm4(parent, {}))) == PODS


@HELMS
def test_elsewhere_every_pod_has_all_of_them(parent: Path, helm: object) -> None:
    (parent / "values.yaml").write_text(yaml.safe_dump({"windlass": FULL}))
    assert callable(helm)
    found = contexts(helm(parent, {}))
    assert sum(set(IDS) <= set(context) for context in found) == PODS
