"""Whoever serves is found by the labels that the chart's own Service selects by, whatever pool it is of."""

from __future__ import annotations

from seatrial.cluster.kind.roster import ENGINE_LABELS
from seatrial.render import default_chart, render_chart

POOLS = [{"name": "night", "replicas": 1}, {"name": "bulk", "replicas": 2}]
VALUES = {"pools": POOLS, "migrations": {"enabled": True}, "postgresql": {"existingSecret": "database"}}
WANTED = dict(each.split("=") for each in ENGINE_LABELS.split(","))


def test_the_pods_of_every_pool_are_found_and_no_jobs() -> None:
    rendered = render_chart(default_chart(), VALUES)
    found = {
        (each["kind"], each["metadata"]["name"])
        for kind in ("Deployment", "Job")
        for each in rendered.of_kind(kind)
        if WANTED.items() <= each["spec"]["template"]["metadata"]["labels"].items()
    }
    assert rendered.of_kind("Job")
    assert found == {("Deployment", f"windlass{suffix}") for suffix in ("", "-night", "-bulk")}


def test_they_are_the_services_own() -> None:
    rendered = render_chart(default_chart(), VALUES)
    for service in rendered.of_kind("Service"):
        assert WANTED.items() <= service["spec"]["selector"].items()
