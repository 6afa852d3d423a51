"""What a case acts on: the engine through one door, and what it needs beside the wire."""

from __future__ import annotations

from typing import Any, cast

from engine_on_trial import log_lines, rows
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from workflow import Json

from patience import eventually
from suite.boot import Booted, Boots
from suite.doors import Door
from suite.doors.grpc import GrpcDoor
from suite.doors.rest import RestDoor
from suite.target import Target


class CaseContext:
    """`door` is the transport that the case is run over; `rest` and `grpc` are there by name."""

    def __init__(self, target: Target, door: Door, boots: Boots | None) -> None:
        self._target = target
        self._boots = boots
        self.door = door

    @property
    def rest(self) -> RestDoor:
        return cast(RestDoor, self._target.rest)

    @property
    def grpc(self) -> GrpcDoor:
        return cast(GrpcDoor, self._target.grpc)

    @property
    def boots(self) -> Boots:
        """Starts the command under test with variables of the case's own."""
        assert self._boots is not None, "a case that boots must name the need"
        return self._boots

    async def rows(self, query: str, *values: object) -> list[Json]:
        assert self._target.dsn is not None, "a case that reads tables must name the need"
        return await rows(self._target.dsn, query, *values)

    async def rows_of(self, booted: Booted, query: str) -> list[Json]:
        """The same in the database of a process that the case started."""
        return await rows(booted.dsn, query)

    def log(self, **attributes: Any) -> list[Json]:
        """The log lines that have all of these attributes."""
        assert self._target.log_path is not None, "a case that reads the log must name the need"
        text = self._target.log_path.read_text(encoding="utf-8")
        return [line for line in log_lines(text) if attributes.items() <= line.items()]

    async def logged(self, **attributes: Any) -> Json:
        """The first of them, waited for: a line may leave a moment after the answer."""
        found: list[Json] = await eventually(lambda: self.log(**attributes))
        return found[0]

    async def scrape(self) -> Scrape:
        return Scrape(await self.rest.client.metrics())


class Scrape:
    """The samples of one moment; only what is asked for is parsed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.kinds = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE "))
        """Name to type."""

    def _samples(self, name: str) -> list[Sample]:
        lines = "".join(line for line in self.text.splitlines(keepends=True) if line.startswith(name))
        families = text_string_to_metric_families(lines)
        return [sample for family in families for sample in family.samples if sample.name == name]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples with these labels among theirs; 0 when there is none."""
        return sum(each.value for each in self._samples(name) if labels.items() <= each.labels.items())

    def labels(self, name: str) -> set[str]:
        return {label for each in self._samples(name) for label in each.labels}

    def bounds(self, name: str) -> list[float]:
        """The buckets of a histogram, in order."""
        return sorted({float(each.labels["le"]) for each in self._samples(f"{name}_bucket")})
