"""Consumes one topic and prints each job on a line, id, instance, type: what the driver's `--feed` reads.

    python feed.py BROKERS TOPIC | bench-driver --feed ...

It decodes what a Kafka runner of the SDKs decodes (contract 10.4) and takes records in bulk, so that little of the
machine goes to it. Ends when it is told to or when nobody reads on.
"""

from __future__ import annotations

import os
import signal
import sys

import confluent_kafka as kafka

from seatrial.cluster.kafka.message import event_of, read

BATCH_MAX = 500
WAIT_S = 0.02


def main() -> None:
    brokers, topic = sys.argv[1:]
    going = True

    def stop(*_: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    consumer = kafka.Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": f"bench.{topic}",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": int(WAIT_S * 1000),
        }
    )
    consumer.subscribe([topic])
    try:
        while going:
            lines = []
            for message in consumer.consume(BATCH_MAX, WAIT_S):
                if (error := message.error()) is not None:
                    raise kafka.KafkaException(error)
                event = event_of(read(message).value)
                lines.append(f"{event.job_id} {event.instance_id} {event.job_type}\n")
            sys.stdout.write("".join(lines))
            sys.stdout.flush()
    except BrokenPipeError:
        # The driver has what it wanted; what is left in the buffer goes nowhere (docs.python.org, note on SIGPIPE).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
