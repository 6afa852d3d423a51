"""The pytest plugin: `--seatrial-drills` collects drills as tests; `windlass_cluster` is a cluster for yours.

It is loaded in every pytest run of the environment, so it imports nothing until one of the two is used.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    import asyncio

    from seatrial.cluster import Cluster
    from seatrial.cluster.options import Options
    from seatrial.drill import Drill
    from seatrial.environment import Environment
    from seatrial.verdict import DrillResult

Result = TypeVar("Result")

_DRILLS = "--seatrial-drills"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("seatrial", "drills on a workflow engine's deployment")
    group.addoption(_DRILLS, metavar="core|all|ID,ID", help="run these drills as tests")
    group.addoption(
        "--seatrial-replicas", type=int, metavar="N", help="replicas; default: what each drill asks for"
    )
    group.addoption(
        "--seatrial-seed",
        type=int,
        metavar="N",
        help="determines the schedules; default: chosen at random and shown",
    )
    group.addoption("--seatrial-report", type=Path, metavar="DIR", help="default: reports/TIME-SEED")
    group.addoption(
        "--seatrial-transport",
        metavar="rest|grpc|both",
        default="rest",
        help="protocol of clients and workers",
    )
    group.addoption("--seatrial-engine-command", metavar="CMD", help="command to run instead of the chart's")


def pytest_report_header(config: pytest.Config) -> str | None:
    if not config.getoption(_DRILLS):
        return None
    options = _drill_session(config).options
    return f"seatrial: seed {options.seed}, report {options.report_dir}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """First, so that -k and -m choose among the drills as among all tests."""
    asked: str | None = config.getoption(_DRILLS)
    if not asked:
        return
    from seatrial.cluster.options import Misuse
    from seatrial.drills import select

    names = [] if asked in {"core", "all"} else [name.strip() for name in asked.split(",") if name.strip()]
    try:
        drills = select(names, core=asked == "core", everything=asked == "all")
    except Misuse as err:
        raise pytest.UsageError(f"{_DRILLS}: {err}") from err
    _drill_session(config)  # refuses options that cannot be combined
    collector = DrillCollector.from_parent(session, name="seatrial", nodeid="seatrial", drills=drills)
    report: pytest.CollectReport = session.ihook.pytest_make_collect_report(collector=collector)
    session.ihook.pytest_collectreport(report=report)
    items.extend(item for item in report.result if isinstance(item, pytest.Item))


def pytest_sessionfinish(session: pytest.Session) -> None:
    drills = session.config.stash.get(_DRILL_SESSION, None)
    if drills is not None:
        drills.close()


class DrillFailed(Exception):
    """The drill's outcome is not pass."""

    def __init__(self, result: DrillResult) -> None:
        lines = [
            f"{result.drill} {result.outcome.value}: {result.title} (seed {result.seed}, {result.folder})"
        ]
        lines += result.notes
        for verdict in result.verdicts:
            if verdict.outcome.value != "pass":
                lines.append(
                    f"{verdict.check} {verdict.outcome.value}: {verdict.guarantee} {verdict.summary}"
                )
                lines += [f"    {witness.text}" for witness in verdict.witnesses[:20]]
        super().__init__("\n".join(lines))


class DrillCollector(pytest.Collector):
    """The chosen drills, in addition to the session's files."""

    def __init__(self, *, drills: Sequence[Drill], **known: Any) -> None:
        super().__init__(**known)
        self._drills = drills

    def collect(self) -> Iterator[pytest.Item]:
        for drill in self._drills:
            yield DrillItem.from_parent(self, name=drill.id, drill=drill)


class DrillItem(pytest.Item):
    """One drill as one test."""

    def __init__(self, *, drill: Drill, **known: Any) -> None:
        super().__init__(**known)
        self._drill = drill

    def runtest(self) -> None:
        result = _drill_session(self.config).run(self._drill)
        if result.outcome.value != "pass":
            raise DrillFailed(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Shows what the drill found; a traceback helps only for other errors."""
        if isinstance(excinfo.value, DrillFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return Path(__file__), None, f"seatrial::{self.name}"


class DrillSession:
    """One event loop and one environment for all drills of the session; the report is written at its end."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._runner: asyncio.Runner | None = None
        self._environment: Environment | None = None
        self._results: list[DrillResult] = []

    def run(self, drill: Drill) -> DrillResult:
        import asyncio

        from seatrial.drill import run
        from seatrial.environment import Environment

        if self._runner is None or self._environment is None:
            self._runner = asyncio.Runner()
            self._environment = Environment(self.options)
            self._runner.run(self._environment.__aenter__())
        result = self._runner.run(run(drill, self._environment))
        self._results.append(result)
        return result

    def close(self) -> None:
        from seatrial import report

        if self._runner is not None and self._environment is not None:
            self._runner.run(self._environment.__aexit__(None, None, None))
            self._runner.close()
        if self._results:
            report.write(self.options.report_dir, self._results, "pytest")


_DRILL_SESSION = pytest.StashKey[DrillSession]()


def _drill_session(config: pytest.Config) -> DrillSession:
    if _DRILL_SESSION not in config.stash:
        config.stash[_DRILL_SESSION] = DrillSession(_options(config))
    return config.stash[_DRILL_SESSION]


def _options(config: pytest.Config) -> Options:
    from seatrial.cluster.options import Misuse
    from seatrial.render import RenderError
    from seatrial.trial import new_options

    try:
        return new_options(
            replicas=config.getoption("--seatrial-replicas"),
            seed=config.getoption("--seatrial-seed"),
            report_dir=config.getoption("--seatrial-report"),
            engine_command=config.getoption("--seatrial-engine-command"),
            transport=config.getoption("--seatrial-transport"),
        )
    except (Misuse, RenderError) as err:
        raise pytest.UsageError(f"seatrial: {err}") from err


class RunningCluster:
    """A cluster on an event loop of its own, for tests that have none or another."""

    def __init__(self, cluster: Cluster, loop: asyncio.AbstractEventLoop) -> None:
        self.cluster = cluster
        self._loop = loop

    @property
    def rest_urls(self) -> list[str]:
        return [replica.rest_url for replica in self.cluster.replicas()]

    @property
    def dsn(self) -> str:
        from seatrial.cluster.ability import Database

        return self.cluster.ability(Database).dsn()

    def do(self, call: Coroutine[Any, Any, Result]) -> Result:
        """Carries out a call of an ability: `running.do(running.cluster.ability(Kill).kill("replica-0"))`."""
        import asyncio

        return asyncio.run_coroutine_threadsafe(call, self._loop).result()


@pytest.fixture(scope="session")
def windlass_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningCluster]:
    """A running cluster of local processes (`--seatrial-replicas`, default 3); gone when the session ends."""
    import asyncio
    import threading
    from dataclasses import replace

    from seatrial.environment import Environment

    folder = tmp_path_factory.mktemp("windlass-cluster")
    environment = Environment(replace(_options(request.config), report_dir=folder))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="windlass-cluster", daemon=True)
    thread.start()

    async def bring_up() -> RunningCluster:
        await environment.__aenter__()
        cluster = await environment.cluster(folder, replicas=environment.options.replicas or 3, values={})
        await cluster.up()
        return RunningCluster(cluster, loop)

    async def take_down(running: RunningCluster | None) -> None:
        if running is not None:
            await running.cluster.down()
        await environment.__aexit__(None, None, None)

    running: RunningCluster | None = None
    try:
        running = asyncio.run_coroutine_threadsafe(bring_up(), loop).result()
        yield running
    finally:
        asyncio.run_coroutine_threadsafe(take_down(running), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
