"""Which PostgreSQL answers: what is supported, and what the tests run on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from windlass.errors import BootRefused
from windlass.store.driver import Connection

TRIED = (15, 16, 17, 18)
"""The major versions that the tests run on, in order; the first is the oldest that is supported."""


@dataclass(frozen=True, slots=True)
class Server:
    version: str
    """Such as 15.18, without what a distribution adds."""
    major: int
    encoding: str
    """Of the database, such as UTF8."""

    @classmethod
    def of(cls, connection: Connection) -> Self:
        """As the server said when the session began."""
        said = connection.get_settings()
        version: str = said.server_version.split(maxsplit=1)[0]
        return cls(version, connection.get_server_version().major, said.server_encoding)

    def refuse_if_unsupported(self, where: str) -> None:
        """Raises BootRefused; `where` is the DSN without its secrets."""
        if self.major < TRIED[0]:
            raise BootRefused(
                f"the database {where} is PostgreSQL {self.version}; Windlass needs {TRIED[0]} or newer: upgrade the "
                "server, or point WE_POSTGRES_DSN to one that is"
            )
        if self.encoding != "UTF8":
            raise BootRefused(
                f"the database {where} has the encoding {self.encoding}, which cannot hold every text that callers may "
                "send; make one with CREATE DATABASE ... ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0, and "
                "point WE_POSTGRES_DSN to it"
            )

    @property
    def warning(self) -> str | None:
        """What an operator should know before relying on it."""
        if self.major <= TRIED[-1]:
            return None
        return (
            f"the database is PostgreSQL {self.version}; this release was tried on {TRIED[0]} to {TRIED[-1]}: "
            "try yours before production, or run a server of these versions"
        )
