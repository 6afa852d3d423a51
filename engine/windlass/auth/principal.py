"""Whom credentials stand for, and what they are limited to: by a line of the tokens file, or by the claims of a JWT."""

from __future__ import annotations

import contextvars
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from windlass.errors import OutOfScope

JWT_PREFIX = "jwt:"
"""Before the name of whom a JWT stands for, so that no issuer's user is taken for a name of the tokens file."""


class Role(StrEnum):
    CLIENT = "client"
    WORKER = "worker"
    OPERATOR = "operator"
    METRICS = "metrics"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """`roles`: empty = it may call nothing that is not open. `job_types` and `definitions`: None = all. `expires_at_s`
    is Unix time; None = never.
    """

    name: str
    roles: frozenset[Role]
    job_types: frozenset[str] | None = None
    definitions: frozenset[str] | None = None
    expires_at_s: float | None = None

    def require_job_types(self, job_types: Iterable[str], what: str) -> None:
        """OutOfScope names the first type that the caller is not for; `what` is the action, as `poll jobs`."""
        if self.job_types is None:
            return
        for job_type in job_types:
            if job_type not in self.job_types:
                raise OutOfScope(
                    f"the caller {self.name!r} may not {what} of type {job_type!r}; its job types are "
                    f"{_listed(self.job_types)}: use other credentials, or add the type to its line or claim",
                    limit="job_type",
                )

    def require_definition(self, definition_id: str, what: str) -> None:
        """OutOfScope names the definition that the caller is not for; `what` is the action, as `start instances`."""
        if self.definitions is not None and definition_id not in self.definitions:
            raise OutOfScope(
                f"the caller {self.name!r} may not {what} of definition {definition_id!r}; its definitions are "
                f"{_listed(self.definitions)}: use other credentials, or add the definition to its line or claim",
                limit="definition",
            )


#: Who makes the call being served; None while authentication is off. Log lines and audit rows carry the name.
PRINCIPAL: contextvars.ContextVar[Principal | None] = contextvars.ContextVar("principal", default=None)


def _listed(names: frozenset[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "none"
