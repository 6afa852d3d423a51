"""Spans on their way to the collector: a bounded queue, and a thread that empties it over OTLP/HTTP.

Nobody waits for it. While the collector is away spans are dropped and counted, and one line says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from windlass.trace_settings import TraceSettings

BATCH_SPANS = 512
"""In one request: as OpenTelemetry's own processor, some hundred KB."""
EXPORT_INTERVAL_S = 1.0
_LIBRARY_LOG = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


@contextlib.contextmanager
def without_environment() -> Iterator[None]:
    """OpenTelemetry's parts read variables of their own when they are made; here `config.py` is the only reader."""
    hidden = {name: os.environ.pop(name) for name in tuple(os.environ) if name.startswith("OTEL_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


class Session(requests.Session):
    """Remembers why the last attempt failed; the exporter does not tell."""

    def __init__(self) -> None:
        super().__init__()
        # Otherwise it reads HTTP_PROXY, and passwords from ~/.netrc.
        self.trust_env = False
        self.trouble = "it was not asked"

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        try:
            answer = super().request(*arguments, **options)
        except requests.RequestException as err:
            self.trouble = f"{type(err).__name__}: {err}"
            raise
        self.trouble = f"it answered {answer.status_code} {answer.reason}"
        return answer


def exporter_of(settings: TraceSettings, session: requests.Session) -> OTLPSpanExporter:
    system = ssl.get_default_verify_paths()
    with without_environment():
        return OTLPSpanExporter(
            endpoint=settings.traces_url,
            certificate_file=settings.otlp_tls_ca_path or system.cafile or system.capath,
            headers=dict(settings.headers),
            timeout=settings.otlp_timeout_s,
            compression=Compression.Gzip,
            session=session,
        )


class SpanQueue(SpanProcessor):
    """`dropped` gets a reason of `metrics.SPANS_DROPPED` and a number; `lost` is told the `trouble`, why the collector
    takes nothing, once until `back`. The last three are called by the thread.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        spans_max: int,
        trouble: Callable[[], str],
        *,
        exported: Callable[[int], None],
        dropped: Callable[[str, int], None],
        lost: Callable[[str], None],
        back: Callable[[], None],
    ) -> None:
        self._exporter = exporter
        self._spans_max = spans_max
        self._trouble = trouble
        self._exported = exported
        self._dropped = dropped
        self._lost = lost
        self._back = back
        self._waiting: deque[ReadableSpan] = deque()
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._is_lost = False
        self._ended = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        # A daemon: the process must end although a collector hangs.
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        library = logging.getLogger(_LIBRARY_LOG)
        # It would write a line for each attempt; why the last one failed is told instead, once.
        library.handlers, library.propagate = [logging.NullHandler()], False
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Called by whoever ends a span: never waits."""
        if len(self._waiting) >= self._spans_max:
            self._dropped("queue", 1)
            return
        self._waiting.append(span)
        if len(self._waiting) == BATCH_SPANS:
            self._wanted.set()

    async def stop(self, within_s: float) -> None:
        """Sends what waits; what is not taken by then is dropped."""
        if self._loop is None:
            # The boot did not come so far.
            return
        self._stopping.set()
        self._wanted.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), within_s)
        # Ends its pauses between attempts, and closes its connection.
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait(EXPORT_INTERVAL_S)
            self._wanted.clear()
            while self._waiting:
                is_taken = self._export()
                if self._stopping.is_set() and not is_taken:
                    break
        while self._waiting and self._export():
            pass
        if self._waiting:
            self._dropped("collector", len(self._waiting))
            self._waiting.clear()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                # Unless it is closed, since nobody could wait for so long.
                self._loop.call_soon_threadsafe(self._ended.set)

    def _export(self) -> bool:
        batch = [self._waiting.popleft() for _ in range(min(BATCH_SPANS, len(self._waiting)))]
        is_taken = self._exporter.export(batch) is SpanExportResult.SUCCESS
        if is_taken:
            self._exported(len(batch))
        else:
            self._dropped("collector", len(batch))
        if is_taken == self._is_lost:
            self._is_lost = not is_taken
            if is_taken:
                self._back()
            else:
                self._lost(self._trouble())
        return is_taken
