"""What is done to a release has an effect only when the release shows it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from seatrial.cluster import Cluster, ClusterSpec, Replica
from seatrial.cluster.ability import Credentials, Exposure, Scale, Scaled
from seatrial.fault import FaultHadNoEffect
from seatrial.fault.credentials import RotatePassword
from seatrial.fault.scale import ScaleRelease


class Release(Cluster):
    """Pods by number; a role with one password, or two when `keeps_the_old`."""

    def __init__(self, *, keeps_the_old: bool = False) -> None:
        super().__init__(ClusterSpec(), "a release of this test")
        self._offer(Scale, self)
        self._offer(Credentials, self)
        self.pods = 1
        self.rotations = 0
        self._keeps_the_old = keeps_the_old

    async def up(self) -> None: ...

    async def down(self) -> None: ...

    def replicas(self) -> Sequence[Replica]:
        return []

    async def scale(self, replicas: int) -> Scaled:
        before, self.pods = self.pods, replicas
        return Scaled(*(tuple(f"pod-{number}" for number in range(count)) for count in (before, replicas)))

    async def rotate_password(self) -> None:
        self.rotations += 1

    async def opens_with_old_password(self) -> bool:
        return self._keeps_the_old

    async def exposures(self) -> Sequence[Exposure]:
        return []


async def test_scaling_bites_when_pods_have_come_or_gone() -> None:
    release, fault = Release(), ScaleRelease(2)
    await fault.setup(release)
    await fault.inject(release)
    assert await fault.wait_until_effective(release) == {
        "pods_before": ("pod-0",),
        "pods_after": ("pod-0", "pod-1"),
    }


async def test_scaling_to_what_is_there_does_not_bite() -> None:
    release, fault = Release(), ScaleRelease(1)
    await fault.inject(release)
    with pytest.raises(FaultHadNoEffect, match="the 1 pods were there already"):
        await fault.wait_until_effective(release)


@pytest.mark.parametrize("keeps_the_old", [False, True])
async def test_a_rotation_bites_when_the_old_password_is_refused(*, keeps_the_old: bool) -> None:
    release, fault = Release(keeps_the_old=keeps_the_old), RotatePassword()
    await fault.setup(release)
    await fault.inject(release)
    assert release.rotations == 1
    if keeps_the_old:
        with pytest.raises(FaultHadNoEffect, match="old password still opens"):
            await fault.wait_until_effective(release)
    else:
        assert await fault.wait_until_effective(release) == {"old_password_is_refused": True}
