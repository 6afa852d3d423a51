"""docs/ways-in.md: its values are taken by the chart, and do what the page says."""

import re
from typing import Any

import yaml
from fields import variable
from rendering import DATABASE, REPOSITORY, Values, deployment, engine, merged, refusal_of, rendered

PAGE = (REPOSITORY / "docs" / "ways-in.md").read_text()
BLOCKS: list[Values] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def block(key: str) -> Values:
    (found,) = [
        each for each in BLOCKS if next(iter(each)) == key.split(".", maxsplit=1)[0] and _has(each, key)
    ]
    return found


def _has(values: Any, key: str) -> bool:
    for part in key.split("."):
        if part not in values:
            return False
        values = values[part]
    return True


def test_every_block_renders_and_all_of_them_together() -> None:
    assert len(BLOCKS) == 5
    for each in (*BLOCKS, merged(*BLOCKS)):
        assert deployment(rendered(merged(DATABASE, each)))


def test_metrics_are_never_published() -> None:
    result = rendered(merged(DATABASE, block("ingress"), block("httpRoute")))
    published = {
        path["backend"]["service"]["port"]["name"]
        for ingress in result.of_kind("Ingress")
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    }
    assert published == {"rest", "grpc"}
    routed = {
        reference["port"]
        for kind in ("HTTPRoute", "GRPCRoute")
        for rule in result.of_kind(kind)[0]["spec"]["rules"]
        for reference in rule["backendRefs"]
    }
    assert routed == {8080, 9090}


def test_the_routes_lead_to_ports_of_the_service() -> None:
    result = rendered(merged(DATABASE, block("ingress"), block("httpRoute")))
    ports = {port["port"]: port for port in result.of_kind("Service")[0]["spec"]["ports"]}
    assert ports[9090]["appProtocol"] == "kubernetes.io/h2c"
    assert {port["name"] for port in ports.values()} == {"rest", "grpc"}


def test_a_route_keeps_a_long_poll() -> None:
    (route,) = rendered(merged(DATABASE, block("httpRoute"))).of_kind("HTTPRoute")
    assert route["spec"]["rules"][0]["timeouts"] == {"request": "35s"}
    shorter = merged(DATABASE, block("httpRoute"), {"httpRoute": {"timeouts": {"request": "30s"}}})
    assert "would cut calls that may take 30 s" in refusal_of(shorter)


def test_both_families_are_of_both_services() -> None:
    services = rendered(merged(DATABASE, block("service"))).of_kind("Service")
    assert [each["spec"]["ipFamilies"] for each in services] == [["IPv6", "IPv4"]] * 2


def test_what_the_page_calls_by_variable_is_what_the_chart_sets() -> None:
    for key, name, value in (
        ("engine.idleTimeoutSeconds", "WINDLASS_IDLE_TIMEOUT_SECONDS", "620"),
        ("engine.grpc.connectionAgeSeconds", "WINDLASS_GRPC_CONNECTION_AGE_SECONDS", "60"),
    ):
        assert f"`{name}={value}`" in PAGE
        assert variable(name)(rendered(merged(DATABASE, block(key)))) == value


def test_no_address_is_set_in_a_pod() -> None:
    """Probes come to the pod's own address."""
    names = {each["name"] for each in engine(rendered(merged(DATABASE, *BLOCKS)))["env"]}
    assert "WINDLASS_BIND" not in names
