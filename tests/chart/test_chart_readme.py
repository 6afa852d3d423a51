"""The README's table is the schema's, its commands and those of NOTES.txt are ones that helm takes."""

import re

import helm_python
import pytest
from rendering import CHART, DATABASE, KAFKA, Values, merged, refusal_of, rendered
from values_table import written

README = (CHART / "README.md").read_text()


def test_the_values_table_is_up_to_date() -> None:
    assert written(README) == README, "run: python tests/chart/values_table.py"


def test_a_stale_table_would_be_seen() -> None:
    stale = README.replace("| `replicaCount` |", "| `replicas` |")
    assert written(stale) != stale


def test_the_install_command_renders() -> None:
    command = next(
        block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "image.repository" in block
    )
    values = merged(*(helm_python.parse_set_string(pair) for pair in re.findall(r"--set (\S+)", command)))
    assert rendered(values).of_kind("Deployment")


def test_every_set_in_the_text_is_a_key() -> None:
    for quoted, bare in re.findall(r"--set (?:'([^']+)'|([a-z]\S+))", README):
        pair = (quoted or bare).strip("`")
        assert "additional properties" not in refusal_of(helm_python.parse_set_string(pair)), pair


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "Inside the cluster: http://rel-windlass.ns:8080"),
        ({"service": {"type": "LoadBalancer"}}, "{.status.loadBalancer.ingress[0]}"),
        ({"service": {"type": "NodePort"}}, ".nodePort}"),
        ({"engine": {"rest": {"port": 8181}}}, "kubectl port-forward service/rel-windlass 8181:8181 -n ns"),
        (KAFKA, "Topics workflow.jobs.<jobType> must exist"),
        ({"postgresql": {"existingSecret": "", "dsn": "postgres://db/one"}}, "WARNING: the DSN came inline"),
    ],
)
def test_the_notes_say_what_comes_next(values: Values, line: str) -> None:
    notes = rendered(merged(DATABASE, values)).notes
    assert line in notes
    assert "postgres://" not in notes


def test_the_notes_name_services_that_are_there() -> None:
    result = rendered(DATABASE)
    ports = {
        (found["metadata"]["name"], str(port["port"]))
        for found in result.of_kind("Service")
        for port in found["spec"]["ports"]
    }
    named = set(re.findall(r"port-forward service/(\S+) \d+:(\d+)", result.notes))
    assert len(named) == 2
    assert named <= ports
