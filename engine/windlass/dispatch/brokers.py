"""Which broker each dispatch mode publishes to. A broker's folder, and its client, are imported when it is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from windlass.config import Settings
from windlass.dispatch.broker import Broker
from windlass.telemetry.log import Log
from windlass.telemetry.metrics import Metrics

Factory = Callable[[Settings, Metrics, Log], Broker]


def broker_of(settings: Settings, metrics: Metrics, log: Log) -> Broker:
    """The broker of `settings.dispatch_mode`, which is not polling; nothing is connected yet."""
    return _FACTORIES[settings.dispatch_mode](settings, metrics, log)


def _kafka(settings: Settings, metrics: Metrics, log: Log) -> Broker:
    from windlass.dispatch.kafka.broker import KafkaBroker

    assert settings.kafka is not None
    return KafkaBroker(settings.kafka, metrics.registry, log)


_FACTORIES: Mapping[str, Factory] = {"kafka_outbox": _kafka}
