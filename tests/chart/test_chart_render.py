"""seatrial.render resolves what a kubelet would, and refuses what it cannot; shown on small charts of its own."""

import base64
from pathlib import Path

import pytest
import yaml

from seatrial.render import RenderError, default_chart, render_chart

SECRET = "canary-3f9a1c"
PLAIN = {"name": "A", "value": "1"}


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: small, version: 1.0.0}")
    (tmp_path / "templates").mkdir()
    objects = [
        {"kind": "Secret", "metadata": {"name": "own"}, "data": {"k": base64.b64encode(SECRET.encode()).decode()},
         "stringData": {"s": "plain"}},
        {"kind": "ConfigMap", "metadata": {"name": "map"}, "data": {"k": "mapped"}},
    ]  # fmt: skip
    (tmp_path / "templates" / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    (tmp_path / "templates" / "deployment.yaml").write_text(
        "kind: Deployment\nmetadata: {name: d}\n"
        "spec: {template: {spec: {containers: [\n  {{ toJson .Values.container }}\n]}}}\n"
    )
    return tmp_path


def container(*env: object, **more: object) -> dict[str, object]:
    return {"container": {"name": "c", "env": list(env), **more}}


def source(kind: str, **reference: object) -> dict[str, object]:
    return {"name": "V", "valueFrom": {kind: reference}}


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        (source("secretKeyRef", name="own", key="k"), SECRET),
        (source("secretKeyRef", name="own", key="s"), "plain"),
        (source("configMapKeyRef", name="map", key="k"), "mapped"),
        (source("fieldRef", fieldPath="metadata.name"), "pod-3"),
        (source("fieldRef", fieldPath="metadata.namespace"), "ns"),
        (source("secretKeyRef", name="other", key="k", optional=True), None),
        (source("secretKeyRef", name="own", key="other", optional=True), None),
        ({"name": "V", "value": "$(A)-$(B)-$$(A)"}, "1-$(B)-$(A)"),
        ({"name": "V"}, ""),
    ],
)
def test_a_variable_is_resolved(chart: Path, variable: dict[str, object], expected: str | None) -> None:
    (found,) = render_chart(chart, container(PLAIN, variable), "rel", "ns").containers(pod_name="pod-3")
    assert found.env.get("V") == expected
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        (
            source("secretKeyRef", name="other", key="k"),
            "V reads Secret other, which the chart does not render",
        ),
        (source("secretKeyRef", name="own", key="other"), "V reads key other of Secret own, which has"),
        (source("fieldRef", fieldPath="status.podIP"), "V reads the pod's status.podIP"),
        (source("resourceFieldRef", resource="limits.cpu"), "V reads .'resourceFieldRef'."),
    ],
)
def test_what_only_kubernetes_knows_is_refused(
    chart: Path, variable: dict[str, object], message: str
) -> None:
    with pytest.raises(RenderError, match=message):
        render_chart(chart, container(variable)).containers()


def test_whole_maps_become_variables_and_single_ones_win(chart: Path) -> None:
    sources = [
        {"prefix": "P_", "configMapRef": {"name": "map"}},
        {"secretRef": {"name": "gone", "optional": True}},
    ]
    values = container({"name": "P_k", "value": "mine"}, envFrom=[*sources, {"secretRef": {"name": "own"}}])
    (found,) = render_chart(chart, values).containers()
    assert found.env == {"P_k": "mine", "k": SECRET, "s": "plain"}


def test_command_and_args_are_one_and_see_the_variables(chart: Path) -> None:
    (found,) = render_chart(chart, container(PLAIN, command=["run"], args=["--n=$(A)"])).containers()
    assert found.command == ("run", "--n=1")
    assert found.termination_grace_s == 30


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("512Mi", 512 * 1024 * 1024),
        ("1.5Gi", 1536 * 1024 * 1024),
        ("2G", 2_000_000_000),
        ("300k", 300_000),
        ("1e9", 1_000_000_000),
        (4096, 4096),
    ],
)
def test_the_limit_of_memory_is_in_bytes(chart: Path, limit: object, expected: int) -> None:
    values = container(resources={"limits": {"memory": limit}})
    assert render_chart(chart, values).containers()[0].memory_bytes_max == expected


def test_without_a_limit_of_memory_there_is_none(chart: Path) -> None:
    assert render_chart(chart, container()).containers()[0].memory_bytes_max is None
    with pytest.raises(RenderError, match="'much' is no amount of memory; give one as 512Mi"):
        render_chart(chart, container(resources={"limits": {"memory": "much"}})).containers()


def test_a_probe_has_kubernetes_defaults_and_numbers(chart: Path) -> None:
    ports = [{"name": "http", "containerPort": 80}]
    probe = {"httpGet": {"path": "/x", "port": "http"}, "initialDelaySeconds": 4}
    (found,) = render_chart(chart, container(ports=ports, readinessProbe=probe)).containers()
    ready = found.probes["readiness"]
    assert (ready.port, ready.period_s, ready.timeout_s) == (80, 10, 1)
    assert (ready.failure_threshold, ready.initial_delay_s) == (3, 4)
    assert set(found.probes) == {"readiness"}


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ({"exec": {"command": ["x"]}}, "c.livenessProbe is not an httpGet probe"),
        ({"httpGet": {"port": "gone"}}, "c.livenessProbe asks port 'gone'"),
    ],
)
def test_a_probe_that_no_process_can_answer_is_refused(
    chart: Path, probe: dict[str, object], message: str
) -> None:
    with pytest.raises(RenderError, match=message):
        render_chart(chart, container(livenessProbe=probe)).containers()


def test_a_kind_that_is_not_rendered_is_named(chart: Path) -> None:
    with pytest.raises(RenderError, match="renders no Job: it renders ConfigMap, Deployment, Secret"):
        render_chart(chart, container()).containers("Job")


def test_a_folder_without_chart_and_values_that_yaml_cannot_say_are_refused(chart: Path) -> None:
    with pytest.raises(RenderError, match="is no chart that renders"):
        render_chart(chart / "templates", {})
    with pytest.raises(RenderError, match="values must be what YAML can say"):
        render_chart(chart, {"container": chart})


def test_a_value_that_does_not_match_its_pattern_is_not_quoted() -> None:
    """- at '/kafka/seedBrokers/0': 'u:S3cretXQZ@k:9092' does not match pattern ..."""
    values = {"kafka": {"seedBrokers": ["u:S3cret' XQZ@k:9092"]}, "nameOverride": "A'"}
    with pytest.raises(RenderError) as refused:
        render_chart(default_chart(), values)
    assert "at '/kafka/seedBrokers/0': does not match pattern '^(" in str(refused.value)
    assert "- at '/nameOverride': does not match pattern " in str(refused.value)
    assert "cret" not in str(refused.value)


def test_an_object_that_is_not_yaml_is_not_quoted(chart: Path) -> None:
    (chart / "templates" / "odd.yaml").write_text("kind: Secret\nstringData: {dsn: S3cretXQZ: x: y")
    with pytest.raises(RenderError) as refused:
        render_chart(chart, container())
    assert "S3cretXQZ" not in str(refused.value)


def test_a_template_error_is_the_message(chart: Path) -> None:
    (chart / "templates" / "fail.yaml").write_text('{{ fail "set this, not that" }}')
    with pytest.raises(RenderError) as refused:
        render_chart(chart, container())
    assert str(refused.value) == "set this, not that"


def test_the_default_chart_is_found_from_below_and_missed_from_outside(tmp_path: Path) -> None:
    assert (default_chart() / "values.schema.json").is_file()
    (tmp_path / "charts" / "windlass").mkdir(parents=True)
    (tmp_path / "charts" / "windlass" / "Chart.yaml").touch()
    below = tmp_path / "deep" / "er"
    below.mkdir(parents=True)
    assert default_chart(below) == tmp_path / "charts" / "windlass"
    with pytest.raises(RenderError, match="no charts/windlass above"):
        default_chart(Path(tmp_path.anchor))
