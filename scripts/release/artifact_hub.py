"""What Artifact Hub shows of the chart and only a release knows: where its image is, and where its sources are.

Sources: Helm's page on Chart.yaml, Artifact Hub's page on the annotations of Helm charts.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urljoin

import yaml

Described = dict[str, Any]

ICON = ".github/icon.svg"
SCREENSHOTS = {"The report of a run of drills": ".github/drill-report.png"}
LINKS = {
    "Values": "charts/windlass/README.md",
    "REST API": "docs/rest.md",
    "Secrets of operators": "docs/secrets.md",
    "Changes": "CHANGELOG.md",
    "Security": ".github/SECURITY.md",
}
"""Paths in the repository."""


def described(chart: Described, *, registry: str, source_url: str = "") -> Described:
    """Chart.yaml's content, with these addresses in it.

    `registry` holds the image as `registry/windlass`. `source_url` is the repository's page, as GitHub has it; without
    one there is nothing to tell of sources, pictures and pages.
    """
    version = chart["version"]
    annotations = dict(chart.get("annotations", {}))
    image = {"name": "windlass", "image": f"{registry}/windlass:{chart['appVersion']}"}
    annotations["artifacthub.io/images"] = _list_of([image])
    told = dict(chart)
    if source_url:
        source_url = source_url.rstrip("/")
        raw, page = f"{source_url}/raw/v{version}", f"{source_url}/blob/v{version}"
        told |= {"home": source_url, "sources": [source_url], "icon": f"{raw}/{ICON}"}
        links = {"support": f"{source_url}/issues"} | {name: f"{page}/{path}" for name, path in LINKS.items()}
        annotations["artifacthub.io/links"] = _list_of(
            [{"name": name, "url": url} for name, url in links.items()]
        )
        annotations["artifacthub.io/screenshots"] = _list_of(
            [{"title": title, "url": f"{raw}/{path}"} for title, path in SCREENSHOTS.items()]
        )
    return told | {"annotations": annotations}


def readable(page: str, *, path: str, source_url: str, version: str) -> str:
    """A Markdown page that lies at `path` in the repository, with links that lead there from anywhere."""
    base = f"{source_url.rstrip('/')}/blob/v{version}/{PurePosixPath(path).parent}/"
    return re.sub(r"\]\((?!https?:|#)([^)\s]+)\)", lambda found: f"]({urljoin(base, found[1])})", page)


def _list_of(entries: list[dict[str, str]]) -> str:
    """An annotation is text: this is the list as YAML."""
    return yaml.safe_dump(entries, sort_keys=False, width=200)
