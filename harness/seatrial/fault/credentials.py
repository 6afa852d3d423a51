"""Another password for the engines' role, as an operator or a vault gives one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, LiteralString

import psycopg
from psycopg import sql

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Credentials, Database
from seatrial.fault import DATABASE, Bare, Evidence, FaultHadNoEffect

_CONNECT_TIMEOUT_S = 5
#: the role that owns the tables, and what the server keeps of its password
_ROLE: LiteralString = """
SELECT a.rolname, a.rolpassword
FROM pg_authid AS a JOIN pg_tables AS t ON t.tableowner = a.rolname
WHERE t.tablename = 'job' AND t.schemaname NOT IN ('pg_catalog', 'information_schema')
LIMIT 1
"""


@dataclass(frozen=True)
class ChangePassword(Bare):
    """The engines' role gets another password, and nobody is told: open connections stay, new ones are refused. Healed
    by the password of before, of which the server's own verifier is put back.
    """

    name: ClassVar[str] = "change_password"
    needs: ClassVar[tuple[type, ...]] = (Database,)
    target: str = DATABASE
    _before: list[tuple[str, str]] = field(default_factory=list, init=False, repr=False, compare=False)

    def parameters(self) -> Mapping[str, Any]:
        return {}

    async def inject(self, cluster: Cluster) -> None:
        async with await self._superuser(cluster) as connection:
            row = await (await connection.execute(_ROLE)).fetchone()
            if row is None or row[1] is None:
                raise FaultHadNoEffect(f"{self.name}: the role that owns the table job has no password")
            self._before.append(row)
            await connection.execute(_password(row[0], secrets.token_urlsafe(18)))

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        ((role, verifier),) = self._before
        async with await self._superuser(cluster) as connection:
            row = await (await connection.execute(_ROLE)).fetchone()
        if row is None or row[1] == verifier:
            raise FaultHadNoEffect(f"{self.name}: the password of {role} is the one of before")
        return {"role": role}

    async def heal(self, cluster: Cluster) -> None:
        while self._before:
            async with await self._superuser(cluster) as connection:
                await connection.execute(_password(*self._before[-1]))
            self._before.pop()

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """New connections are opened from now on."""

    async def _superuser(self, cluster: Cluster) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            cluster.ability(Database).dsn(), autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S
        )


def _password(role: str, password: str) -> sql.Composed:
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))


class RotatePassword(Bare):
    """It has an effect when the old one opens no connection any more; open connections stay open. There is nothing to
    heal: the engines have the new one when their pods are replaced.
    """

    name: ClassVar[str] = "rotate_password"
    needs: ClassVar[tuple[type, ...]] = (Credentials,)
    target: str = DATABASE

    def parameters(self) -> Mapping[str, Any]:
        return {}

    async def inject(self, cluster: Cluster) -> None:
        await cluster.ability(Credentials).rotate_password()

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:
        if await cluster.ability(Credentials).opens_with_old_password():
            raise FaultHadNoEffect(f"{self.name}: the old password still opens a connection")
        return {"old_password_is_refused": True}

    async def heal(self, cluster: Cluster) -> None:
        """Nothing to take away."""

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """It is done at once."""
