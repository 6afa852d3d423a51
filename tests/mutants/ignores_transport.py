"""Speaks plaintext to the brokers whatever the transport is set to."""

from __future__ import annotations

from typing import Any

import mutation

from windlass.dispatch.kafka.librdkafka import LibrdkafkaPublisher

honest = LibrdkafkaPublisher._connection


def in_the_clear(self: LibrdkafkaPublisher) -> dict[str, Any]:
    return {
        name: value
        for name, value in honest(self).items()
        if not name.startswith(("security.", "sasl.", "ssl."))
    }


LibrdkafkaPublisher._connection = in_the_clear  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()
