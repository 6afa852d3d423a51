"""A release to a real registry, and an installation from there as a user would do it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import helm_python
import pytest
from package import CHART, ROOT, package
from trial_namespace import a_namespace

from seatrial.cluster.kind.shared import SharedServices
from seatrial.deadline import until_blocking

pytestmark = pytest.mark.slow

HUB_ID = "11111111-2222-3333-4444-555555555555"


def publish(registry: str, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
    words = [str(ROOT / "scripts" / "publish"), registry, "--plain-http", *more]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | variables)


def cosign(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = ["cosign", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables)


def fetched(registry: str, path: str) -> Any:
    types = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    request = urllib.request.Request(f"http://{registry}/v2/{path}", headers={"Accept": types})
    with urllib.request.urlopen(request) as answer:  # noqa: S310  http on this machine
        return json.loads(answer.read())


@pytest.fixture(scope="module")
def version() -> str:
    line = next(
        line for line in (CHART / "Chart.yaml").read_text().splitlines() if line.startswith("version:")
    )
    return line.split()[1]


@pytest.fixture(scope="module")
def published(registry: str) -> str:
    ran = publish(registry, "--no-sign", "--artifact-hub-id", HUB_ID)
    assert ran.returncode == 0, ran.stderr
    return registry


def test_the_chart_packs_to_the_same_bytes_at_another_time_and_place(tmp_path: Path) -> None:
    digests = []
    for number in range(2):
        copy = tmp_path / f"copy-{number}" / "windlass"
        shutil.copytree(CHART, copy)
        (tmp_path / f"out-{number}").mkdir()
        archive = package(tmp_path / f"out-{number}", chart=copy, at_s=1_700_000_000)
        digests.append(hashlib.sha256(archive.read_bytes()).hexdigest())
        # Helm's own archive holds the second in which it was made: the next one is made in another.
        made_s = int(time.time())
        until_blocking(
            partial(_is_past, made_s),
            within_s=2,
            every_s=0.01,
            otherwise=lambda: AssertionError("the clock stands still"),
        )
    assert digests[0] == digests[1]


def _is_past(second: int) -> bool:
    return int(time.time()) != second


def test_a_version_is_published_once(published: str) -> None:
    again = publish(published, "--no-sign")
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_a_registry_that_leaves_it_open_is_refused() -> None:
    away = publish("127.0.0.1:1", "--no-sign")
    assert away.returncode == 2
    assert "nothing was pushed" in away.stderr


def test_signing_is_left_out_only_when_asked(published: str) -> None:
    """Where there is no cosign."""
    folders = os.environ["PATH"].split(os.pathsep)
    without = os.pathsep.join(folder for folder in folders if not (Path(folder) / "cosign").exists())
    refused = publish(published, PATH=without)
    assert refused.returncode == 2
    assert "say --no-sign" in refused.stderr


def test_bill_of_materials_and_artifact_hub_metadata_lie_beside(published: str, version: str) -> None:
    tags = fetched(published, "windlass/tags/list")["tags"]
    attached = next(tag for tag in tags if tag.endswith(".sbom"))
    manifest = fetched(published, f"windlass/manifests/{attached}")
    assert manifest["subject"]["digest"].replace(":", "-") == attached.removesuffix(".sbom")
    bill = fetched(published, f"windlass/blobs/{manifest['layers'][0]['digest']}")
    assert bill["metadata"]["component"] == {
        **bill["metadata"]["component"],
        "name": "windlass",
        "version": version,
    }
    hub = fetched(published, "charts/windlass/manifests/artifacthub.io")
    assert hub["config"]["mediaType"] == "application/vnd.cncf.artifacthub.config.v1+yaml"


@dataclass(frozen=True)
class Signed:
    address: str
    key: Path
    """The public one."""
    told: list[str]


@pytest.fixture(scope="module")
def signed(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Signed:
    """As `published`, in another place of the same registry, by a key of this test and none of Sigstore's services."""
    if shutil.which("cosign") is None:
        pytest.skip("needs cosign on PATH: the cluster kit's extras bring it")
    folder = tmp_path_factory.mktemp("keys")
    address = f"{registry}/signed"
    secret = {"COSIGN_PASSWORD": "of-this-test"}
    made = cosign("generate-key-pair", "--output-key-prefix", str(folder / "own"), **secret)
    assert made.returncode == 0, made.stderr
    keys = {"COSIGN_KEY": str(folder / "own.key"), "COSIGN_PUBLIC_KEY": str(folder / "own.pub")}
    ran = publish(address, **keys, **secret)
    assert ran.returncode == 0, ran.stderr
    return Signed(address, folder / "own.pub", ran.stdout.splitlines())


def verified(reference: str, key: Path) -> subprocess.CompletedProcess[str]:
    return cosign("verify", "--key", str(key), "--insecure-ignore-tlog", "--allow-http-registry", reference)


def test_image_and_chart_are_signed_by_their_digests(signed: Signed, version: str) -> None:
    pushed = [line.split()[1] for line in signed.told if line.startswith("pushed ")]
    assert [line.split()[-1] for line in signed.told if line.startswith("signed and verified ")] == pushed
    digests = dict(reference.split("@") for reference in pushed)
    assert set(digests) == {f"{signed.address}/windlass", f"{signed.address}/charts/windlass"}
    for repository, digest in digests.items():
        checked = verified(f"{repository}:{version}", signed.key)
        assert checked.returncode == 0, checked.stderr
        assert digest in checked.stdout


def test_another_key_has_signed_nothing(signed: Signed, tmp_path: Path) -> None:
    made = cosign("generate-key-pair", "--output-key-prefix", str(tmp_path / "other"), COSIGN_PASSWORD="x")
    assert made.returncode == 0, made.stderr
    for line in signed.told:
        if line.startswith("pushed "):
            assert verified(line.split()[1], tmp_path / "other.pub").returncode != 0


def test_what_is_not_signed_does_not_verify(signed: Signed, published: str, version: str) -> None:
    assert verified(f"{published}/windlass:{version}", signed.key).returncode != 0


@pytest.mark.asyncio(loop_scope="session")
async def test_it_installs_from_the_registry(published: str, version: str, shared: SharedServices) -> None:
    """As `helm install windlass oci://... --version ...`; the image is on the nodes already."""
    async with a_namespace(shared) as (namespace, values):

        def install() -> dict[str, Any]:
            with helm_python.Config(kubeconfig_content=shared.access.kubeconfig, namespace=namespace) as helm:
                return helm.install(
                    f"oci://{published}/charts/windlass", "windlass", values, namespace=namespace, timeout=180,
                    wait="watcher", chart_version=version, plain_http=True,
                )  # fmt: skip

        release = await asyncio.to_thread(install)
        assert "deployed" in json.dumps(release)
        pods = await shared.kube.list("Pod", namespace, labels="app.kubernetes.io/component=engine")
        assert [each["ready"] for pod in pods for each in pod["status"]["containerStatuses"]] == [True]
