"""Spans and their export to a collector: the only user of OpenTelemetry, imported only with WINDLASS_OTLP_ENDPOINT."""
