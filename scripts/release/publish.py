"""Publishes chart and image: `scripts/publish REGISTRY` (ghcr.io/owner), see there.

Nothing is pushed before it is sure that neither version is there, and an answer that leaves it open counts as no.
Each push is told with its digest, and what is signed is the digest, verified in the same run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import helm_python
import oras.client
import oras.oci
import yaml
from artifact_hub import described
from package import CHART, package
from sbom import bom_of

SBOM_TYPE = "application/vnd.cyclonedx+json"
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
ARTIFACT_HUB_TAG = "artifacthub.io"
ARTIFACT_HUB_CONFIG = "application/vnd.cncf.artifacthub.config.v1+yaml"
ARTIFACT_HUB_LAYER = "application/vnd.cncf.artifacthub.repository-metadata.layer.v1.yaml"


class Refused(Exception):
    """It cannot be published: names the thing and the remedy."""


@dataclass(frozen=True, slots=True)
class Manifest:
    digest: str
    size_bytes: int
    media_type: str


class Registry:
    """Images under `<address>/<name>`, the chart under `<address>/charts/<name>`; logins are Docker's."""

    def __init__(self, address: str, *, plain_http: bool) -> None:
        self.address = address
        self.plain_http = plain_http
        self._client = oras.client.OrasClient(insecure=plain_http)

    def manifest(self, repository: str, tag: str) -> Manifest | None:
        """None when there is certainly none; raises Refused when the registry leaves it open."""
        container = self._client.get_container(f"{self.address}/{repository}:{tag}")
        self._client.auth.load_configs(container)
        url = f"{self._client.prefix}://{container.manifest_url()}"
        try:
            # Asked once: the library would go on for two minutes, and nothing is lost by asking again later.
            ask_once = type(self._client).do_request.__wrapped__
            answer = ask_once(self._client, url, "GET", headers={"Accept": ", ".join(MANIFEST_TYPES)})
        except Exception as err:
            raise Refused(f"{self.address} does not answer ({err}); nothing was pushed") from err
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise Refused(
                f"{self.address} answers {answer.status_code} when asked for {repository}:{tag}; log in with "
                "`docker login`, or look at the registry; nothing is published on a guess"
            )
        digest = "sha256:" + hashlib.sha256(answer.content).hexdigest()
        return Manifest(digest, len(answer.content), answer.headers["Content-Type"])

    def attach(self, repository: str, subject: Manifest, file: Path, media_type: str, suffix: str) -> None:
        """As an OCI referrer, and under the tag `sha256-<digest>.<suffix>` for registries that list none."""
        tag = f"{subject.digest.replace(':', '-')}.{suffix}"
        self._client.push(
            f"{self.address}/{repository}:{tag}",
            files=[f"{file}:{media_type}"],
            manifest_config=f"{_empty_config(file.parent)}:{media_type}",
            subject=oras.oci.Subject(subject.media_type, subject.digest, subject.size_bytes),
            disable_path_validation=True,
            quiet=True,
        )

    def push_metadata(self, repository: str, repository_id: str, folder: Path) -> None:
        """Where Artifact Hub looks for who owns the repository."""
        file = folder / "artifacthub-repo.yml"
        file.write_text(yaml.safe_dump({"repositoryID": repository_id}))
        self._client.push(
            f"{self.address}/{repository}:{ARTIFACT_HUB_TAG}",
            files=[f"{file}:{ARTIFACT_HUB_LAYER}"],
            manifest_config=f"{_empty_config(folder)}:{ARTIFACT_HUB_CONFIG}",
            disable_path_validation=True,
            quiet=True,
        )


def publish(registry: Registry, *, image: str, artifact_hub_id: str, source_url: str, sign: bool) -> None:
    """Raises Refused before anything is pushed, CalledProcessError or HelmError for a push that fails."""
    version = str(yaml.safe_load((CHART / "Chart.yaml").read_text())["version"])
    if image.rpartition(":")[2] != version:
        raise Refused(f"image {image} and chart version {version} differ; build it with scripts/image")
    if sign and shutil.which("cosign") is None:
        raise Refused("cosign is not on PATH; install it, or say --no-sign")
    for repository in ("windlass", "charts/windlass"):
        if found := registry.manifest(repository, version):
            raise Refused(
                f"{registry.address}/{repository}:{version} is there already ({found.digest}); a version is published "
                "once: raise it in charts/windlass/Chart.yaml and the pyproject.toml of engine and client"
            )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pushed = [
            _push_image(registry, image, version, folder),
            _push_chart(registry, version, source_url, folder),
        ]
        if artifact_hub_id:
            registry.push_metadata("charts/windlass", artifact_hub_id, folder)
            print("pushed", f"{registry.address}/charts/windlass:{ARTIFACT_HUB_TAG}")
    for reference in pushed if sign else ():
        _sign(reference, plain_http=registry.plain_http)


def _push_image(registry: Registry, image: str, version: str, folder: Path) -> str:
    file = folder / "sbom.cdx.json"
    file.write_text(bom_of(image))
    target = f"{registry.address}/windlass:{version}"
    subprocess.run(["docker", "tag", image, target], check=True)
    subprocess.run(["docker", "push", "--quiet", target], check=True, stdout=subprocess.DEVNULL)
    manifest = registry.manifest("windlass", version)
    if manifest is None:
        raise Refused(f"{target} was pushed and is not there; look at the registry")
    registry.attach("windlass", manifest, file, SBOM_TYPE, "sbom")
    print("pushed", f"{registry.address}/windlass@{manifest.digest}", "with its SBOM")
    return f"{registry.address}/windlass@{manifest.digest}"


def _push_chart(registry: Registry, version: str, source_url: str, folder: Path) -> str:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    archive = package(folder, described=described(chart, registry=registry.address, source_url=source_url))
    with helm_python.RegistryClient(
        plain_http=registry.plain_http, credentials_file=_docker_login()
    ) as client:
        client.push(archive, f"oci://{registry.address}/charts", plain_http=registry.plain_http)
    manifest = registry.manifest("charts/windlass", version)
    if manifest is None:
        raise Refused("the chart was pushed and is not there; look at the registry")
    print("pushed", f"{registry.address}/charts/windlass@{manifest.digest}")
    return f"{registry.address}/charts/windlass@{manifest.digest}"


def _sign(reference: str, *, plain_http: bool) -> None:
    """With the key that COSIGN_KEY names, which is verified with COSIGN_PUBLIC_KEY; else as who runs the workflow.

    By a key nothing is asked of Sigstore's services: cosign's own configuration names them, so it is left out too.
    """
    http = ["--allow-http-registry"] if plain_http else []
    if key := os.environ.get("COSIGN_KEY"):
        offline = ["--use-signing-config=false", "--tlog-upload=false"]
        subprocess.run(["cosign", "sign", "--yes", "--key", key, *offline, *http, reference], check=True)
        public = os.environ["COSIGN_PUBLIC_KEY"]
        check = ["cosign", "verify", "--key", public, "--insecure-ignore-tlog", *http, reference]
    else:
        subprocess.run(["cosign", "sign", "--yes", *http, reference], check=True)
        who = os.environ["COSIGN_IDENTITY"]
        issuer = "https://token.actions.githubusercontent.com"
        check = [
            "cosign",
            "verify",
            "--certificate-identity",
            who,
            "--certificate-oidc-issuer",
            issuer,
            reference,
        ]
    subprocess.run(check, check=True, stdout=subprocess.DEVNULL)
    print("signed and verified", reference)


def _docker_login() -> Path:
    folder = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    return Path(folder) / "config.json"


def _empty_config(folder: Path) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({}))
    return path


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/publish", description="Publishes chart and image, once.")
    parser.add_argument("registry", help="where: ghcr.io/owner")
    parser.add_argument("--image", help="the built image; default: windlass:VERSION of the chart")
    parser.add_argument("--artifact-hub-id", default=os.environ.get("ARTIFACT_HUB_ID", ""),
                        help="the repository's id there; its metadata is pushed when it is given")  # fmt: skip
    parser.add_argument("--source-url", default=os.environ.get("SOURCE_URL", ""),
                        help="the page of the repository that this comes from, for Artifact Hub")  # fmt: skip
    parser.add_argument(
        "--plain-http", action="store_true", help="for a registry without TLS, on this machine"
    )
    parser.add_argument("--no-sign", action="store_true", help="for a trial: no signatures")
    asked = parser.parse_args()
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    try:
        publish(
            Registry(asked.registry.rstrip("/"), plain_http=asked.plain_http),
            image=asked.image or f"windlass:{version}",
            artifact_hub_id=asked.artifact_hub_id,
            source_url=asked.source_url,
            sign=not asked.no_sign,
        )
    except (Refused, helm_python.HelmError) as err:
        sys.stderr.write(f"publish: {err}\n")
        return 2
    except subprocess.CalledProcessError as err:
        sys.stderr.write(f"publish: {' '.join(map(str, err.cmd[:3]))} failed: {(err.stderr or '').strip()}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
