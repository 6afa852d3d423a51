"""Helm 3 and Helm 4 write the same bytes. Helm 4 is in this process, Helm 3 the program `helm`, where there is one.

WINDLASS_HELM3 names another program, as of the oldest Helm that the chart's README promises: 3.8, the first that
installs from an OCI registry without being switched to.
"""

import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import helm_python
import pytest
from golden import CASES
from rendering import CHART, REPOSITORY

HELM = os.environ.get("WINDLASS_HELM3") or shutil.which("helm")
TEMPLATE = ("template", "rel", str(CHART), "--kube-version", "1.33")


@functools.cache
def version() -> str:
    if HELM is None:
        return ""
    return subprocess.run([HELM, "version", "--short"], capture_output=True, text=True, check=True).stdout


needs_helm3 = pytest.mark.skipif(
    not version().startswith("v3."),
    reason="needs Helm 3 as `helm` on PATH or in WINDLASS_HELM3: the cluster kit brings it",
)


def by_helm3(folder: Path, name: str) -> dict[str, str]:
    """Each template's text, as it stands between the `# Source` lines."""
    assert HELM is not None
    values = folder / "values.json"
    values.write_text(json.dumps(CASES[name]))
    command = [*TEMPLATE, "--namespace", "ns", "--values", str(values)]
    told = subprocess.run([HELM, *command], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    found: dict[str, str] = {}
    for path, text in re.findall(
        r"^# Source: (\S+)\n(.*?)(?=^---\n# Source|\Z)", told.stdout, re.DOTALL | re.MULTILINE
    ):
        found[path] = found.get(path, "") + "---\n" + text
    return {path: _documents(text) for path, text in found.items()}


def by_helm4(name: str) -> dict[str, str]:
    with helm_python.Chart.load(CHART) as chart:
        manifests = chart.render(dict(CASES[name]), name="rel", namespace="ns")
    told = {path: _documents(text) for path, text in manifests.items() if not path.endswith((".txt", ".tpl"))}
    return {path: text for path, text in told.items() if text}


def _documents(text: str) -> str:
    """In an order of their own: `helm template` sorts what one file holds by kinds."""
    documents = [document.strip() for document in re.split(r"^---$", text, flags=re.MULTILINE)]
    return "\n---\n".join(sorted(document for document in documents if document))


@needs_helm3
@pytest.mark.parametrize("name", CASES)
def test_both_render_the_same_bytes(tmp_path: Path, name: str) -> None:
    assert by_helm3(tmp_path, name) == by_helm4(name)


def promised_minor() -> int:
    found = re.search(r"Helm 3\.(\d+) or newer", (CHART / "README.md").read_text())
    assert found is not None
    return int(found[1])


@needs_helm3
def test_the_helm_that_is_tried_is_one_that_the_readme_promises() -> None:
    assert int(version().split(".")[1]) >= promised_minor()


def test_the_workflow_tries_the_oldest() -> None:
    workflow = (REPOSITORY / ".github" / "workflows" / "check.yml").read_text()
    assert f"version: v3.{promised_minor()}.0\n" in workflow


@needs_helm3
def test_both_refuse_with_the_same_words(tmp_path: Path) -> None:
    assert HELM is not None
    told = subprocess.run([HELM, *TEMPLATE], capture_output=True, text=True, check=False)
    assert told.returncode != 0
    assert "no database: set postgresql.existingSecret" in told.stderr
