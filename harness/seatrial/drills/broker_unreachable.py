"""T3: the first boot of all, on an empty database, with a broker that is not there.

An engine that never asks the broker while no definition is stored boots and fails later (contract 11 row 15); here the
boot must end with its cause (contract 6.6). Either nobody listens at the address, or somebody listens and never
answers.
"""

from __future__ import annotations

import asyncio

from seatrial.cluster.ability import Boots, Database, Siblings
from seatrial.cluster.broker import Broker
from seatrial.cluster.port import Ports
from seatrial.drill import OUTBOX_VALUES, Drill
from seatrial.scenario.context import ScenarioContext

#: ten seconds are promised; the rest is for the start of the process and the migrations on a busy machine
BOOT_BOUND_S = 18.0


async def scenario(context: ScenarioContext) -> None:
    ports = Ports()
    silent = await asyncio.start_server(_say_nothing, "127.0.0.1", ports.take())
    try:
        nobody = f"127.0.0.1:{ports.take()}"
        dumb = "{}:{}".format(*silent.sockets[0].getsockname())
        for case, address in (("nobody listens", nobody), ("silence", dumb)):
            await _boot_on_empty_database(context, case, address)
    finally:
        silent.close()
        ports.close()


async def _boot_on_empty_database(context: ScenarioContext, case: str, address: str) -> None:
    fresh = context.ability(Siblings).sibling(
        context.folder / case.replace(" ", "-"), replicas=1, values=OUTBOX_VALUES
    )
    try:
        values = context.broker_kind.address_values(address)
        await context.boot(case, values, [address], bound_s=BOOT_BOUND_S, on=fresh)
    finally:
        await fresh.down()


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.read(65_536):
            pass
    finally:
        writer.close()


DRILL = Drill(
    id="T3",
    title="No broker at the first boot",
    promise="An unreachable broker ends the boot with its cause, even before anything is stored (contract 6.6).",
    checks=("BC",),
    scenario=scenario,
    parameters={"error_statuses_allowed": []},
    needs=(Database, Broker, Boots, Siblings),
    mode="both",
    replicas=1,
    core=True,
    bound_s=120.0,
)
