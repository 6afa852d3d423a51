"""Another certificate in the place of the one that the engines show: one that is good, or one that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from seatrial.check.certificate_renewal import RENEWAL, SPOILING
from seatrial.cluster import Cluster
from seatrial.cluster.ability import Certificates
from seatrial.fault import ALL_REPLICAS, Bare, Evidence


@dataclass(frozen=True)
class _ChangeCertificate(Bare):
    """It is over when the files are changed, so there is nothing to heal: what engines make of it is for a check."""

    name: ClassVar[str]
    needs: ClassVar[tuple[type, ...]] = (Certificates,)
    target: str = field(default=ALL_REPLICAS, kw_only=True)
    _seen: Evidence = field(default_factory=dict, init=False, repr=False, compare=False)

    def parameters(self) -> Mapping[str, Any]:
        return {}

    async def wait_until_effective(self, cluster: Cluster) -> Evidence:  # noqa: ARG002  every fault is asked so
        return dict(self._seen)

    async def heal(self, cluster: Cluster) -> None:
        """Nothing to take away."""

    async def wait_until_healed(self, cluster: Cluster) -> None:
        """Nothing was taken away."""


@dataclass(frozen=True)
class RenewCertificate(_ChangeCertificate):
    """As the issuer renews one in good time: the one before is still valid."""

    name: ClassVar[str] = RENEWAL

    async def inject(self, cluster: Cluster) -> None:
        self._seen["serial"] = await cluster.ability(Certificates).renew()


@dataclass(frozen=True)
class SpoilCertificate(_ChangeCertificate):
    """The key there does not belong to the certificate. A renewal ends it."""

    name: ClassVar[str] = SPOILING

    async def inject(self, cluster: Cluster) -> None:
        self._seen["serial"] = await cluster.ability(Certificates).spoil()
