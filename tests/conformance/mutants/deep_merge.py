"""Variables that a completion brings are merged at every level, not at the top alone."""

from __future__ import annotations

from typing import Any

import msgspec
import mutation

from windlass import advance
from windlass.instance import Variables

shallow = advance._Run.merge


def merge(self: advance._Run, sent: Variables) -> None:
    deep = {
        name: _merged(self.variables[name], value) for name, value in sent.items() if name in self.variables
    }
    shallow(self, {**sent, **deep})


def _merged(old: msgspec.Raw, new: msgspec.Raw) -> msgspec.Raw:
    before, after = msgspec.json.decode(old), msgspec.json.decode(new)
    both: Any = {**before, **after} if isinstance(before, dict) and isinstance(after, dict) else after
    return msgspec.Raw(msgspec.json.encode(both))


advance._Run.merge = merge  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()
