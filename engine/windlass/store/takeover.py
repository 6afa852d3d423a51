"""Takes over what another engine has in flight: all of it or nothing (contract 9.3).

In the transaction of our first own migration, so an instance has either that engine's rows alone or our memory too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import msgspec

from windlass.definition.document import compile_definition
from windlass.definition.model import Definition
from windlass.errors import BootRefused, InvalidDefinition
from windlass.instance import Progress, encode_progress
from windlass.store.queries import sql
from windlass.store.session import Session
from windlass.takeover import Begun, Unclear, progress_of

PAGE = 5_000
NAMED_MAX = 3
"""Of the instances that cannot be continued, so many are named; the others are counted."""

_decoder = msgspec.json.Decoder(tuple[Begun, ...])


class _Read(NamedTuple):
    known: dict[str, Progress]
    doubts: dict[str, str]
    """Why an instance cannot be continued, by its id."""


async def check(session: Session) -> None:
    """Reads only. Raises BootRefused, naming what cannot be continued and what to do about it."""
    await session.execute(sql("takeover_planner"))
    await _refuse_owed_chains(session)
    doubts: dict[str, str] = {}
    async for read in _pages(session):
        doubts |= read.doubts
    _refuse(doubts)


async def take_over(session: Session) -> None:
    """As soon as the columns are there; `check` has passed, but what has changed since is refused as by `check`."""
    await session.execute(sql("takeover_planner"))
    await _refuse_owed_chains(session)
    for text in (
        sql("takeover_close_jobs"),
        sql("takeover_close_user_tasks"),
        sql("takeover_close_timers"),
        sql("takeover_name_steps"),
    ):
        await session.execute(text)
    doubts: dict[str, str] = {}
    async for read in _pages(session):
        doubts |= read.doubts
        await session.execute(
            sql("takeover_remember"),
            list(read.known),
            [encode_progress(progress) for progress in read.known.values()],
        )
    _refuse(doubts)


def _refuse(doubts: Mapping[str, str]) -> None:
    if not doubts:
        return
    named = ", ".join(f"{each} ({doubt})" for each, doubt in sorted(doubts.items())[:NAMED_MAX])
    more = f" and {len(doubts) - NAMED_MAX} more" if len(doubts) > NAMED_MAX else ""
    raise BootRefused(
        f"instances in flight that cannot be continued: {len(doubts)}, and nothing was changed: {named}{more}; let "
        "the engine that began them finish them, or cancel them there, then try again (UPGRADING.md)"
    )


async def _refuse_owed_chains(session: Session) -> None:
    there = await session.fetch_row(sql("takeover_has_chains"))
    if there is None or not there["is_there"]:
        return
    row = await session.fetch_row(sql("takeover_chains"))
    if row is not None and row["pending"]:
        raise BootRefused(
            f"chained starts that the other engine still owes, in workflow_chain: {row['pending']}, and nothing was "
            f"changed: they follow {', '.join(row['source_ids'])}; let that engine start them, or delete their rows, "
            "then try again (UPGRADING.md)"
        )


async def _pages(session: Session) -> AsyncIterator[_Read]:
    definitions: dict[tuple[str, int], Definition | str] = {}
    after = ""
    while True:
        row = await session.fetch_row(sql("takeover_instances"), after, PAGE)
        assert row is not None
        page = _decoder.decode(row["instances"])
        if not page:
            return
        after = page[-1].id
        read = _Read({}, {})
        for begun in page:
            key = (begun.definition_id, begun.version)
            if key not in definitions:
                definitions[key] = await _definition(session, *key)
            definition = definitions[key]
            try:
                if isinstance(definition, str):
                    raise Unclear(definition)
                read.known[begun.id] = progress_of(definition, begun)
            except Unclear as doubt:
                read.doubts[begun.id] = str(doubt)
        yield read


async def _definition(session: Session, definition_id: str, version: int) -> Definition | str:
    """Or why it cannot be had."""
    row = await session.fetch_row(sql("takeover_definition"), definition_id, version)
    if row is None:
        return f"its definition {definition_id} version {version} is not stored"
    try:
        return compile_definition(definition_id, version, row["text"].encode())
    except InvalidDefinition as err:
        return f"this release cannot run its definition: {' '.join(str(err).split())}"
