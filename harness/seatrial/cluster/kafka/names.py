"""How a job type becomes a topic and a consumer group (contract 6.2)."""

from __future__ import annotations

#: of a topic of jobs, as the chart's page advises
PARTITIONS = 8
TOPIC_PREFIX = "workflow.jobs."
GROUP_PREFIX = "workflow.workers."


def topic_of(job_type: str) -> str:
    return TOPIC_PREFIX + job_type


def group_of(job_type: str) -> str:
    return GROUP_PREFIX + job_type
