"""Definitions by (id, version): immutable, so parsed once and kept (contract 11 row 27)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from windlass.definition.document import compile_definition
from windlass.definition.model import Definition
from windlass.store.driver import Connection
from windlass.store.queries import sql

#: What is kept, by the length of its JSON; as objects it takes several times as much.
DEFINITION_BYTES_KEPT_MAX = 32 * 1024 * 1024

Key = tuple[str, int]


class DefinitionCache:
    def __init__(self) -> None:
        self._kept: OrderedDict[Key, tuple[Definition, int]] = OrderedDict()
        self._bytes = 0

    async def load(self, connection: Connection, wanted: Iterable[Key]) -> Mapping[Key, Definition]:
        """Those of `wanted` that exist; reads only what is not kept."""
        found = {}
        for key in set(wanted):
            kept = self._kept.get(key)
            if kept is not None:
                found[key] = kept[0]
                continue
            row = await connection.fetchrow(sql("definition_get"), *key)
            if row is None:
                continue
            source = row["source"].encode()
            found[key] = compile_definition(key[0], key[1], source)
            self._keep(key, found[key], len(source))
        return found

    def _keep(self, key: Key, definition: Definition, size: int) -> None:
        if key not in self._kept:
            self._kept[key] = definition, size
            self._bytes += size
        while self._bytes > DEFINITION_BYTES_KEPT_MAX:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._bytes -= dropped
