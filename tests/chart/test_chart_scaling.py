"""An autoscaler is switched on in a release that runs: the README's three steps lose no pod, and one step does."""

import copy
import re

import pytest
import yaml
from rendering import CHART, DATABASE, Values, merged, rendered
from replicas import TOOLS, Pods, three_way
from validity import Object

README = (CHART / "README.md").read_text()
FIXED: Values = merged(DATABASE, {"replicaCount": 3})
QUEUE: Values = {"jobType": "pay", "targetLength": 20}

tools = pytest.mark.parametrize("tool", TOOLS)
sections = pytest.mark.parametrize("section", ["autoscaling", "keda"])


def steps(section: str = "autoscaling") -> list[Values]:
    """The values of each upgrade, as the README has them; for keda with its queue."""
    text = README.split("\n### Switching it on\n")[1].split("\n## ", maxsplit=1)[0]
    found = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    if section == "keda":
        for values in found:
            if scaled := values.pop("autoscaling", None):
                values["keda"] = scaled | {"queues": [QUEUE]}
    return found


def objects(*layers: Values) -> list[Object]:
    return copy.deepcopy(list(rendered(merged(FIXED, *layers)).objects))


def running(tool: str) -> Pods:
    """A release of three pods."""
    pods = TOOLS[tool]()
    pods.apply(objects())
    pods.fewest = pods.serving()
    assert pods.fewest == 3
    return pods


@tools
@sections
def test_the_readme_s_steps_lose_no_pod(tool: str, section: str) -> None:
    pods = running(tool)
    upgrades = steps(section)
    assert len(upgrades) == 3
    for values in upgrades:
        pods.apply(objects(values))
        pods.scale()
        assert pods.of("rel-windlass") >= 3, "the next step waits for this"
    assert pods.fewest == 3
    assert pods.serving() == 3


@tools
@sections
def test_one_step_would_lose_two_of_three(tool: str, section: str) -> None:
    pods = running(tool)
    pods.apply(objects(steps(section)[-1]))
    assert pods.fewest == 1
    pods.scale()
    assert pods.serving() == 3


@tools
def test_without_the_first_wait_or_the_second_pods_would_be_lost(tool: str) -> None:
    """What the page says to wait for is needed."""
    pods = running(tool)
    pool, both, last = (objects(values) for values in steps())
    pods.apply(pool)
    pods.apply(both)
    pods.apply(last)
    assert pods.fewest == 1


@tools
@sections
def test_an_upgrade_leaves_the_number_to_the_autoscaler(tool: str, section: str) -> None:
    pods = running(tool)
    scaled = steps(section)[-1]
    pods.apply(objects(scaled))
    pods.scale(wanted=5)
    assert pods.serving() == 5
    pods.fewest = 5
    pods.apply(objects(scaled, {"image": {"tag": "0.2.0"}}))
    pods.scale(wanted=5)
    assert pods.fewest == 5


@tools
def test_a_number_left_in_the_manifest_would_be_set_again(tool: str) -> None:
    """Why replicaCount is not rendered beside an autoscaler."""
    pods = running(tool)
    scaled = objects(steps()[-1])
    for found in scaled:
        if found["kind"] == "Deployment":
            found["spec"]["replicas"] = 3
    pods.apply(scaled)
    pods.scale(wanted=5)
    pods.fewest = 5
    pods.apply(scaled)
    assert pods.fewest == 3


def test_the_merge_keeps_what_others_wrote_and_takes_out_what_is_gone() -> None:
    last = {"a": {"b": 1, "c": 2}, "d": 3, "l": [1]}
    live = {"a": {"b": 1, "c": 2, "x": 9}, "d": 3, "l": [1], "y": 8}
    assert three_way(last, {"a": {"b": 5}, "l": [2]}, live) == {"a": {"b": 5, "x": 9}, "l": [2], "y": 8}
    assert three_way({}, {"a": {"b": 5}}, {"a": {"c": 1}}) == {"a": {"b": 5, "c": 1}}
