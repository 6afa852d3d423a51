"""A collector of spans: the receiver of OTLP/HTTP as the protocol has it, and what it was sent.

https://opentelemetry.io/docs/specs/otlp/#otlphttp: a POST to /v1/traces, protobuf, perhaps compressed.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.trace.v1 import trace_pb2 as pb


class Span(NamedTuple):
    name: str
    kind: str
    trace_id: str
    id: str
    parent_id: str
    """Empty for the first of a trace."""
    links: Sequence[tuple[str, str]]
    """Trace and span of each."""
    attributes: Mapping[str, str | int]
    events: Sequence[tuple[str, Mapping[str, str | int]]]
    resource: Mapping[str, str | int]
    began_ns: int
    ended_ns: int
    is_error: bool
    state: str


class Collector:
    """`with` it is there. `status`: what it answers; `headers` are those of the last request."""

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {}
        self.requests = 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._spans: list[Span] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()

    def spans(self, trace_id: str | None = None, **attributes: str | int) -> list[Span]:
        """In the order of their beginning; attributes with _ for the dots in their names."""
        return sorted(
            (
                span
                for span in tuple(self._spans)
                if trace_id in {None, span.trace_id}
                and all(
                    span.attributes.get(name.replace("_", ".")) == value for name, value in attributes.items()
                )
            ),
            key=lambda span: span.began_ns,
        )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces"
                assert self.headers["Content-Type"] == "application/x-protobuf"
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.requests += 1
                collector.headers = {name.lower(): value for name, value in self.headers.items()}
                collector.may_answer.wait(30)
                if collector.status == 200:
                    collector._take(service.ExportTraceServiceRequest.FromString(body))
                answer = service.ExportTraceServiceResponse().SerializeToString()
                self.send_response(collector.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        return Handler

    def _take(self, request: service.ExportTraceServiceRequest) -> None:
        for of_resource in request.resource_spans:
            resource = _attributes(of_resource.resource.attributes)
            for of_scope in of_resource.scope_spans:
                self._spans += [_span(each, resource) for each in of_scope.spans]


def _span(span: pb.Span, resource: Mapping[str, str | int]) -> Span:
    return Span(
        span.name,
        pb.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        _attributes(span.attributes),
        [(event.name, _attributes(event.attributes)) for event in span.events],
        resource,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == pb.Status.STATUS_CODE_ERROR,
        span.trace_state,
    )


def _attributes(pairs: Any) -> Mapping[str, str | int]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
