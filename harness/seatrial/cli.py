"""The command line. Exit codes: 0 all pass, 1 some verdict is not pass, 2 usage or broken input, 130 interrupted."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seatrial.cluster import backends

if TYPE_CHECKING:
    from seatrial.cluster.options import Options
    from seatrial.playground import State

PASSED, NOT_PASSED, BROKEN, INTERRUPTED = 0, 1, 2, 130
UP_FOLDER = Path("reports/up")

app = typer.Typer(
    name="seatrial",
    help="Tests a workflow engine's deployment: load, faults, and a verdict job by job.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Replicas = Annotated[
    int | None, typer.Option(min=1, max=64, help="How many; default: what each drill asks for.")
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, help="Determines the schedule; chosen at random and printed if not given."),
]
BackendName = Annotated[str, typer.Option(help=f"Where the cluster runs: {' or '.join(backends.NAMES)}.")]
EngineCommand = Annotated[
    str | None,
    typer.Option(
        metavar="CMD", help="Command to run instead of the chart's, with the same environment and ports."
    ),
]
Chart = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The chart to run; default: charts/windlass.")
]
Values = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="A values file, as helm's -f; may be given several times."),
]

Attach = Annotated[
    str | None,
    typer.Option(
        metavar="URL,URL", help="Test engines that are already running, with drills that need no fault."
    ),
]
AttachGrpc = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT,...", help="The gRPC addresses of the replicas of --attach, in the same order."
    ),
]
Transport = Annotated[
    str,
    typer.Option(
        metavar="rest|grpc|both",
        help="Protocol of clients and workers; both: chosen at random for each call.",
    ),
]
Brokers = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT,HOST:PORT",
        help="A Kafka cluster of yours instead of the run's own; for SASL over TLS set "
        "SEATRIAL_KAFKA_USERNAME, _PASSWORD, _MECHANISM, _CA_PATH.",
    ),
]

NodeImage = Annotated[
    str | None,
    typer.Option(metavar="IMAGE", help="Image of the nodes of a new kind cluster; default: kind's own."),
]
Context = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Context of your kubeconfig, instead of a cluster created by kind."),
]
ComposeFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Compose file of new projects; default: docker-compose.small-cluster.yml."
    ),
]
ComposeProject = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A compose project that runs already; it is taken as it is, and left."),
]
Digests = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help='JSON {"windlass": "REPOSITORY@sha256:..."}: compose projects run these images, and none by a tag.',
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Holds a token of the role admin, sent with every call; the run's own engines then ask for it.",
    ),
]
Tls = Annotated[
    bool,
    typer.Option(
        "--tls",
        help="Engines show certificates of an authority made for the run, which every client verifies.",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="PEM of the authority of --attach https://...; default: the system's.",
    ),
]
Keep = Annotated[
    bool,
    typer.Option(
        "--keep", help="Keep the cluster of a single drill running, without judging it, until Ctrl-C."
    ),
]


@app.command()
def run(
    drills: Annotated[
        list[str] | None, typer.Argument(metavar="[DRILL]...", help="Ids, see `seatrial list`.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole catalogue.")] = False,
    core: Annotated[
        bool, typer.Option("--core", help="The core set; the default when no drill is named.")
    ] = False,
    backend: BackendName = backends.DEFAULT,
    replicas: Replicas = None,
    seed: Seed = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Default: reports/TIME-SEED. Holds histories and the report."),
    ] = None,
    engine_command: EngineCommand = None,
    attach: Attach = None,
    attach_grpc: AttachGrpc = None,
    transport: Transport = "rest",
    brokers: Brokers = None,
    chart: Chart = None,
    values: Values = None,
    image: NodeImage = None,
    context: Context = None,
    file: ComposeFile = None,
    project: ComposeProject = None,
    images: Digests = None,
    token_file: TokenFile = None,
    tls: Tls = False,
    ca_file: CaFile = None,
    keep: Keep = False,
) -> None:
    """Runs drills, judges them and writes the report.

    `seatrial run`  the core set on three local replicas

    `seatrial run L5 --seed 7 --transport both`  one drill, the same schedule each time

    `seatrial run --all --engine-command "./engine serve"`  another engine with the same API

    `seatrial run --attach http://a:8080,http://b:8080`  a cluster that runs already

    `seatrial run smoke-kafka --brokers kafka-0:9092`  jobs through a Kafka cluster that runs already

    `seatrial run --backend kind`  on a real Kubernetes, with kind and docker on PATH

    `seatrial run --backend compose`  in containers behind a balancer, with docker and its compose plugin

    `seatrial run smoke --token-file admin.token --tls`  with sign-in and certificates
    """
    from seatrial.trial import carry_out, new_options

    with _plainly():
        options = new_options(
            backend=backend,
            replicas=replicas,
            seed=seed,
            report_dir=report,
            engine_command=engine_command,
            attach=attach,
            attach_grpc=attach_grpc,
            transport=transport,
            chart=chart,
            values=values or (),
            brokers=brokers,
            node_image=image,
            context=context,
            compose_file=file,
            compose_project=project,
            digests=images,
            token_file=token_file,
            tls=tls,
            ca_file=ca_file,
        )
        names = drills or []
        command = _command_with_seed(options.seed)
        passed = carry_out(options, names, core=core or not (names or everything), everything=everything,
                           keep=keep, command=command)  # fmt: skip
    raise typer.Exit(PASSED if passed else NOT_PASSED)


@app.command("list")
def list_drills() -> None:
    """Lists the catalogue: each drill, whether jobs are polled or sent through a broker, its promise, its checks.

    `seatrial list`
    """
    from seatrial.drills import CATALOGUE

    width = max(map(len, CATALOGUE))
    for drill in CATALOGUE.values():
        typer.echo(
            f"{drill.id:<{width}}  {'core' if drill.core else '    '}  {drill.mode:<7}  {drill.title}"
            f"  [{' '.join(drill.checks)}]"
        )
        typer.echo(f"{'':<{width}}                 {drill.promise}")


@app.command()
def judge(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of a report, or of one of its drills.")
    ],
    report: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Also write the report again, to OUT.")
    ] = None,
) -> None:
    """Judges saved histories again; the exit code is the one of the run.

    `seatrial judge reports/20260101-120000-7`

    `seatrial judge out/L5 --report again`
    """
    from seatrial.trial import judge_again

    with _plainly():
        passed = judge_again(folder, report, command=shlex.join(["seatrial", *sys.argv[1:]]))
    raise typer.Exit(PASSED if passed else NOT_PASSED)


@app.command()
def up(
    replicas: Replicas = None,
    engine_command: EngineCommand = None,
    chart: Chart = None,
    values: Values = None,
    folder: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for its state and its logs.")
    ] = UP_FOLDER,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in the foreground; Ctrl-C ends it.")
    ] = False,
) -> None:
    """Starts a cluster to play with and prints its addresses.

    `seatrial up`  three replicas in the background, until `seatrial down`

    `seatrial up --foreground --replicas 1 --values mine.yaml`
    """
    from seatrial import loop, playground
    from seatrial.environment import Environment
    from seatrial.trial import new_options

    with _plainly():
        options = new_options(replicas=replicas, engine_command=engine_command, chart=chart, values=values or (),
                              report_dir=folder)  # fmt: skip
        if not foreground:
            _print_state(playground.launch(folder, _words(options)), f"seatrial down --folder {folder}")
            return

        async def stay() -> None:
            async with Environment(options) as environment:
                await playground.serve(environment, folder, lambda state: _print_state(state, "Ctrl-C"))

        loop.run(stay())


@app.command()
def down(
    folder: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder that was given to `up`.")
    ] = UP_FOLDER,
) -> None:
    """Ends the cluster that `seatrial up` started; returns when it is gone.

    `seatrial down`
    """
    from seatrial import playground

    with _plainly():
        playground.end(folder)
    typer.echo("down")


kind = typer.Typer(no_args_is_help=True, help="A kind cluster that stays between runs of `--backend kind`.")
app.add_typer(kind, name="kind")


@kind.command("up")
def kind_up(
    image: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE", help="Image of its nodes; default: SEATRIAL_NODE_IMAGE, or kind's own."
        ),
    ] = None,
) -> None:
    """Creates the cluster with two nodes, unless it exists.

    `seatrial kind up`
    """
    from seatrial import loop
    from seatrial.cluster.kind.nodes import CLUSTER_NAME, Images, Nodes

    with _plainly():
        loop.run(Nodes(node_image=Images.from_env(node=image).node).up())
    typer.echo(
        f"kind cluster {CLUSTER_NAME} is up; `kind get kubeconfig --name {CLUSTER_NAME}` prints how to reach it"
    )


@kind.command("down")
def kind_down() -> None:
    """Deletes the cluster, if it exists.

    `seatrial kind down`
    """
    from seatrial import loop
    from seatrial.cluster.kind.nodes import delete

    with _plainly():
        loop.run(delete())
    typer.echo("down")


@contextmanager
def _plainly() -> Iterator[None]:
    """One line on stderr for errors of the caller; 130 when interrupted."""
    import asyncio

    from seatrial.cluster import ClusterError
    from seatrial.cluster.options import Misuse
    from seatrial.drill import describe
    from seatrial.history import BrokenHistory
    from seatrial.render import RenderError
    from seatrial.report.store import BrokenResult

    try:
        yield
    except (Misuse, ClusterError, BrokenHistory, BrokenResult, RenderError) as err:
        typer.echo(f"seatrial: {describe(err)}", err=True)
        raise typer.Exit(BROKEN) from err
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo("seatrial: interrupted; everything is healed and removed", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _print_state(state: State, ended_by: str) -> None:
    for replica in state.replicas:
        typer.echo(
            f"{replica.name}  REST {replica.rest_url}  gRPC {replica.grpc_address}  metrics {replica.metrics_url}"
        )
    typer.echo(f"database   {state.dsn}")
    typer.echo(f"ends with  {ended_by}")
    sys.stdout.flush()


def _words(options: Options) -> Sequence[str]:
    """The options of `up`, to be given to another process."""
    words = [] if options.replicas is None else ["--replicas", str(options.replicas)]
    words += [] if options.engine_command is None else ["--engine-command", options.engine_command]
    words += [] if options.chart is None else ["--chart", str(options.chart)]
    return [*words, *(word for path in options.values for word in ("--values", str(path)))]


def _command_with_seed(seed: int) -> str:
    """The command that repeats the same run."""
    words = ["seatrial", *sys.argv[1:]]
    return shlex.join(
        words if any(word.startswith("--seed") for word in words) else [*words, "--seed", str(seed)]
    )


def main() -> int:
    app()
    return PASSED
