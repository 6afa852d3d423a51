"""Credentials: the password of the engines' role, in the server and in the Secret that pods read."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.cluster.ability import Credentials, Exposure
from seatrial.cluster.kind.exposures import exposures
from seatrial.cluster.kind.installation import Installation


class KindCredentials(Credentials):
    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    async def rotate_password(self) -> None:
        installation, server = self._installation, self._installation.shared.server
        await server.rotate_engine_password()
        await installation.shared.kube.apply(installation.secret(server.engine_dsn(installation.database)))

    async def opens_with_old_password(self) -> bool:
        return await self._installation.shared.server.opens_with_old_password()

    async def exposures(self) -> Sequence[Exposure]:
        installation, shared = self._installation, self._installation.shared
        return await exposures(
            shared.kube,
            installation.release,
            installation.namespace,
            installation.spec.folder,
            installation.secrets,
        )
