"""Another password for the engines' role, as an operator or a vault gives one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from seatrial.cluster import Cluster
from seatrial.cluster.ability import Credentials
from seatrial.fault import DATABASE, Bare, Evidence, FaultHadNoEffect


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
