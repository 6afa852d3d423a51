"""A whole run: the drills one after the other on one environment, the progress, the report."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seatrial import loop, report
from seatrial.client import TRANSPORTS
from seatrial.cluster import Cluster, backends
from seatrial.cluster.broker import BrokerLogin
from seatrial.cluster.brokers import DEFAULT, kind_of
from seatrial.cluster.options import Misuse, Options
from seatrial.cluster.trust import verifying
from seatrial.cluster.values import merge, read_values
from seatrial.drill import NOT_UP, Drill, judge_folder, run
from seatrial.drills import CATALOGUE, select
from seatrial.environment import Environment
from seatrial.follow import follow
from seatrial.history import HISTORY_FILE, BrokenHistory
from seatrial.render import RenderError, default_chart, render_chart
from seatrial.report.terminal import Progress
from seatrial.verdict import DrillResult, Outcome

_LOGIN = ("USERNAME", "PASSWORD", "MECHANISM", "CA_PATH")
_SEED_MAX = 1 << 31


def new_options(
    *,
    backend: str = backends.DEFAULT,
    replicas: int | None = None,
    seed: int | None = None,
    report_dir: Path | None = None,
    engine_command: str | None = None,
    attach: str | None = None,
    attach_grpc: str | None = None,
    chart: Path | None = None,
    values: Sequence[Path] = (),
    transport: str = "rest",
    brokers: str | None = None,
    node_image: str | None = None,
    context: str | None = None,
    compose_file: Path | None = None,
    compose_project: str | None = None,
    digests: Path | None = None,
    token_file: Path | None = None,
    tls: bool = False,
    ca_file: Path | None = None,
) -> Options:
    """Checks everything that can be checked before anything starts: raises Misuse or RenderError."""
    urls = _listed(attach)
    entry = backends.chosen(backend, has_addresses=bool(urls))
    if transport not in TRANSPORTS:
        raise Misuse(f"transport {transport!r} does not exist; choose {' or '.join(TRANSPORTS)}")
    if attach is not None and not urls:
        raise Misuse("--attach names no URL; give one or more, as http://HOST:PORT,http://HOST:PORT")
    chosen = secrets.randbelow(_SEED_MAX) if seed is None else seed
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{chosen}"
    options = Options(
        seed=chosen,
        report_dir=report_dir or Path("reports") / name,
        backend=entry.name,
        replicas=replicas,
        engine_command=engine_command,
        attach=urls,
        attach_grpc=_listed(attach_grpc),
        chart=chart,
        values=tuple(values),
        transport=transport,
        brokers=_checked_brokers(brokers),
        broker_login=_broker_login() if brokers else None,
        node_image=node_image,
        context=context,
        compose_file=compose_file,
        compose_project=compose_project,
        digests=digests,
        token=_token_in(token_file),
        tls=tls,
        ca_file=_checked_ca(ca_file),
    )
    backends.check(options)
    if entry.renders_chart:
        _check_chart(chart, values)
    return options


def _token_in(path: Path | None) -> str | None:
    """The token that the file holds alone. Raises Misuse, which does not show it."""
    if path is None:
        return None
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "it is not UTF-8"
        raise Misuse(
            f"--token-file {path} cannot be read: {reason}; name a file that holds a token"
        ) from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Misuse(
            f"--token-file {path} holds no token; write into it the first line of windlass token new --role admin"
        )
    return token


def _checked_ca(path: Path | None) -> Path | None:
    if path is not None:
        try:
            verifying(str(path))
        except OSError as err:
            reason = "it holds no certificate" if isinstance(err, ssl.SSLError) else err.strerror
            raise Misuse(
                f"--ca-file {path} cannot be used: {reason}; name a PEM file with the authority's certificate"
            ) from None
    return path


def _checked_brokers(brokers: str | None) -> str | None:
    if brokers is None:
        return None
    named = [each.strip() for each in brokers.split(",") if each.strip()]
    strange = [each for each in named if not re.fullmatch(r"[^\s:]+:\d{1,5}", each)]
    if strange or not named:
        raise Misuse(
            f"--brokers {brokers!r}: {', '.join(strange) or 'nothing'} is no broker; give HOST:PORT,HOST:PORT"
        )
    return ",".join(named)


def _broker_login() -> BrokerLogin | None:
    """Credentials must not be in arguments, which every process on the machine can read."""
    told = {what: os.environ.get(DEFAULT.variable(what)) or None for what in _LOGIN}
    username, password = told["USERNAME"], told["PASSWORD"]
    if not username and not password:
        return None
    if not (username and password):
        names = " and ".join(DEFAULT.variable(what) for what in ("USERNAME", "PASSWORD"))
        raise Misuse(f"only one of {names} is set; set both, or neither for plaintext")
    return BrokerLogin(username, password, told["MECHANISM"], told["CA_PATH"])


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _check_chart(chart: Path | None, values: Sequence[Path]) -> None:
    if chart is not None and not (chart / "Chart.yaml").is_file():
        raise Misuse(f"--chart {chart}: no Chart.yaml there; give the chart's folder")
    folder = chart or default_chart()
    try:
        render_chart(folder, _completed(read_values(values)))
    except RenderError as err:
        raise Misuse(f"{folder} refuses the values: {' '.join(str(err).split())}") from err


def _completed(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Renders with the values that a run sets itself, so that the chart can complain only about the operator's."""
    if (kind := kind_of(values)) is not None:
        values = merge(kind.completing_values(values), values)
    return merge(values, {"postgresql": {"dsn": "postgresql://x/x"}})


def carry_out(
    options: Options, names: Sequence[str], *, core: bool, everything: bool, keep: bool, command: str
) -> bool:
    """Runs the drills, writes the report, and returns whether every drill passed. Raises Misuse."""
    chosen = select(names, core=core, everything=everything, backend=options.backend)
    drills = _able(options, chosen, names)
    missing = {
        drill.id: lack
        for drill in chosen
        if drill not in drills and (lack := backends.uninstalled(drill.needs, options))
    }
    if keep and len(drills) != 1:
        raise Misuse(f"--keep holds the cluster of one drill, and {len(drills)} are to run; name one")
    for drill in drills:
        if (options.report_dir / drill.id / HISTORY_FILE).exists():
            raise Misuse(
                f"{options.report_dir} holds a run of {drill.id}; give another --report, or remove it"
            )
    with Progress() as progress:
        progress.note(f"seed {options.seed}, transport {options.transport}")
        for name, lack in missing.items():
            progress.note(f"{name} is not run: it {lack}")
        progress.start([drill.id for drill in drills])
        results = loop.run(_run_all(options, drills, progress, keep=keep))
        path = report.write(options.report_dir, results, command)
        progress.finish(results, path, not_run=missing)
    return all(result.outcome is Outcome.PASS for result in results)


def _able(options: Options, drills: Sequence[Drill], names: Sequence[str]) -> list[Drill]:
    """Without those of a set that the backend cannot run; one that was named is refused."""
    named = {name.lower() for name in names}
    for drill in drills:
        if drill.id.lower() in named and (refusal := backends.refusal(drill.needs, options)):
            raise Misuse(f"drill {drill.id} {refusal}")
    able = [drill for drill in drills if not backends.refusal(drill.needs, options)]
    if not able:
        raise Misuse("this backend can run none of these drills; name another with `seatrial run DRILL`")
    return able


async def _run_all(
    options: Options, drills: Sequence[Drill], progress: Progress, *, keep: bool
) -> list[DrillResult]:
    """Stops after the first drill when it got no cluster, since no other would."""
    results: list[DrillResult] = []

    async def hold(cluster: Cluster) -> None:
        if keep:
            await _hold(cluster, progress)

    async with Environment(options, say=progress.note) as environment:
        await environment.check()
        for number, drill in enumerate(drills, 1):
            progress.drill_started(drill.id, drill.title, number, len(drills))
            follower = asyncio.create_task(follow(options.report_dir / drill.id, progress))
            try:
                result = await run(drill, environment, after=hold)
            finally:
                follower.cancel()
                with suppress(asyncio.CancelledError):
                    await follower
            results.append(result)
            progress.drill_finished(result)
            if number == 1 and len(drills) > 1 and any(note.startswith(NOT_UP) for note in result.notes):
                progress.note(f"the other {len(drills) - 1} drills were not run")
                break
    return results


async def _hold(cluster: Cluster, progress: Progress) -> None:
    """Waits for Ctrl-C, which in this case does not interrupt the run."""
    for replica in cluster.replicas():
        progress.note(
            f"{replica.name}  REST {replica.rest_url}  gRPC {replica.grpc_address}  metrics {replica.metrics_url}"
        )
    progress.note("held until Ctrl-C")
    released = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, released.set)
    try:
        await released.wait()
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)


def judge_again(folder: Path, report_dir: Path | None, *, command: str) -> bool:
    """Prints the verdicts of every history in `folder` or one below; raises BrokenHistory when there is none."""
    folders = (
        [folder]
        if (folder / HISTORY_FILE).exists()
        else sorted(p.parent for p in folder.glob(f"*/{HISTORY_FILE}"))
    )
    if not folders:
        raise BrokenHistory(f"{folder}: no {HISTORY_FILE} here or one folder below; give a report's folder")
    results = []
    with Progress() as progress:
        for each in folders:
            result = judge_folder(each, CATALOGUE)
            results.append(result)
            progress.drill_finished(result)
            for verdict in result.verdicts:
                progress.note(
                    f"{verdict.check:<4} {verdict.outcome.value:<8} {verdict.summary.splitlines()[0]}"
                )
        if report_dir is not None:
            progress.finish(results, report.write(report_dir, results, command))
    return all(result.outcome is Outcome.PASS for result in results)
