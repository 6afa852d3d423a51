"""Chart.yaml as Artifact Hub reads it: its documented rules, since its own linter cannot be had everywhere.

Sources: Artifact Hub's page on the annotations of Helm charts, Helm's page on Chart.yaml.
"""

import copy
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml
from artifact_hub import Described, described, readable
from package import CHART, ROOT, package
from rendering import DATABASE

HERE: Described = yaml.safe_load((CHART / "Chart.yaml").read_text())
SOURCE = "https://git.example/orders/windlass"
RELEASED = described(HERE, registry="registry.example/orders", source_url=f"{SOURCE}/")

CATEGORIES = {
    "ai-machine-learning", "database", "integration-delivery", "monitoring-logging", "networking", "security",
    "storage", "streaming-messaging", "skip-prediction",
}  # fmt: skip
KINDS = {"added", "changed", "deprecated", "removed", "fixed", "security"}
PLAIN = {"category", "license", "prerelease", "containsSecurityUpdates", "operator"}
LISTS: dict[str, tuple[set[str], set[str]]] = {
    "changes": ({"kind", "description"}, {"links"}),
    "images": ({"name", "image"}, {"whitelisted", "platforms"}),
    "links": ({"name", "url"}, set()),
    "maintainers": ({"name", "email"}, set()),
    "recommendations": ({"url"}, set()),
    "screenshots": ({"title", "url"}, set()),
}
"""Of each annotation that is a list: what every entry has, and what it may have."""
PACKAGE = re.compile(r"https://artifacthub\.io/packages/[a-z-]+/[a-z0-9-]+/[a-z0-9-]+")
SEMVER = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
NEEDED = {"home", "sources", "icon", "keywords", "maintainers", "description", "kubeVersion", "appVersion"}


def faults(chart: Described) -> Iterator[str]:
    """What Artifact Hub would refuse, or leave out."""
    yield from (f"{key} is missing" for key in sorted(NEEDED - chart.keys()))
    if not SEMVER.fullmatch(chart["version"]):
        yield f"version {chart['version']} is no semantic version"
    for url in [chart.get("home", ""), chart.get("icon", ""), *chart.get("sources", ())]:
        if url and not url.startswith("https://"):
            yield f"{url} is no address"
    for name, text in chart["annotations"].items():
        if name.startswith("artifacthub.io/"):
            yield from _annotation_faults(name.removeprefix("artifacthub.io/"), text)


def _annotation_faults(name: str, text: Any) -> Iterator[str]:
    if not isinstance(text, str):
        yield f"{name} is no text"
    elif name in {"prerelease", "containsSecurityUpdates", "operator"} and text not in {"true", "false"}:
        yield f"{name} is {text}"
    elif name == "category" and text not in CATEGORIES:
        yield f"there is no category {text}"
    elif name in LISTS:
        yield from _entry_faults(name, yaml.safe_load(text))
    elif name not in PLAIN:
        yield f"there is no annotation {name}"


def _entry_faults(name: str, entries: Any) -> Iterator[str]:
    needed, possible = LISTS[name]
    for entry in entries:
        if not needed <= set(entry) <= needed | possible:
            yield f"{name} has an entry with {', '.join(entry)}"
        elif entry.get("kind", "added") not in KINDS:
            yield f"{name} has a kind {entry['kind']}"
        elif name == "recommendations" and not PACKAGE.fullmatch(entry["url"]):
            yield f"{entry['url']} is no package of Artifact Hub"
        elif not entry.get("url", "https://").startswith("https://"):
            yield f"{entry['url']} is no address"
    if name == "images" and len(entries) > 15:
        yield "more images than Artifact Hub scans"


def test_a_release_breaks_no_rule() -> None:
    assert list(faults(RELEASED)) == []


def test_what_a_release_adds_is_all_that_lacks_here() -> None:
    assert list(faults(HERE)) == [f"{key} is missing" for key in ("home", "icon", "sources")]


def test_without_the_repository_s_page_nothing_is_made_up() -> None:
    trial = described(HERE, registry="127.0.0.1:5000")
    assert set(trial) == set(HERE)
    assert set(trial["annotations"]) - set(HERE["annotations"]) == {"artifacthub.io/images"}


def test_the_image_is_the_one_that_is_pushed() -> None:
    (image,) = yaml.safe_load(RELEASED["annotations"]["artifacthub.io/images"])
    assert image == {"name": "windlass", "image": "registry.example/orders/windlass:0.1.0"}


def test_every_address_of_the_repository_leads_to_a_file_that_is_there() -> None:
    told = "\n".join([RELEASED["icon"], *RELEASED["annotations"].values()])
    paths = re.findall(rf"{re.escape(SOURCE)}/(?:raw|blob)/v0\.1\.0/(\S+)", told)
    assert len(paths) >= 7
    assert [path for path in paths if not (ROOT / path).is_file()] == []


def test_the_icon_is_a_picture() -> None:
    icon = (ROOT / ".github" / "icon.svg").read_text()
    assert icon.startswith("<svg ")
    assert "script" not in icon
    assert len(icon) < 10_000


def _changed(path: str, value: Any) -> Callable[[Described], None]:
    def change(chart: Described) -> None:
        node = chart if path in chart else chart["annotations"]
        node[path] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("version", "1.0", "version 1.0 is no semantic version"),
        ("icon", "icon.svg", "icon.svg is no address"),
        ("artifacthub.io/category", "workflow", "there is no category workflow"),
        ("artifacthub.io/prerelease", "yes", "prerelease is yes"),
        ("artifacthub.io/prerelease", True, "prerelease is no text"),
        ("artifacthub.io/change", "", "there is no annotation change"),
        ("artifacthub.io/changes", "[{kind: new, description: a}]", "changes has a kind new"),
        ("artifacthub.io/links", "[{title: a, url: 'https://a'}]", "links has an entry with title, url"),
        ("artifacthub.io/screenshots", "[{title: a, url: a.png}]", "a.png is no address"),
        ("artifacthub.io/recommendations", "[{url: 'https://a'}]", "https://a is no package of Artifact Hub"),
    ],
)
def test_a_rule_that_is_broken_is_told(path: str, value: Any, fault: str) -> None:
    chart = copy.deepcopy(RELEASED)
    _changed(path, value)(chart)
    assert list(faults(chart)) == [fault]


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        ("../../docs/a.md#b", f"{SOURCE}/blob/v1.0.0/docs/a.md#b"),
        ("UPGRADING.md", f"{SOURCE}/blob/v1.0.0/charts/windlass/UPGRADING.md"),
        ("#here", "#here"),
        ("https://elsewhere.example/", "https://elsewhere.example/"),
    ],
)
def test_a_link_of_the_readme_leads_to_the_repository(link: str, leads_to: str) -> None:
    page = readable(f"[a]({link})", path="charts/windlass/README.md", source_url=SOURCE, version="1.0.0")
    assert page == f"[a]({leads_to})"


def test_the_archive_of_a_release_tells_it(tmp_path: Path) -> None:
    archive = package(tmp_path, at_s=1_700_000_000, described=RELEASED)
    with tarfile.open(archive) as packed:
        member = packed.extractfile("windlass/Chart.yaml")
        assert member is not None
        assert yaml.safe_load(member.read()) == RELEASED
        names = packed.getnames()
        page = packed.extractfile("windlass/README.md")
        assert page is not None
        links = re.findall(r"\]\(([^)\s]+)\)", page.read().decode())
    assert not [link for link in links if not link.startswith(("https://", "#"))]
    here = [link.removeprefix(f"{SOURCE}/blob/v0.1.0/") for link in links if link.startswith(SOURCE)]
    assert len(here) >= 5
    assert [link for link in here if not (ROOT / link.partition("#")[0]).exists()] == []
    assert {"windlass/README.md", "windlass/LICENSE", "windlass/values.schema.json"} <= set(names)
    assert not [name for name in names if re.search(r"test_|/ci/|golden", name)]
    report = helm_python.lint(archive, DATABASE, strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 0] == []
