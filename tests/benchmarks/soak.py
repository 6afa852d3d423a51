"""Does anything grow? Engines with retention under steady load, sampled; and what a finished workflow takes.

Retention is a tenth of the time, so that what a year does happens ten times: rows come, end, are removed, and their
space is used again. The first fifth is not judged, since the database fills. docs/size-and-care.md has the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
import psutil
import psycopg
import size
from flat import BOUNDS, Trend, trend
from plotly.subplots import make_subplots
from rig import Engine, running
from steady import SteadyLoad

from seatrial.cluster.postgres import PostgresServer

EXAMPLES = """\
examples:
  scripts/soak                      # half an hour
  scripts/soak --minutes 5 --rate 100
  scripts/soak --size
"""
MINUTES = 30.0
SAMPLES = 180
SAMPLE_S_MIN = 0.5
DATABASE = "soak"
WORKERS = 4
#: of the time that passes before anything is judged
FILLING = 0.25
RETENTION = 0.1
#: autovacuum looks once a minute by default; in a shorter run as much more often
NAPTIME_S = 60.0
HOT = (
    "workflow_instance",
    "step_execution",
    "job",
    "audit_log",
    "dispatch_outbox",
    "windlass_job_dispatch",
    "user_task",
    "boundary_event_schedule",
)
_COUNTED = """
    SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid)
    FROM pg_stat_user_tables WHERE relname = ANY (%s)"""

Sample = dict[str, float]


class Watch:
    """Looks at the database, the engines and the load."""

    def __init__(self, dsn: str, engines: Sequence[Engine], load: SteadyLoad) -> None:
        self._dsn = dsn
        self._processes = [psutil.Process(engine.pid) for engine in engines]
        self._load = load
        self._began_s = self._looked_s = time.monotonic()
        self._completed = 0

    async def look(self) -> Sample:
        """Times since the beginning; rates since the last look."""
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            rows = await (await connection.execute(_COUNTED, [list(HOT)])).fetchall()
        now_s = time.monotonic()
        took_s = sorted(self._load.latencies_s()) or [0.0]
        completed = self._load.completed
        sample = {
            "at_s": now_s - self._began_s,
            "dead_rows": float(sum(row[2] for row in rows)),
            "live_rows": float(sum(row[1] for row in rows)),
            "table_bytes": float(sum(row[3] for row in rows)),
            "engine_rss_bytes": float(sum(each.memory_info().rss for each in self._processes)),
            "descriptors": float(sum(each.num_fds() for each in self._processes)),
            "p99_ms": took_s[int(len(took_s) * 0.99)] * 1000,
            "jobs_per_s": (completed - self._completed) / (now_s - self._looked_s),
            **{f"dead_rows_{row[0]}": float(row[2]) for row in rows},
        }
        self._looked_s, self._completed = now_s, completed
        return sample


async def soak(
    folder: Path, minutes: float, rate: float, count: int, *, keeps_all: bool
) -> tuple[list[Sample], SteadyLoad]:
    length_s = minutes * 60
    sample_s = max(SAMPLE_S_MIN, length_s / SAMPLES)
    naptime_s = max(1, round(NAPTIME_S * min(1.0, minutes / MINUTES)))
    days = 0.0 if keeps_all else length_s * RETENTION / 86_400
    values = {"engine": {"retentionDays": days}}
    settings = {"autovacuum_naptime": f"{naptime_s}s"}
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(PostgresServer(folder / "postgres.log", settings=settings))
        await server.create_database(DATABASE)
        engines = [
            await stack.enter_async_context(
                running(server, folder / f"engine-{number}.log", database=DATABASE, values=values)
            )
            for number in range(count)
        ]
        load = await stack.enter_async_context(SteadyLoad([e.url for e in engines], workers=WORKERS))
        watch = Watch(server.dsn(DATABASE), engines, load)
        starts = asyncio.create_task(load.run(rate))
        samples: list[Sample] = []
        began_s = told_s = time.monotonic()
        try:
            while (now_s := time.monotonic()) < began_s + length_s:
                await asyncio.sleep(min(sample_s, began_s + length_s - now_s))
                samples.append(await watch.look())
                if starts.done():
                    starts.result()
                if time.monotonic() - told_s >= min(30.0, length_s / 10):
                    told_s = time.monotonic()
                    _tell(samples[-1], length_s)
        finally:
            starts.cancel()
            await asyncio.gather(starts, return_exceptions=True)
    return samples, load


def _tell(sample: Sample, length_s: float) -> None:
    print(
        f"{sample['at_s']:6.0f} of {length_s:.0f} s · {sample['jobs_per_s']:.0f} jobs/s · "
        f"p99 {sample['p99_ms']:.0f} ms · "
        f"{sample['dead_rows']:,.0f} dead of {sample['dead_rows'] + sample['live_rows']:,.0f} rows · "
        f"{sample['table_bytes'] / 1e6:.1f} MB · RSS {sample['engine_rss_bytes'] / 1e6:.0f} MB · "
        f"{sample['descriptors']:.0f} descriptors",
        flush=True,
    )


def judge(samples: Sequence[Sample]) -> list[Trend]:
    """Raises ValueError when there are too few of them."""
    judged = [sample for sample in samples if sample["at_s"] >= FILLING * samples[-1]["at_s"]]
    times_s = [sample["at_s"] for sample in judged]
    return [trend(bound, times_s, [sample[bound.name] for sample in judged]) for bound in BOUNDS]


def table(trends: Sequence[Trend]) -> str:
    lines = ["| | median | change over the measured time | allowed | |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {each.bound.unit} | {each.level:,.0f} | {each.change:+,.0f} | "
        f"{'-' if each.bound.falls else '+'}{each.allowed:,.0f} | {'flat' if each.is_flat else 'NOT FLAT'} |"
        for each in trends
    ]
    return "\n".join(lines)


def picture(samples: Sequence[Sample], trends: Sequence[Trend]) -> go.Figure:
    """One strip for each series over one time axis; what is not judged is shaded."""
    figure = make_subplots(
        rows=len(trends), shared_xaxes=True, vertical_spacing=0.03, subplot_titles=[each.bound.unit for each in trends]
    )  # fmt: skip
    minutes = [sample["at_s"] / 60 for sample in samples]
    for row, each in enumerate(trends, 1):
        values = [sample[each.bound.name] for sample in samples]
        colour = "rgb(47,134,201)" if each.is_flat else "rgb(213,94,0)"
        line = go.Scatter(x=minutes, y=values, mode="lines", line={"color": colour}, showlegend=False)
        figure.add_trace(line, row=row, col=1)
        figure.update_yaxes(rangemode="tozero", row=row, col=1)
    figure.add_vrect(x0=0, x1=FILLING * minutes[-1], fillcolor="grey", opacity=0.15, line_width=0)
    figure.update_xaxes(title_text="minutes", row=len(trends), col=1)
    figure.update_layout(height=220 * len(trends), title="scripts/soak", template="plotly_white")
    return figure


def write_report(folder: Path, samples: Sequence[Sample], trends: Sequence[Trend]) -> None:
    (folder / "samples.json").write_text(json.dumps(samples), encoding="utf-8")
    (folder / "report.md").write_text(table(trends) + "\n", encoding="utf-8")
    picture(samples, trends).write_html(folder / "report.html", include_plotlyjs=True)


def conclude(folder: Path, samples: Sequence[Sample], load: SteadyLoad) -> int:
    """The exit code: 0 when everything stays flat and no call failed."""
    trends = judge(samples)
    write_report(folder, samples, trends)
    print(f"\n{table(trends)}\n")
    print(f"{load.completed:,} of {load.started:,} jobs completed, {load.failed} calls failed")
    peak = max(samples, key=lambda sample: sample["dead_rows"])
    print(f"most dead rows at a time: {peak['dead_rows']:,.0f}, beside {peak['live_rows']:,.0f} live ones")
    flat = all(each.is_flat for each in trends) and not load.failed
    print(f"verdict: {'flat' if flat else 'NOT FLAT'}; report: {folder / 'report.html'}")
    return 0 if flat else 1


async def _sizes(folder: Path, instances: int) -> dict[tuple[str, str], list[float]]:
    async with PostgresServer(folder / "postgres.log") as server:
        return await size.measure(server, folder, instances)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )  # fmt: skip
    parser.add_argument("--minutes", type=_positive, default=MINUTES, help="how long (default 30)")
    parser.add_argument(
        "--rate", type=_positive, default=60.0, help="workflows started a second (default 60)"
    )
    parser.add_argument("--engines", type=int, choices=range(1, 6), default=2, help="replicas (default 2)")
    parser.add_argument(
        "--keep-all", action="store_true", help="without retention: shows that growth is seen"
    )
    parser.add_argument(
        "--report", type=Path, help="folder of report.html and samples.json (default: a new one)"
    )
    parser.add_argument(
        "--size", action="store_true", help="measure what a finished workflow takes, and no more"
    )
    parser.add_argument("--instances", type=int, default=2000, help="workflows of --size (default 2000)")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
            if given.size:
                print(size.table(asyncio.run(_sizes(Path(scratch), given.instances))))
                return 0
            folder = given.report or Path("reports") / f"soak-{time.strftime('%Y%m%d-%H%M%S')}"
            folder.mkdir(parents=True, exist_ok=True)
            print(
                f"{given.minutes:g} minutes, {given.engines} engines, {given.rate:g} starts a second",
                flush=True,
            )
            samples, load = asyncio.run(
                soak(folder, given.minutes, given.rate, given.engines, keeps_all=given.keep_all)
            )
        return conclude(folder, samples, load)
    except ValueError as err:
        sys.stderr.write(f"soak: {err}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("soak: interrupted; engines and database are gone\n")
        return 130


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 100_000:
        raise argparse.ArgumentTypeError(f"must be a number greater than 0, got {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
