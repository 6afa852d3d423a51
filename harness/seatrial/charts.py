"""A pytest plugin for tests of a chart on a cluster: `pytest -p seatrial.charts`.

Options, variables and fixtures have the names of pytest-helm-charts (`--kube-config`, `ATS_CHART_PATH`,
`kube_cluster`, `values_file_path`, ...), so a suite written for that one runs here too. That one finds a chart
installed already; this adds `render`, `helm_release`, and the release's `upgrade` and `rollback`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from seatrial.cluster.kind.kube import Access, Kube
    from seatrial.cluster.kind.release import Release
    from seatrial.render import Rendered

WITHIN_S = 180
_PEER = "helm-charts"
_OPTIONS: Mapping[str, tuple[str, str]] = {
    "--kube-config": ("KUBECONFIG", "kubeconfig of the cluster"),
    "--chart-path": ("ATS_CHART_PATH", "the chart's folder; default: charts/windlass"),
    "--chart-version": ("ATS_CHART_VERSION", "version of the chart under test, for the record"),
    "--cluster-type": ("ATS_CLUSTER_TYPE", "type of the cluster, for the record"),
    "--cluster-version": ("ATS_CLUSTER_VERSION", "Kubernetes version, for the record"),
    "--app-config-file-path": ("ATS_APP_CONFIG_FILE_PATH", "values file for the chart"),
}
"""Option -> the environment variable that is used if the option is not given."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    if pluginmanager.has_plugin(_PEER):
        return  # it has the same options, and may be loaded too
    group = parser.getgroup("seatrial charts", "tests of a chart on a cluster")
    for option, (variable, meaning) in _OPTIONS.items():
        group.addoption(option, metavar="VALUE", help=f"{meaning} ({variable})")


def _option(config: pytest.Config, option: str) -> str:
    variable, _ = _OPTIONS[option]
    return str(config.getoption(option) or os.environ.get(variable, ""))


@pytest.fixture(scope="module")
def chart_path(pytestconfig: pytest.Config) -> str:
    from seatrial.render import default_chart

    return _option(pytestconfig, "--chart-path") or str(default_chart())


@pytest.fixture(scope="module")
def chart_version(pytestconfig: pytest.Config) -> str:
    return _option(pytestconfig, "--chart-version")


@pytest.fixture(scope="module")
def cluster_type(pytestconfig: pytest.Config) -> str:
    return _option(pytestconfig, "--cluster-type")


@pytest.fixture(scope="module")
def cluster_version(pytestconfig: pytest.Config) -> str:
    return _option(pytestconfig, "--cluster-version")


@pytest.fixture(scope="module")
def values_file_path(pytestconfig: pytest.Config) -> str:
    return _option(pytestconfig, "--app-config-file-path")


@pytest.fixture(scope="module")
def kube_config(pytestconfig: pytest.Config) -> str:
    """The file's path; if it is not given, the test fails and names the option and the variable."""
    path = _option(pytestconfig, "--kube-config")
    if not path:
        raise pytest.UsageError("no cluster is named: give --kube-config FILE, or set KUBECONFIG")
    return path


@dataclass(frozen=True, slots=True)
class KubeCluster:
    """`do` carries out calls of `seatrial.cluster.kind.kube`: `kube_cluster.do(lambda kube: kube.list("Pod"))`."""

    access: Access = field(repr=False)

    def do(self, call: Callable[[Any], Any]) -> Any:
        from seatrial.cluster.kind.kube import Kube

        async def act() -> Any:
            async with Kube(self.access) as kube:
                return await call(kube)

        return asyncio.run(act())


@pytest.fixture(scope="module")
def kube_cluster(kube_config: str) -> KubeCluster:
    from seatrial.cluster.kind.kube import Access

    return KubeCluster(Access(kubeconfig=Path(kube_config).read_text(encoding="utf-8")))


Render = Callable[..., "Rendered"]


@pytest.fixture(scope="module")
def render(chart_path: str, values_file_path: str) -> Render:
    """`render(values, release=..., namespace=...)`: the objects, without a cluster; `values` override the values
    file.
    """
    from seatrial.render import render_chart

    def rendered(values: Mapping[str, object] | None = None, **named: str) -> Rendered:
        return render_chart(Path(chart_path), _beneath(values_file_path, values), **named)

    return rendered


@dataclass(frozen=True, slots=True)
class HelmRelease:
    """One installed release in a namespace of its own. Each change returns when Helm has waited for it."""

    namespace: str
    _release: Release
    _values_file: str

    def upgrade(self, values: Mapping[str, object] | None = None) -> None:
        asyncio.run(self._release.upgrade(_beneath(self._values_file, values), within_s=WITHIN_S))

    def rollback(self) -> None:
        asyncio.run(self._release.rollback(within_s=WITHIN_S))

    @property
    def manifest(self) -> str:
        return asyncio.run(self._release.manifest())

    @property
    def status(self) -> str:
        return asyncio.run(self._release.revision()).status


@pytest.fixture
def helm_release(
    kube_cluster: KubeCluster, chart_path: str, values_file_path: str
) -> Iterator[Callable[..., HelmRelease]]:
    """`helm_release(values, objects)` installs the chart, after `objects` (a Secret, ...), which get its namespace.

    All of them are gone when the test ends.
    """
    from seatrial.cluster.kind.release import Release

    namespaces: list[str] = []

    def install(values: Mapping[str, object] | None = None, *objects: dict[str, Any]) -> HelmRelease:
        namespace = f"test-{secrets.token_hex(4)}"
        namespaces.append(namespace)
        made = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}]
        made += [{**each, "metadata": {**each["metadata"], "namespace": namespace}} for each in objects]
        kube_cluster.do(lambda kube: kube.apply(*made))
        release = Release(kube_cluster.access, namespace, Path(chart_path))
        asyncio.run(release.install(_beneath(values_file_path, values), within_s=WITHIN_S))
        return HelmRelease(namespace, release, values_file_path)

    yield install

    async def remove(kube: Kube) -> None:
        for namespace in namespaces:
            await kube.delete("Namespace", namespace)

    kube_cluster.do(remove)


def _beneath(values_file: str, values: Mapping[str, object] | None) -> dict[str, Any]:
    from seatrial.cluster.values import merge, read_values

    return merge(read_values([Path(values_file)] if values_file else []), values or {})
