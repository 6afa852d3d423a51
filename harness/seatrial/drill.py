"""A drill is data; `run` is the whole procedure: cluster, load, fault, heal, drain, observe, judge."""

from __future__ import annotations

import asyncio
import hashlib
import random
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from seatrial.check import judge
from seatrial.check.memory import OUT_OF_MEMORY
from seatrial.client import TRANSPORTS, RecordingClient
from seatrial.cluster import Cluster, Entrance
from seatrial.cluster.ability import Database
from seatrial.cluster.broker import Broker, BrokerKind
from seatrial.cluster.brokers import BROKERS, DEFAULT, kind_of_mode
from seatrial.cluster.options import Misuse, Options
from seatrial.cluster.tokens import PRINCIPAL
from seatrial.cluster.values import engine_variables, merge
from seatrial.environment import Environment
from seatrial.history import HISTORY_FILE, History, Recorder, RunHeader
from seatrial.observe.final_state import observe
from seatrial.observe.outbox_audit import install_outbox_audit
from seatrial.report.store import write_result
from seatrial.scenario.context import ScenarioContext
from seatrial.verdict import DrillResult, Outcome, worst

#: the start of the note of a drill whose cluster did not start
NOT_UP = "the cluster did not come up"
#: of drills that change the engines' mode: these send jobs through the broker that is there
OUTBOX_VALUES = DEFAULT.mode_values
_OF_LEASES = frozenset({"LX", "FN"})
_OF_DISPATCH = ("OC", "PO")
#: what no log line of an engine in polling mode matches
BROKER_NAMES = f"(?i){'|'.join(BROKERS)}"
LOG_PATTERNS = ("Traceback \\(most recent call last\\)", '"level": ?"ERROR"', OUT_OF_MEMORY)


def _nothing_drawn(_rng: random.Random) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, eq=False)
class Drill:
    """`promise` is one sentence: what users may rely on. Times in seconds.

    `plan` takes everything random from the generator it is given (seeded from seed and id): it returns the schedule,
    whose hash tells whether two runs were the same.
    """

    id: str
    title: str
    promise: str
    checks: tuple[str, ...]
    scenario: Callable[[ScenarioContext], Awaitable[None]]
    plan: Callable[[random.Random], Mapping[str, Any]] = _nothing_drawn
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Bounds and facts for the checks; copied into the run's header."""
    needs: tuple[type, ...] = ()
    """What the scenario needs the cluster to do: types of `seatrial.cluster.ability` and `seatrial.cluster.broker`."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Chart values; `engine_variables(...)` sets engine variables."""
    mode: str = "polling"
    """polling: no broker; a name of brokers.py, as kafka: jobs travel through one; both: there is a broker, and the
    drill changes the engines' mode.
    """
    replicas: int = 3
    restart: bool = False
    """Each replica gets a kubelet, which restarts it when it ends or its liveness probe fails."""
    core: bool = False
    on_kind: bool = False
    """Whether --backend kind runs it."""
    on_compose: bool = False
    """Whether --backend compose does."""
    tls: bool = False
    """Whether engines speak TLS, also in a run without --tls."""
    transport: str = ""
    """What clients and workers speak, whatever the run says: a name of `seatrial.client.TRANSPORTS`."""
    entrance: Entrance = "replicas"
    """The addresses that clients use; `service` where pods come and go."""
    bound_s: float = 120.0
    """A scenario that takes longer makes the drill invalid."""
    log_patterns: tuple[str, ...] = LOG_PATTERNS

    def __post_init__(self) -> None:
        if self.mode not in {"polling", "both", *BROKERS}:
            raise ValueError(
                f"drill {self.id}: mode {self.mode!r}; choose polling, both or {', '.join(BROKERS)}"
            )

    @property
    def broker_kind(self) -> BrokerKind | None:
        """None in a drill without a broker."""
        return kind_of_mode(self.mode)

    def through_broker(
        self, kind: BrokerKind = DEFAULT, *, redelivery_s: float = 5.0, **changes: Any
    ) -> Drill:
        """The same story with jobs that travel through a broker, as `<id>-kafka`: dispatches are judged instead of
        leases.

        `changes` are fields; `parameters` and `values` are merged into this drill's. A job that nobody completes is
        dispatched again after `redelivery_s`.
        """
        kept = tuple(check for check in self.checks if check not in _OF_LEASES)
        changes["parameters"] = {
            **self.parameters,
            "redelivery_s": redelivery_s,
            **changes.get("parameters", {}),
        }
        redelivery = engine_variables(WINDLASS_REDELIVERY_SECONDS=redelivery_s)
        changes["values"] = merge(merge(self.values, redelivery), changes.get("values", {}))
        return replace(
            self,
            **{
                "id": f"{self.id}-{kind.name}",
                "mode": kind.name,
                "checks": (*kept, *_OF_DISPATCH),
                "needs": tuple(dict.fromkeys((*self.needs, Database, Broker))),
                "core": False,
                "on_kind": False,
                "on_compose": False,
                **changes,
            },
        )


@dataclass(frozen=True, slots=True)
class Drawn:
    """A schedule and its hash: the same seed draws the same."""

    seed: str
    schedule: Mapping[str, Any]
    hash: str


def draw(drill: Drill, seed: int) -> Drawn:
    text = f"{seed}:{drill.id}"
    schedule = drill.plan(random.Random(text))
    encoded = msgspec.json.encode({"drill": drill.id, "schedule": schedule}, order="sorted")
    return Drawn(text, schedule, hashlib.sha256(encoded).hexdigest()[:16])


async def run(
    drill: Drill, environment: Environment, *, after: Callable[[Cluster], Awaitable[None]] | None = None
) -> DrillResult:
    """Carries out one drill and judges it; nothing is left running, whatever happens.

    `after` is awaited before the cluster goes down. Any exception on the way makes the result invalid;
    cancellation (Ctrl-C) goes on to the caller when everything is healed and removed.
    Raises Misuse when the backend lacks an ability, or the folder holds a run already.
    """
    if refusal := environment.refusal(drill.needs):
        raise Misuse(f"drill {drill.id} {refusal}")
    options = environment.options
    folder = _fresh_folder(options.report_dir, drill.id)
    drawn = draw(drill, options.seed)
    recorder = Recorder(folder)
    started_at = datetime.now(UTC)
    recorder.info("harness", "run", msgspec.structs.asdict(_header(drill, environment, drawn, started_at)))
    cluster: Cluster | None = None
    cause: str | None = "interrupted"
    try:
        cause = NOT_UP
        cluster = await environment.cluster(
            folder,
            replicas=drill.replicas,
            values=_values(drill),
            restart=drill.restart,
            broker=drill.broker_kind,
            entrance=drill.entrance,
            tls=drill.tls,
        )
        await cluster.up()
        if drill.mode != "polling" and cluster.has(Database):
            await install_outbox_audit(cluster.ability(Database).dsn())
        cause = "interrupted"
        run_key = f"{drill.id}-{started_at:%Y%m%dT%H%M%S%f}"
        context = ScenarioContext(
            cluster, recorder, folder=folder, seed=drawn.seed, run_key=run_key,
            schedule=drawn.schedule, parameters=drill.parameters, mode=drill.mode,
            transports=TRANSPORTS[drill.transport or options.transport],
        )  # fmt: skip
        await _act(drill, context)
        recorder.info("harness", "phase", {"name": "observe"})
        async with RecordingClient(
            "client-observer", cluster.replicas(), recorder, context.random("observer")
        ) as client:
            await observe(
                cluster,
                recorder,
                client,
                key_prefix=run_key,
                log_patterns=drill.log_patterns,
                broker=cluster.ability(Broker) if drill.mode != "polling" and cluster.has(Broker) else None,
            )
        cause = None
    except Exception as err:
        cause = f"{NOT_UP}: {describe(err)}" if cause == NOT_UP else describe(err)
        (folder / "harness-error.txt").write_text("".join(traceback.format_exception(err)))
    finally:
        try:
            if cluster is not None:
                if after is not None and cause is None:
                    await after(cluster)
                await cluster.down()
        finally:
            recorder.info("harness", "phase", {"name": "end", "invalid": cause})
            recorder.close()
    result = await asyncio.to_thread(judge_folder, folder, {drill.id: drill})
    write_result(folder, result)
    return result


def _values(drill: Drill) -> Mapping[str, Any]:
    """A drill that changes the engines' mode begins as its own values say."""
    return merge(drill.values, BROKERS[drill.mode].mode_values) if drill.mode in BROKERS else drill.values


async def _act(drill: Drill, context: ScenarioContext) -> None:
    """Raises TimeoutError naming the bound when the scenario takes longer."""
    limit = asyncio.timeout(drill.bound_s)
    try:
        async with limit, context:
            await drill.scenario(context)
    except TimeoutError as err:
        if not limit.expired():
            raise
        raise TimeoutError(f"the scenario took longer than its bound of {drill.bound_s:g} s") from err


def judge_folder(folder: Path, catalogue: Mapping[str, Drill]) -> DrillResult:
    """The verdicts from what the folder's history says, and nothing else. Raises BrokenHistory.

    The catalogue gives title and promise; the checks and their bounds are the header's, as they were when it ran.
    """
    history = History.load(folder)
    header = history.header
    drill = catalogue.get(header.drill)
    ends = [op.value for op in history.ops if op.f == "phase" and op.value.get("name") == "end"]
    cause = ends[-1].get("invalid") if ends else "the run was interrupted: its history has no end"
    verdicts = () if cause else judge(history)
    times = [op.t_s for op in history.ops]
    return DrillResult(
        drill=header.drill,
        title=drill.title if drill else header.drill,
        promise=drill.promise if drill else "",
        outcome=Outcome.INVALID if cause else worst(verdict.outcome for verdict in verdicts),
        seed=header.seed,
        schedule_hash=header.schedule_hash,
        duration_s=round(max(times) - min(times), 3),
        folder=str(folder),
        verdicts=verdicts,
        notes=(cause,) if cause else (),
    )


def describe(error: BaseException) -> str:
    """One line that names the cause: the first leaf of a group, its type when its text alone says little.

    Of a text with a log's tail, the first and the last line are kept.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    lines = str(error).strip().splitlines()
    text = " ".join(lines[:1] + lines[1:][-1:])
    named = type(error).__name__
    is_ours = type(error).__module__.startswith("seatrial") or (isinstance(error, TimeoutError) and text)
    return text if is_ours and text else f"{named}: {text}" if text else named


def _header(drill: Drill, environment: Environment, drawn: Drawn, started_at: datetime) -> RunHeader:
    options = environment.options
    return RunHeader(
        drill=drill.id,
        seed=options.seed,
        replicas=len(options.attach) or options.replicas or drill.replicas,
        backend=options.backend,
        engine_command=options.engine_command or "",
        started_at=started_at.isoformat(),
        checks=drill.checks,
        parameters=dict(drill.parameters),
        schedule_hash=drawn.hash,
        transport=drill.transport or options.transport,
        images=dict(environment.images()),
        tls=drill.tls or options.speaks_tls,
        principal=_principal(options),
    )


def _principal(options: Options) -> str | None:
    """Engines that the run starts know its token by a name of the harness's."""
    if options.token is None:
        return None
    return "" if options.attach or options.compose_project else PRINCIPAL


def _fresh_folder(report_dir: Path, drill_id: str) -> Path:
    folder = report_dir / drill_id
    if (folder / HISTORY_FILE).exists():
        raise Misuse(f"{folder} already contains a run; give another --report, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
