"""What is in an image, as CycloneDX JSON: `python scripts/release/sbom.py IMAGE > sbom.cdx.json`.

Asked of the image itself: Debian's packages of its database, Python's distributions of its interpreter.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

SCHEMA = SchemaVersion.V1_6
_DEBIAN = ("dpkg-query", "-W", "-f", "${Package}\t${Version}\t${Architecture}\n")
_PYTHON = (
    "import importlib.metadata as m, json; "
    "print(json.dumps(sorted({(d.metadata['Name'], d.version) for d in m.distributions()})))"
)


def bom_of(image: str) -> str:
    """The same text for the same image. Raises CalledProcessError when Docker cannot run it."""
    image_id = _said("docker", "image", "inspect", "--format", "{{.Id}}", image)
    parts = [*_debian(image), *_python(image)]
    bom = Bom(components=parts)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, image_id)
    bom.metadata.component = Component(
        name=image.rpartition(":")[0].rpartition("/")[2],
        version=image.rpartition(":")[2],
        type=ComponentType.CONTAINER,
        bom_ref=image_id,
    )
    bom.register_dependency(bom.metadata.component, parts)
    document = json.loads(make_outputter(bom, OutputFormat.JSON, SCHEMA).output_as_string())
    document["metadata"].pop("timestamp", None)  # when it was asked says nothing about the image
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _debian(image: str) -> Iterator[Component]:
    for line in _run(image, *_DEBIAN).splitlines():
        name, version, architecture = line.split("\t")
        purl = PackageURL("deb", "debian", name, version, {"arch": architecture})
        yield Component(name=name, version=version, purl=purl, bom_ref=str(purl))


def _python(image: str) -> Iterator[Component]:
    for name, version in json.loads(_run(image, "/opt/windlass/bin/python", "-c", _PYTHON)):
        purl = PackageURL("pypi", None, name.lower(), version)
        yield Component(name=name, version=version, purl=purl, bom_ref=str(purl))


def _run(image: str, program: str, *arguments: str) -> str:
    return _said("docker", "run", "--rm", "--network", "none", "--entrypoint", program, image, *arguments)


def _said(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.stderr.write(f"{__doc__}\n")
        sys.exit(2)
    sys.stdout.write(bom_of(sys.argv[1]))
