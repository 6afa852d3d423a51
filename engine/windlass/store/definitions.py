"""Definitions by (id, version): immutable, so parsed once and kept (contract 11 row 27)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from windlass.definition.document import compile_definition
from windlass.definition.model import Definition
from windlass.store.database import Connection
from windlass.store.queries import sql

DEFINITIONS_KEPT_MAX = 2_000

Key = tuple[str, int]


class DefinitionCache:
    def __init__(self) -> None:
        self._kept: OrderedDict[Key, Definition] = OrderedDict()

    async def load(self, connection: Connection, wanted: Iterable[Key]) -> Mapping[Key, Definition]:
        """Those of `wanted` that exist; reads only what is not kept."""
        found = {}
        for key in set(wanted):
            definition = self._kept.get(key)
            if definition is None:
                row = await connection.fetchrow(sql("definition_get"), *key)
                if row is None:
                    continue
                definition = compile_definition(key[0], key[1], row["source"].encode())
                self._kept[key] = definition
                if len(self._kept) > DEFINITIONS_KEPT_MAX:
                    self._kept.popitem(last=False)
            found[key] = definition
        return found
