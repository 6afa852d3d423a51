"""Contract 1.5: lists, their filters, their order, and the clamps of their pages."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from workflow import END, Json, wait

from suite.case import GRPC, REST, same, shows
from suite.context import CaseContext


async def _definitions(context: CaseContext, **query: Any) -> Json:
    found: Json = (await context.door.definitions(**query)).ok("list of definitions")
    return found


async def _instances(context: CaseContext, **query: Any) -> Json:
    found: Json = (await context.door.instances(**query)).ok("list of instances")
    return found


def _ids(page: Json) -> list[str]:
    return [item["id"] for item in page["items"]]


async def _five(context: CaseContext) -> tuple[str, Sequence[str]]:
    """A mark, and five definitions that bear it, in order."""
    mark = secrets.token_hex(6)
    ids = [f"{mark}-{number}" for number in range(5)]
    for id in ids:
        await context.door.define(END, id=id)
    return mark, ids


@shows("1.5 definitions-keyword")
async def keyword(context: CaseContext) -> None:
    mark = secrets.token_hex(6)
    await context.door.define(END, id=f"{mark}-One")
    await context.door.define(END, id=f"x-{secrets.token_hex(6)}", name=f"Called {mark}")
    same("found in id and name, in any case", (await _definitions(context, keyword=mark.upper()))["total"], 2)
    same("found by id", _ids(await _definitions(context, keyword=f"{mark}-oNE")), [f"{mark}-One"])


@shows("1.5 definitions-wildcards")
async def wildcards(context: CaseContext) -> None:
    mark = secrets.token_hex(6)
    await context.door.define(END, id=f"{mark}-one", name=f"{mark} 100%_sure")
    for wildcard in ("%", "_"):
        same(
            f"{wildcard} is no wildcard",
            _ids(await _definitions(context, keyword=f"{mark}{wildcard}one")),
            [],
        )
    same("found as it stands", _ids(await _definitions(context, keyword=f"{mark} 100%_s")), [f"{mark}-one"])


@shows("1.5 definitions-order")
async def order_of_definitions(context: CaseContext) -> None:
    mark = secrets.token_hex(6)
    for name in ("b", "a", "a"):
        await context.door.define(END, id=f"{mark}-{name}", description=secrets.token_hex(4))
    items = (await _definitions(context, keyword=mark))["items"]
    same("ids and versions", [(i["id"], i["version"]) for i in items], [(f"{mark}-a", 2), (f"{mark}-b", 1)])


@shows("1.5 instances-definition", "1.5 instances-order")
async def instances_of_a_definition(context: CaseContext) -> None:
    id = await context.door.define(END)
    started = [await context.door.begin(id)]
    await context.door.define(END, id=id, description="changed")
    started += [await context.door.begin(id), await context.door.begin(id)]
    await context.door.run(END, id=f"{id}-2")
    page = await _instances(context, definitionId=id)
    same("all versions, newest first", _ids(page), [each["id"] for each in reversed(started)])
    same("total", page["total"], 3)


@shows("1.5 instances-status")
async def instances_by_status(context: CaseContext) -> None:
    id = await context.door.define(wait("w"), END)
    waiting, ended = await context.door.begin(id), await context.door.begin(id)
    (await context.door.signal(ended["id"], "w")).ok("signal")
    for status, wanted in (("WAITING", [waiting["id"]]), ("COMPLETED", [ended["id"]]), ("FAILED", [])):
        same(status, _ids(await _instances(context, definitionId=id, status=status)), wanted)


@shows("1.5 instances-unknown-status", over=REST)
async def unknown_status(context: CaseContext) -> None:
    id = await context.door.define(END)
    await context.door.begin(id)
    for status in ("completed", "NO_SUCH"):
        page = await _instances(context, definitionId=id, status=status)
        same(f"page of {status}", (page["items"], page["total"]), ([], 0))


@shows("1.5 instances-business-key")
async def by_business_key(context: CaseContext) -> None:
    id, key = await context.door.define(END), secrets.token_hex(6)
    wanted = await context.door.begin(id, businessKey=key)
    await context.door.begin(id, businessKey=f"{key}-2")
    same("exact", _ids(await _instances(context, businessKey=key)), [wanted["id"]])


@shows("1.5 page-body", over=REST)
async def body_of_a_page(context: CaseContext) -> None:
    mark, ids = await _five(context)
    page = await _definitions(context, keyword=mark, page=1, pageSize=2)
    same(
        "ids, total, page, pageSize",
        (_ids(page), page["total"], page["page"], page["pageSize"]),
        (ids[2:4], 5, 1, 2),
    )
    page = await _instances(context, definitionId=mark, page=1, pageSize=2)
    same("of instances", (page["items"], page["total"], page["page"], page["pageSize"]), ([], 0, 1, 2))


@shows("1.5 page-size-default", over=REST)
async def default_page_size(context: CaseContext) -> None:
    for query in ({}, {"pageSize": "x"}, {"pageSize": 0}, {"pageSize": -5}, {"pageSize": "1.5"}):
        same(f"definitions, {query}", (await _definitions(context, keyword="none", **query))["pageSize"], 20)
        same(f"instances, {query}", (await _instances(context, definitionId="none", **query))["pageSize"], 20)


@shows("1.5 page-size-default")
async def default_page_of_twenty(context: CaseContext) -> None:
    id = await context.door.define(END)
    for _ in range(21):
        await context.door.begin(id)
    page = await _instances(context, definitionId=id)
    same("items and total", (len(page["items"]), page["total"]), (20, 21))


@shows("1.5 page-size-max", over=REST)
async def largest_page_size(context: CaseContext) -> None:
    same("pageSize", (await _definitions(context, keyword="none", pageSize=999))["pageSize"], 200)
    same("pageSize", (await _instances(context, definitionId="none", pageSize=999))["pageSize"], 200)


@shows("1.5 page-default", over=REST)
async def default_page(context: CaseContext) -> None:
    mark, ids = await _five(context)
    for page in ("", "x", -1, "1.5"):
        found = await _definitions(context, keyword=mark, page=page)
        same(f"page {page!r}", (found["page"], _ids(found)), (0, ids))


@shows("1.5 page-default", over=GRPC)
async def negative_page(context: CaseContext) -> None:
    mark, ids = await _five(context)
    same("page -1", _ids(await _definitions(context, keyword=mark, page=-1, pageSize=2)), ids[:2])


@shows("1.5 page-slices")
async def slices(context: CaseContext) -> None:
    mark, ids = await _five(context)
    pages = [await _definitions(context, keyword=mark, page=number, pageSize=2) for number in range(4)]
    same("four pages of two", [_ids(page) for page in pages], [ids[:2], ids[2:4], ids[4:], []])
    same("totals", {page["total"] for page in pages}, {5})


@shows("1.5 empty")
async def empty_pages(context: CaseContext) -> None:
    for page in (
        await _definitions(context, keyword="nobody-has-this"),
        await _instances(context, definitionId="none"),
    ):
        same("items and total", (page["items"], page["total"]), ([], 0))
