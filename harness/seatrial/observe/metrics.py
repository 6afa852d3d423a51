"""What a replica's metrics say, in Prometheus' text format (its exposition formats, text-based format)."""

from __future__ import annotations

import math

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from seatrial.client.rest import headers_of
from seatrial.cluster import Replica
from seatrial.cluster.trust import trust_of


class UnreadableMetrics(Exception):
    """A replica answered with something that is no metrics: names it and the cause."""


async def scrape(
    session: aiohttp.ClientSession, replica: Replica, *, within_s: float, of: str = ""
) -> dict[str, float] | None:
    """`name{labels}` -> value, of the metrics whose names begin with `of`; None when the replica does not answer 200.

    Raises UnreadableMetrics for a text that cannot be parsed.
    """
    timeout = aiohttp.ClientTimeout(total=within_s)
    try:
        async with session.get(
            str(replica.metrics_url),
            timeout=timeout,
            headers=headers_of(replica, has_body=False),
            ssl=trust_of(replica),
        ) as response:
            if response.status != 200:
                return None
            text = await response.text()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
    try:
        return parse(text, of)
    except ValueError as err:
        raise UnreadableMetrics(f"{replica.name}: {replica.metrics_url} cannot be parsed: {err}") from err


def parse(text: str, of: str = "") -> dict[str, float]:
    """As `scrape`; what is not a finite number is left out. Raises ValueError.

    Only what is asked for is parsed: all of it takes a busy engine's observer milliseconds each time.
    """
    lines = (
        text if not of else "".join(line for line in text.splitlines(keepends=True) if line.startswith(of))
    )
    return {
        _series(sample.name, sample.labels): sample.value
        for family in text_string_to_metric_families(lines)
        for sample in family.samples
        if math.isfinite(sample.value)
    }


def _series(name: str, labels: dict[str, str]) -> str:
    """As it stands in the text."""
    escaped = {
        label: value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
        for label, value in labels.items()
    }
    inner = ",".join(f'{label}="{value}"' for label, value in escaped.items())
    return f"{name}{{{inner}}}" if inner else name
