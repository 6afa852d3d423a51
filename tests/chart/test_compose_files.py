"""The compose files, without Docker: what they are by the specification, and what no service of them may do."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
import yaml
from compose_env import read_env
from compose_files import (
    DEVELOPMENT,
    FILES,
    PRODUCTION,
    SMALL_CLUSTER,
    engines,
    filled,
    published,
    services,
    specification,
    variables_of,
    written,
)
from rendering import CHART, REPOSITORY

from windlass.config import variables

ALL = pytest.mark.parametrize("name", FILES)
#: what a name of an image may not end with: a build that may be another one tomorrow
FLOATING = ("latest", "edge", "nightly")
SECRET_WORDS = re.compile(r"PASSWORD|SECRET|TOKEN|DSN|REDIS_URL")
PRIVATE = {"postgres", "redis", "kafka", "scheduler", "scheduler-b", "scheduler-c", "bootstrap"}


def test_the_three_files_stand_at_the_top() -> None:
    assert sorted([SMALL_CLUSTER, DEVELOPMENT, PRODUCTION]) == FILES


@ALL
def test_it_is_valid_by_the_specification(name: str) -> None:
    jsonschema.Draft202012Validator(specification()).validate(filled(name, {}))


def test_the_specification_refuses_what_it_does_not_know() -> None:
    odd = filled(SMALL_CLUSTER, {})
    odd["services"]["redis"]["health_check"] = {}
    with pytest.raises(jsonschema.ValidationError, match="health_check"):
        jsonschema.Draft202012Validator(specification()).validate(odd)


def test_the_page_s_file_of_tokens_adds_to_every_server_and_to_nothing_else() -> None:
    page = (REPOSITORY / "docs" / "small-cluster.md").read_text()
    (written,) = re.findall(r"```yaml\n(x-asks: .*?)```", page, re.DOTALL)
    more = yaml.safe_load(written)
    jsonschema.Draft202012Validator(specification()).validate(more)
    servers = {name for name in services(SMALL_CLUSTER) if name.startswith("server-")}
    assert set(more["services"]) == servers
    assert set(more["secrets"]).isdisjoint(filled(SMALL_CLUSTER, {})["secrets"])
    known = {variable.name for variable in variables()}
    for service in more["services"].values():
        assert set(service["environment"]) <= known
        assert [f"/run/secrets/{name}" for name in service["secrets"]] == [*service["environment"].values()]
    # Probes of the file and of the balancer need no token.
    assert "/ready" in str(services(SMALL_CLUSTER)["server-a"]["healthcheck"])


@ALL
def test_every_image_is_a_variable_with_a_name_of_a_fixed_version(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    images = re.findall(r"^ +image: (.*)$", text, re.MULTILINE)
    assert images
    for image in images:
        found = re.fullmatch(
            r"\$\{[A-Z]+_IMAGE:-([a-z0-9./-]+):([\w.-]+)\}|\$\{WINDLASS_[A-Z_]*IMAGE:-([a-z-]+):dev\}", image
        )
        assert found, f"{name}: image {image}: write ${{NAME_IMAGE:-repository:version}}"
        assert not image.rstrip("}").endswith(FLOATING)


def test_a_third_partys_image_is_the_same_in_every_file() -> None:
    defaults: dict[str, set[str]] = {}
    for name in FILES:
        for variable, found in variables_of(name).items():
            if variable.endswith("_IMAGE"):
                defaults.setdefault(variable, set()).update(found)
    assert {variable: len(found) for variable, found in defaults.items()} == dict.fromkeys(defaults, 1)


@ALL
def test_no_variable_has_two_defaults(name: str) -> None:
    assert {key: found for key, found in variables_of(name).items() if len(found) > 1} == {}


def test_the_example_of_settings_has_every_variable_with_its_default() -> None:
    defaults = {variable: found.copy().pop() for variable, found in variables_of(SMALL_CLUSTER).items()}
    assert read_env(REPOSITORY / "compose" / "example.env") == defaults


@ALL
def test_where_ports_are_published_is_said_by_no_variable_of_the_engine(name: str) -> None:
    """In one .env the two could not be told apart: where compose publishes, and where a server listens."""
    ports = [str(port) for service in written(name)["services"].values() for port in service.get("ports", [])]
    said_by = {variable for port in ports for variable in re.findall(r"\$\{(\w+)", port)}
    assert said_by
    assert said_by.isdisjoint(variable.name for variable in variables())


@ALL
def test_no_two_services_want_one_port(name: str) -> None:
    numbers = [number for _, _, number in published(name) if number != "0"]
    assert len(numbers) == len(set(numbers))


@ALL
def test_every_port_is_a_variable(name: str) -> None:
    for line in (REPOSITORY / name).read_text().splitlines():
        if re.search(r"[:\"]\d+\"?$|published:", line) and ('- "' in line or "published" in line):
            assert "PORT:-" in line, line


@pytest.mark.parametrize("name", [SMALL_CLUSTER, DEVELOPMENT])
def test_ports_are_open_on_this_machine_alone(name: str) -> None:
    assert {address for _, address, _ in published(name)} == {"127.0.0.1"}


@ALL
def test_no_secret_is_in_an_environment_or_in_arguments(name: str) -> None:
    for each, service in services(name).items():
        for variable, value in (service.get("environment") or {}).items():
            if SECRET_WORDS.search(variable):
                assert variable.endswith("_FILE"), f"{name}: {each}: {variable}"
                assert value is None or value.startswith("/run/secrets/"), f"{name}: {each}: {variable}"
        said = [
            *map(str, service.get("command") or ()),
            *map(str, service.get("healthcheck", {}).get("test", ())),
        ]
        assert not any(re.search(r"requirepass|://[^/]*:[^/]*@", word) for word in said), f"{name}: {each}"


@pytest.mark.parametrize("name", [SMALL_CLUSTER, PRODUCTION])
def test_every_service_of_a_cluster_is_hardened_and_limited(name: str) -> None:
    for each, service in services(name).items():
        assert service["read_only"] is True, each
        assert service["cap_drop"] == ["ALL"], each
        assert service["security_opt"] == ["no-new-privileges:true"], each
        limits = service["deploy"]["resources"]["limits"]
        assert limits["memory"], each
        assert limits["pids"], each
        assert service["logging"]["options"]["max-size"], each


def test_every_service_of_the_small_cluster_is_restarted_and_judged() -> None:
    for each, service in services(SMALL_CLUSTER).items():
        assert service["restart"] == ("no" if each == "bootstrap" else "unless-stopped"), each
        # A worker listens nowhere; the servers know whether it is alive.
        assert ("healthcheck" in service) == (each != "worker"), each
        assert "container_name" not in service, f"{each}: a second project could not start"
        assert each == "bootstrap" or service["stop_grace_period"], each


def test_what_is_private_is_on_the_inner_network_alone() -> None:
    file = filled(SMALL_CLUSTER, {})
    assert file["networks"]["data"]["internal"] is True
    for each, service in file["services"].items():
        if each in PRIVATE:
            assert service["networks"] == ["data"], each
            assert "ports" not in service, each
        else:
            assert "front" in service["networks"], each
    assert file["services"]["balancer"]["networks"] == ["front"]
    assert file["services"]["worker"]["networks"] == ["front"]


def test_profiles_add_servers_schedulers_workers_and_the_broker() -> None:
    found = {each: service.get("profiles", []) for each, service in services(SMALL_CLUSTER).items()}
    assert found == {
        "bootstrap": [],
        "server-a": [],
        "server-b": [],
        "server-c": ["three"],
        "scheduler": [],
        "scheduler-b": ["two-schedulers", "three-schedulers"],
        "scheduler-c": ["three-schedulers"],
        "balancer": [],
        "worker": ["workers"],
        "postgres": [],
        "redis": [],
        "kafka": ["kafka"],
    }


def test_production_updates_one_by_one_and_goes_back_by_itself() -> None:
    for each in engines(PRODUCTION).values():
        deploy = each["deploy"]
        assert deploy["replicas"] >= 2
        assert deploy["update_config"]["order"] == deploy["rollback_config"]["order"] == "start-first"
        assert deploy["update_config"]["parallelism"] == 1
        assert deploy["update_config"]["failure_action"] == "rollback"
        # A swarm replaces what is unhealthy: the database must have no part in that.
        assert each["healthcheck"]["test"][-1].endswith("/healthz")


@ALL
def test_the_memory_limit_of_an_engine_is_the_charts(name: str) -> None:
    limit = yaml.safe_load((CHART / "values.yaml").read_text())["resources"]["limits"]["memory"]
    for each, service in engines(name).items():
        if "deploy" in service:
            assert service["deploy"]["resources"]["limits"]["memory"] + "i" == limit, each


def _secrets(service: dict[str, Any]) -> set[str]:
    return set(service.get("secrets") or ())


@ALL
def test_a_file_of_a_secret_is_mounted_where_it_is_read(name: str) -> None:
    used = {"WINDLASS_REDIS_URL_FILE": "/run/secrets/redis_url"}
    for each, service in filled(name, used)["services"].items():
        read = set(
            re.findall(
                r"/run/secrets/([\w.]+)", str({key: service.get(key) for key in ("environment", "command")})
            )
        )
        assert read <= _secrets(service), each
        assert _secrets(service) <= read, f"{each} is given a secret that it does not read"
    assert {secret for service in services(name).values() for secret in _secrets(service)} == set(
        filled(name, {})["secrets"]
    )
