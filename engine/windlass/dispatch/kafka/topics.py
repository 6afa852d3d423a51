"""Names of topics and consumer groups, one of each for a job type (contract 6.2)."""

from __future__ import annotations

import re

_TOPIC = "workflow.jobs."
_GROUP = "workflow.workers."

#: Kafka's own rule for names.
LEGAL_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


def topic_of(job_type: str) -> str:
    return _TOPIC + job_type


def group_of(job_type: str) -> str:
    """The consumer group whose lag is measured."""
    return _GROUP + job_type
