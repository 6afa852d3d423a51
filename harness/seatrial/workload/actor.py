"""The people around the loans: they complete user tasks and send the signatures, at any replica."""

from __future__ import annotations

import asyncio
from typing import Any

from seatrial.client import RecordingClient
from seatrial.workload.loan import APPLICATION, DISBURSEMENT

_EVERY_S = 0.25
_PAGES_MAX = 50


class Actor:
    """Answers each waiting instance of this run once, and again only after an unknown outcome."""

    def __init__(self, client: RecordingClient, key_prefix: str) -> None:
        self._client = client
        self._key_prefix = key_prefix
        self._answered: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            for definition_id in (APPLICATION, DISBURSEMENT):
                for instance in await self._waiting(definition_id):
                    for step_id in instance["currentStepIds"]:
                        await self._answer(instance, step_id)
            await asyncio.sleep(_EVERY_S)

    async def _waiting(self, definition_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in range(_PAGES_MAX):
            answer = await self._client.list_instances(
                definition_id=definition_id, status="WAITING", page=page
            )
            items = (answer.body["items"] or []) if answer.ok else []
            found += [
                item for item in items if str(item["variables"].get("key", "")).startswith(self._key_prefix)
            ]
            if len(items) < 200:
                break
        return found

    async def _answer(self, instance: dict[str, Any], step_id: str) -> None:
        place = (instance["id"], step_id)
        variables = instance["variables"]
        if place in self._answered:
            return
        if step_id == "manual-review" and not variables["hesitates"]:
            answer = await self._client.user_task(*place, {"review": variables["reviewer_says"]})
        elif step_id == "signature":
            answer = await self._client.signal(*place, {"signed_by": variables["applicant"]["name"]})
        else:
            return
        if answer.outcome != "info" and not answer.refused:
            self._answered.add(place)
