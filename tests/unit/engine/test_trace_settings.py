"""The variables of tracing: what is taken, what is refused by name, and what is only said."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from seatrial.cluster.certificate import new_authority
from windlass.config import ConfigError, resolved, settings_from_env
from windlass.telemetry.metrics import Metrics
from windlass.trace_settings import TraceSettings
from windlass.variable import declared_by

PAGE = Path(__file__).parents[3] / "docs/tracing.md"
NO_FILE = Path("/nonexistent/engine.yaml")
DSN = {"WE_POSTGRES_DSN": "postgresql://localhost/x"}
COLLECTOR = {"WINDLASS_OTLP_ENDPOINT": "http://collector:4318"}


def traces(**variables: str) -> TraceSettings:
    return settings_from_env(DSN | variables, NO_FILE).traces


def problems(**variables: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings_from_env(DSN | variables, NO_FILE)
    return caught.value.problems


def test_it_is_off_unless_a_collector_is_named() -> None:
    assert traces().otlp_endpoint is None
    found = traces(**COLLECTOR)
    assert found.traces_url == "http://collector:4318/v1/traces"
    assert (found.trace_ratio, found.service_name, found.headers, found.resource) == (1.0, "windlass", {}, {})


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://vendor.example/otlp", "https://vendor.example/otlp/v1/traces"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
    ],
)
def test_the_path_of_spans_is_added(endpoint: str, url: str) -> None:
    assert traces(WINDLASS_OTLP_ENDPOINT=endpoint).traces_url == url


@pytest.mark.parametrize(
    ("endpoint", "gist"),
    [
        ("collector:4318", "is not the URL of a collector"),
        ("grpc://collector:4317", "is not the URL of a collector"),
        ("http://", "is not the URL of a collector"),
        ("http://collector:99999", "is no URL"),
        ("http://user:secret@collector:4318", "may have a host, a port and a path"),
        ("http://collector:4318?key=secret", "may have a host, a port and a path"),
        ("http://collector:4318/v1/traces", "ends with /v1/traces, which is added to it"),
    ],
)
def test_an_endpoint_that_is_none_is_refused_unshown(endpoint: str, gist: str) -> None:
    (problem,) = problems(WINDLASS_OTLP_ENDPOINT=endpoint)
    assert problem.startswith(f"config: WINDLASS_OTLP_ENDPOINT {gist}")
    assert "; " in problem
    assert "secret" not in problem


def test_headers_are_pairs_and_a_secret(tmp_path: Path) -> None:
    header = "authorization=Bearer%20abc,x-scope = a=b"
    wanted = {"authorization": "Bearer abc", "x-scope": "a=b"}
    assert traces(**COLLECTOR, WINDLASS_OTLP_HEADERS=header).headers == wanted
    file = tmp_path / "headers"
    file.write_text(f"{header}\n")
    settings = settings_from_env(DSN | COLLECTOR | {"WINDLASS_OTLP_HEADERS_FILE": str(file)}, NO_FILE)
    assert settings.traces.headers == wanted
    assert "abc" not in repr(settings)
    shown = {variable.name: text for variable, text in resolved(settings)}
    assert shown["WINDLASS_OTLP_HEADERS"]
    assert "abc" not in shown["WINDLASS_OTLP_HEADERS"]


@pytest.mark.parametrize("headers", ["secret", "=secret", "a b=secret", "a=secret%0d%0aX:1", "ok=1,secret"])
def test_headers_that_are_none_are_refused_unshown(headers: str) -> None:
    (problem,) = problems(**COLLECTOR, WINDLASS_OTLP_HEADERS=headers)
    assert problem.startswith("config: WINDLASS_OTLP_HEADERS has a pair, number ")
    assert "secret" not in problem


def test_what_only_a_collector_needs_is_refused_without_one(tmp_path: Path) -> None:
    authorities = str(new_authority("test").write(tmp_path / "ca.pem"))
    found = problems(WINDLASS_OTLP_HEADERS="a=b", WINDLASS_OTLP_TLS_CA_PATH=authorities)
    assert [problem.split()[1] for problem in found] == ["WINDLASS_OTLP_HEADERS", "WINDLASS_OTLP_TLS_CA_PATH"]
    (problem,) = problems(**COLLECTOR, WINDLASS_OTLP_TLS_CA_PATH=authorities)
    assert "does not ask for TLS" in problem
    assert traces(WINDLASS_OTLP_ENDPOINT="https://collector", WINDLASS_OTLP_TLS_CA_PATH=authorities)
    (problem,) = problems(
        WINDLASS_OTLP_ENDPOINT="https://collector", WINDLASS_OTLP_TLS_CA_PATH="/nonexistent"
    )
    assert "cannot read '/nonexistent'" in problem


def test_the_ratio_is_a_share() -> None:
    assert traces(**COLLECTOR, WINDLASS_TRACE_RATIO="0.1").trace_ratio == 0.1
    (problem,) = problems(WINDLASS_TRACE_RATIO="50")
    assert problem.startswith("config: WINDLASS_TRACE_RATIO must be <= 1, got '50'; ")
    (problem,) = problems(WINDLASS_TRACE_RATIO="half")
    assert problem.startswith("config: WINDLASS_TRACE_RATIO must be a number, got 'half'; ")


def test_open_telemetry_s_variables_are_taken_or_named_as_ignored() -> None:
    settings = settings_from_env(
        DSN
        | COLLECTOR
        | {
            "OTEL_SERVICE_NAME": "orders",
            "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=a%2Cb",
            "OTEL_TRACES_SAMPLER": "always_off",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x",
            "OTEL_SDK_DISABLED": "",
        },
        NO_FILE,
    )
    assert (settings.traces.service_name, settings.traces.resource) == ("orders", {"k8s.pod.name": "a,b"})
    (warning,) = settings.warnings
    assert warning.startswith("not read by this engine: OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER; ")
    assert "WINDLASS_OTLP_ENDPOINT" in warning
    (problem,) = problems(OTEL_RESOURCE_ATTRIBUTES="nothing")
    assert problem.startswith("config: OTEL_RESOURCE_ATTRIBUTES has a pair, number 1, ")


def test_open_telemetry_is_imported_only_where_it_is_chosen() -> None:
    script = (
        "import sys, windlass.app; "
        "sys.exit(any(name.split('.')[0] in {'opentelemetry', 'requests'} for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


def test_where_the_extra_is_missing_the_boot_says_what_to_install() -> None:
    script = """
import io, sys
sys.modules["opentelemetry"] = None
from windlass.app import Node
from windlass.config import settings_from_env
from windlass.errors import BootRefused
from windlass.telemetry.log import Log
settings = settings_from_env(
    {"WE_POSTGRES_DSN": "postgresql://localhost/x", "WINDLASS_OTLP_ENDPOINT": "http://collector:4318"}
)
try:
    Node("serve", settings, Log("info", io.BytesIO()))
except BootRefused as err:
    print(err)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout.strip() == (
        "WINDLASS_OTLP_ENDPOINT is set, but opentelemetry is not installed; install windlass[otel], or unset it"
    )


def test_the_page_has_the_variables_with_their_defaults() -> None:
    table = dict(
        re.findall(r"^\| `([A-Z_]+)`[^|]*\| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    )
    declared = {variable.name: variable for variable in declared_by(TraceSettings).values()}
    assert set(table) == set(declared)
    for name, variable in declared.items():
        assert table[name] == (variable.default_text or table[name]), name
    metrics = Metrics("polling").exposition().decode()
    for name in re.findall(r"`(\w+_seconds|windlass_trace_\w+)`", PAGE.read_text(encoding="utf-8")):
        assert f"# TYPE {name} " in metrics
