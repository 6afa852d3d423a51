"""Schemathesis finds nothing: no 500, no status, type or body that the document does not have, no bad call taken.

What it would find is shown with documents that say one thing too much or too little.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schema_campaign
from schema_campaign import Report
from schemathesis.engine import Status
from situations import Situations

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("openapi")]

Document = dict[str, Any]
DOCUMENT: Document = json.loads((Path(__file__).parents[3] / "docs/openapi.json").read_text(encoding="utf-8"))
SEED = 20_261_125
CAMPAIGNS_MIN, CAMPAIGNS_MAX = 3, 12
OPERATIONS = {
    operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()
}
#: They need an instance that waits just there; a short campaign may not get so far. test_openapi_links.py does.
LATE = {"completeJob", "failJob", "completeUserTask", "signalWait"}


async def _run(
    situations: Situations,
    document: Document | None = None,
    *,
    examples: int,
    scenarios: int,
    seed: int = SEED,
) -> Report:
    """Against the document that the engine serves, or another one."""
    engine = await situations.well()
    document = document or (await engine.get("/openapi.json")).json
    return await asyncio.to_thread(
        schema_campaign.run, engine.rest_url, document, seed=seed, examples=examples, scenarios=scenarios
    )


def _found_nothing(report: Report) -> None:
    assert report.failures == []
    for phase in ("EXAMPLES", "COVERAGE", "FUZZING", "STATEFUL_TESTING"):
        assert report.phases[phase] is Status.SUCCESS, phase
    assert [row for row in report.statuses if row[1] >= 500] == []


async def test_a_short_campaign_finds_nothing(situations: Situations) -> None:
    report = await _run(situations, examples=2, scenarios=20)
    _found_nothing(report)
    assert OPERATIONS - report.successes() <= LATE
    assert report.calls > 600
    assert len(report.links) >= 5, report.links


@pytest.mark.slow
async def test_a_long_campaign_finds_nothing(situations: Situations) -> None:
    """As many as it takes to get everywhere: which links one follows depends on what the engine answers."""
    done, links = set(), set()
    for number in range(1, CAMPAIGNS_MAX + 1):
        report = await _run(situations, examples=10, scenarios=80, seed=SEED + number)
        _found_nothing(report)
        assert report.calls > 900
        done |= report.successes()
        links |= set(report.links)
        if number >= CAMPAIGNS_MIN and done >= OPERATIONS and len(links) >= 10:
            break
    assert OPERATIONS - done == set()
    assert len(links) >= 10, links


# -- what it finds


def _without_404(document: Document) -> None:
    del document["paths"]["/v1/instances/{id}"]["get"]["responses"]["404"]


def _plain_health(document: Document) -> None:
    content = document["paths"]["/health"]["get"]["responses"]["200"]["content"]
    content["text/plain"] = content.pop("application/json")


def _an_instance_with_an_owner(document: Document) -> None:
    document["components"]["schemas"]["Instance"]["required"].append("owner")


def _start_of_nothing(document: Document) -> None:
    del document["components"]["schemas"]["StartInstance"]["required"]


def _start_by_number(document: Document) -> None:
    document["components"]["schemas"]["StartInstance"]["required"].append("businessKey")


def _a_retry_later(document: Document) -> None:
    header = {"Retry-After": {"required": True, "schema": {"type": "integer"}}}
    document["paths"]["/health"]["get"]["responses"]["200"]["headers"] = header


@pytest.mark.parametrize(
    ("tamper", "path", "check"),
    [
        (_without_404, "/v1/instances/{id}", "status_code_conformance"),
        (_plain_health, "/health", "content_type_conformance"),
        (_an_instance_with_an_owner, "/v1/instances", "response_schema_conformance"),
        (_start_of_nothing, "/v1/instances", "positive_data_acceptance"),
        (_start_by_number, "/v1/instances", "negative_data_rejection"),
        (_a_retry_later, "/health", "response_headers_conformance"),
    ],
)
async def test_a_document_that_is_wrong_is_found_out(
    situations: Situations, tamper: Callable[[Document], None], path: str, check: str
) -> None:
    engine = await situations.well()
    await engine.define(id="greet")  # what the examples start
    wrong = copy.deepcopy(DOCUMENT)
    wrong["paths"] = {path: wrong["paths"][path]}
    tamper(wrong)
    report = await _run(situations, wrong, examples=1, scenarios=1)
    assert any(f": {check}: " in failure for failure in report.failures), report.failures


async def test_an_engine_that_fails_is_found_out(situations: Situations) -> None:
    engine = await situations.broken()
    path = "/v1/instances/{id}"
    part = {**DOCUMENT, "paths": {path: DOCUMENT["paths"][path]}}
    report = await asyncio.to_thread(
        schema_campaign.run, engine.rest_url, part, seed=SEED, examples=1, scenarios=1
    )
    assert any(": not_a_server_error: " in failure for failure in report.failures)
