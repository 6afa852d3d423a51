"""What mutants share: the way to another text of a statement, and the way into the engine."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, NoReturn

from windlass import __main__ as command
from windlass.store import queries


def replace_sql(name: str, old: str, new: str) -> None:
    """Dies when the statement no longer holds `old`: a mutant that breaks nothing must not pass for one."""
    known = dict(queries.load())
    text = known[name].text
    if text.count(old) != 1:
        sys.exit(
            f"mutant: {old!r} is {text.count(old)} times in the statement {name}, once is needed; mend the mutant"
        )
    known[name] = known[name]._replace(text=text.replace(old, new))
    queries.load = lambda: known


def replace(owner: type | ModuleType, name: str, by: object) -> Any:
    """Gives a class or a module another attribute, and returns what it had; dies when it has none of that name."""
    if not hasattr(owner, name):
        sys.exit(f"mutant: {owner.__name__} has no {name}; mend the mutant")
    genuine = getattr(owner, name)
    setattr(owner, name, by)
    return genuine


def serve() -> NoReturn:
    """The engine's own command line."""
    sys.exit(command.main())
