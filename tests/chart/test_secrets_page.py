"""docs/secrets.md: each recipe, under the tool it is for, has the Secret before the Job and the Job before the pods."""

import copy
import re
from collections.abc import Iterator

import pytest
import yaml
from rendering import REPOSITORY, Values, merged, rendered
from sync import TOOLS, Cluster, Objects, SyncError, Tool

PAGE = (REPOSITORY / "docs" / "secrets.md").read_text()
HEADINGS = {"Helm": "helm", "Argo CD": "argo", "Flux": "flux"}
WAITING: Values = {"migrations": {"onStartup": False}}
STORE_KINDS = ("ExternalSecret", "SealedSecret")


def recipes() -> Iterator[tuple[str, Values]]:
    """Each tool with the values that it gets."""
    for heading, tool in HEADINGS.items():
        section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ", maxsplit=1)[0]
        for block in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL):
            yield tool, values_of(yaml.safe_load(block))


def values_of(found: Values) -> Values:
    """Those of an Application or a HelmRelease, or a values file itself."""
    if found.get("kind") == "Application":
        values: Values = found["spec"]["source"]["helm"]["valuesObject"]
    elif found.get("kind") == "HelmRelease":
        values = found["spec"]["values"]
    else:
        values = found
    return values


RECIPES = list(recipes())
each = pytest.mark.parametrize(
    ("tool", "values"),
    RECIPES,
    ids=[f"{tool}-{values['extraObjects'][0]['kind']}" for tool, values in RECIPES],
)


def objects(values: Values, tag: str = "0.1.0") -> Objects:
    return rendered(merged(values, {"image": {"tag": tag}})).objects


def ran_in_order(events: list[str]) -> bool:
    made, migrated, started = (
        next(index for index, event in enumerate(events) if event.startswith(start))
        for start in ("make Secret orders-db", "run rel-windlass-migrate", "apply Deployment rel-windlass")
    )
    return made < migrated < started


def test_there_is_one_of_each_kind_for_each_tool() -> None:
    found = [(tool, values["extraObjects"][0]["kind"]) for tool, values in RECIPES]
    assert sorted(found) == sorted((tool, kind) for tool in TOOLS for kind in STORE_KINDS)


@each
def test_the_secret_comes_first_then_the_job_then_the_pods(tool: str, values: Values) -> None:
    """With pods that do not migrate: else the hook leaves the first install to them."""
    cluster = Cluster()
    TOOLS[tool](cluster, objects(merged(values, WAITING)), None)
    assert ran_in_order(cluster.events), cluster.events


@each
def test_upgrades_migrate_first_and_never_lose_the_secret(tool: str, values: Values) -> None:
    cluster = Cluster()
    sync: Tool = TOOLS[tool]
    before = objects(values)
    sync(cluster, before, None)
    sync(cluster, before, before)
    cluster.events.clear()
    after = objects(values, "0.2.0")
    sync(cluster, after, before)
    ran = [event.split()[0] + " " + event.split()[1] for event in cluster.events]
    assert not [event for event in cluster.events if event.startswith("lose")]
    migrated = next(index for index, event in enumerate(ran) if event.startswith("run rel-windlass-migrate"))
    assert migrated < ran.index("apply Deployment")


@pytest.mark.parametrize("kind", STORE_KINDS)
@pytest.mark.parametrize("tool", TOOLS)
def test_without_a_job_no_order_is_needed(tool: str, kind: str) -> None:
    """What the page says first: an entry without annotations will do."""
    plain = copy.deepcopy(next(values for _, values in RECIPES if values["extraObjects"][0]["kind"] == kind))
    plain["migrations"] = {"enabled": False}
    del plain["extraObjects"][0]["metadata"]["annotations"]
    cluster, same = Cluster(), objects(plain)
    TOOLS[tool](cluster, same, None)
    TOOLS[tool](cluster, same, same)
    assert cluster.events.count("make Secret orders-db") == 1
    assert "lose Secret orders-db" not in cluster.events


# -- what the model must not let through


@each
def test_an_object_without_its_annotations_would_be_too_late(tool: str, values: Values) -> None:
    late = copy.deepcopy(values)
    del late["extraObjects"][0]["metadata"]["annotations"]
    with pytest.raises(SyncError, match="needs Secret orders-db, which is not there"):
        TOOLS[tool](Cluster(), objects(merged(late, WAITING)), None)


@pytest.mark.parametrize("kind", STORE_KINDS)
@pytest.mark.parametrize("tool", ["helm", "flux"])
def test_a_secret_that_its_object_owns_would_be_lost_at_an_upgrade(tool: str, kind: str) -> None:
    owned = copy.deepcopy(
        next(
            values
            for made_for, values in RECIPES
            if (made_for, values["extraObjects"][0]["kind"]) == (tool, kind)
        )
    )
    spec = owned["extraObjects"][0]["spec"]
    spec.get("target", {}).pop("creationPolicy", None)
    spec.get("template", {}).pop("metadata", None)
    cluster, same = Cluster(), objects(owned)
    TOOLS[tool](cluster, same, None)
    TOOLS[tool](cluster, same, same)
    assert "lose Secret orders-db" in cluster.events


def test_the_recipe_for_helm_works_under_argo() -> None:
    for tool, values in RECIPES:
        if tool == "helm":
            cluster, same = Cluster(), objects(merged(values, WAITING))
            TOOLS["argo"](cluster, same, None)
            TOOLS["argo"](cluster, same, same)
            assert ran_in_order(cluster.events)
            assert cluster.events.count("make Secret orders-db") == 2, "made anew at every sync"
