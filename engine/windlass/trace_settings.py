"""The variables of tracing, beside `config.py`, which reads them (docs/tracing.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from windlass.secret_values import judge_authorities, judge_secret
from windlass.variable import Reader, Variable, declare, declared_by

PREFIX = "OTEL_"
_PATH = "/v1/traces"
#: RFC 9110, 5.6.2.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_ATTRIBUTE_NAME = re.compile(r"[^\s=,]+")


class Malformed(Exception):
    """Its text says which pair is wrong, without its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    otlp_endpoint: str | None = declare(
        "WINDLASS_OTLP_ENDPOINT",
        "where an OpenTelemetry collector takes spans over OTLP/HTTP, as http://collector:4318; /v1/traces is added; "
        "unset = no tracing",
    )
    otlp_headers: str | None = declare(
        "WINDLASS_OTLP_HEADERS",
        "headers for the collector, as authorization=Bearer%20abc, with commas between; values percent-encoded",
        secret=True,
    )
    otlp_tls_ca_path: str | None = declare(
        "WINDLASS_OTLP_TLS_CA_PATH", "PEM file of trusted CAs for an https collector; unset = the system's"
    )
    otlp_timeout_s: float = declare(
        "WINDLASS_OTLP_TIMEOUT_SECONDS",
        "longest time in which the collector has to take a batch of spans, attempts included; then they are dropped",
        default=10.0,
        minimum=0.1,
        maximum=300,
    )
    trace_ratio: float = declare(
        "WINDLASS_TRACE_RATIO",
        "share of the traces begun here that are recorded, 0 to 1; for a call that brings a traceparent its caller "
        "has decided",
        default=1.0,
        kind="ratio",
        minimum=0,
        maximum=1,
    )
    trace_queue_max: int = declare(
        "WINDLASS_TRACE_QUEUE_MAX",
        "spans that may wait for the collector, about 2 KB each; more are dropped and counted",
        default=4096,
        minimum=1,
        maximum=1_000_000,
    )
    service_name: str = declare(
        "OTEL_SERVICE_NAME", "service.name of the spans, OpenTelemetry's own variable", default="windlass"
    )
    resource_attributes: str | None = declare(
        "OTEL_RESOURCE_ATTRIBUTES",
        "more about this node for each span, OpenTelemetry's own variable: key=value, with commas between; values "
        "percent-encoded",
    )

    @property
    def traces_url(self) -> str:
        return f"{(self.otlp_endpoint or '').rstrip('/')}{_PATH}"

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(_pairs(self.otlp_headers or "", _HEADER_NAME, _HEADER_VALUE))

    @property
    def resource(self) -> Mapping[str, str]:
        return dict(_pairs(self.resource_attributes or "", _ATTRIBUTE_NAME))


def read_traces(reader: Reader, env: Mapping[str, str]) -> TraceSettings:
    """What is wrong is recorded as a problem."""
    declared = declared_by(TraceSettings)
    traces = TraceSettings(**{field: reader.read(variable) for field, variable in declared.items()})
    _judge(reader, declared, traces)
    ignored = sorted(
        name for name in env if name.startswith(PREFIX) and env[name] and name not in _names(declared)
    )
    if ignored:
        reader.warnings.append(
            f"not read by this engine: {', '.join(ignored)}; of OpenTelemetry's variables it knows OTEL_SERVICE_NAME "
            "and OTEL_RESOURCE_ATTRIBUTES, and WINDLASS_OTLP_ENDPOINT switches tracing on"
        )
    return traces


def _names(declared: Mapping[str, Variable]) -> set[str]:
    return {variable.name for variable in declared.values()}


def _judge(reader: Reader, declared: Mapping[str, Variable], traces: TraceSettings) -> None:
    judge_secret(reader, declared["otlp_headers"], traces.otlp_headers or "")
    for field, read in (("otlp_headers", "headers"), ("resource_attributes", "resource")):
        try:
            getattr(traces, read)
        except Malformed as err:
            reader.problem(
                declared[field], str(err), "write name=value, with commas between and values percent-encoded"
            )
    if traces.otlp_endpoint is None:
        for field in ("otlp_headers", "otlp_tls_ca_path"):
            if getattr(traces, field) is not None:
                reader.problem(
                    declared[field],
                    "is set, but WINDLASS_OTLP_ENDPOINT names no collector",
                    "set it, or unset this",
                )
        return
    fault = _endpoint_fault(traces.otlp_endpoint)
    if fault:
        # Not shown: some put a key into it.
        reader.problem(
            declared["otlp_endpoint"], fault, "write http://collector:4318, or https in front of it"
        )
        return
    if traces.otlp_tls_ca_path is not None:
        judge_authorities(reader, declared["otlp_tls_ca_path"], traces.otlp_tls_ca_path)
        if not traces.otlp_endpoint.startswith("https:"):
            reader.problem(
                declared["otlp_tls_ca_path"],
                "is set, but WINDLASS_OTLP_ENDPOINT does not ask for TLS",
                "begin it with https in place of http, or unset this",
            )


def _endpoint_fault(text: str) -> str:
    try:
        url = urlsplit(text)
        port_is_good = url.port != 0
    except ValueError:
        return "is no URL"
    if url.scheme not in {"http", "https"} or not url.hostname or not port_is_good or not text.isprintable():
        return "is not the URL of a collector"
    if url.username is not None or url.query or url.fragment or " " in text:
        return (
            "may have a host, a port and a path; what the collector asks for goes into WINDLASS_OTLP_HEADERS"
        )
    if url.path.rstrip("/").endswith(_PATH):
        return f"ends with {_PATH}, which is added to it"
    return ""


def _pairs(
    text: str, name_form: re.Pattern[str], value_form: re.Pattern[str] | None = None
) -> Iterator[tuple[str, str]]:
    for number, part in enumerate(text.split(","), 1):
        if not part.strip():
            continue
        name, sign, value = part.partition("=")
        name, value = name.strip(), unquote(value.strip())
        if not sign or not name_form.fullmatch(name) or (value_form and not value_form.fullmatch(value)):
            # Not shown: it may be a secret.
            raise Malformed(f"has a pair, number {number}, that is not name=value")
        yield name, value
