"""A shell in which a test types what a page says, as it stands: helm, kubectl, curl, on a cluster and in a namespace.

Only what is the reader's own is put in: where the image is, the brokers, a free port of this machine.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from trial_namespace import a_namespace

from seatrial.cluster.kafka.pod import SecuredListener
from seatrial.cluster.kind.release import engine_image
from seatrial.cluster.kind.shared import SharedServices
from seatrial.cluster.port import Ports
from seatrial.deadline import Deadline
from seatrial.render import default_chart

ROOT = Path(__file__).parents[2]
README = (ROOT / "charts" / "windlass" / "README.md").read_text()
OWN_IMAGE, OWN_BROKERS = "registry.example/windlass", "{kafka-0:9092,kafka-1:9092,kafka-2:9092}"
COMMAND_WITHIN_S = 240
SEEN_WITHIN_S = 90.0
SEEN_INTERVAL_S = 0.5
FORWARD = re.compile(r"port-forward \S+ (\d+):\1(?= |$)")


@dataclass(frozen=True)
class Shell:
    """A folder with charts/ and values/ in it, and a context whose namespace holds nothing yet."""

    folder: Path
    namespace: str
    environment: Mapping[str, str]
    own: Mapping[str, str] = field(
        default_factory=lambda: {OWN_IMAGE: engine_image(default_chart(), {}).rpartition(":")[0]}
    )
    """What pages say -> what is the reader's."""

    def knowing(self, own: Mapping[str, str]) -> Shell:
        return replace(self, own={**self.own, **own})

    def knowing_brokers(self, door: SecuredListener, *, password: str | None = None) -> Shell:
        """Of the files that kafka.yaml speaks of, too; with another `password` than the broker's, if one is given."""
        self.hold("user.txt", door.username)
        self.hold("password.txt", door.password if password is None else password)
        self.hold("ca.crt", door.authority_pem.decode())
        return self.knowing({OWN_BROKERS: f"{{{','.join(door.brokers)}}}"})

    def hold(self, name: str, content: str) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(content)

    def type(self, text: str, *, given: str | None = None) -> str:
        """What it printed; fails with what it said when one of the commands did."""
        ran = self._run(text, given)
        assert ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    async def until(self, text: str, expected: str, *, given: str | None = None) -> str:
        """Typed again and again, until it tells what is expected."""
        async for _ in Deadline(SEEN_WITHIN_S).attempts(SEEN_INTERVAL_S):
            ran = self._run(text, given)
            if expected in ran.stdout:
                return ran.stdout
        raise AssertionError(f"{text}\nno {expected!r} in\n{ran.stdout}\n{ran.stderr}")

    def _run(self, text: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._meant(text)],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
            timeout=COMMAND_WITHIN_S, input=given,
        )  # fmt: skip

    def _meant(self, text: str) -> str:
        for said, meant in self.own.items():
            text = text.replace(said, meant)
        return text

    def type_each(self, commands: Sequence[str]) -> list[str]:
        """What each printed. A port-forward is left running for those after it, until the next one; they are calls
        to it, and an answer that is an error fails.
        """
        answers = []
        port: tuple[str, int] | None = None
        with ExitStack() as stack:
            for command in commands:
                if found := FORWARD.search(command):
                    stack.close()
                    port = found[1], stack.enter_context(self.forwarded(command))
                elif port is None:
                    answers.append(self.type(command))
                else:
                    asked = command.replace(f"localhost:{port[0]}", f"localhost:{port[1]}")
                    answers.append(self.type(asked.replace("curl ", "curl -sSf ")))
        return answers

    @contextmanager
    def forwarded(self, command: str) -> Iterator[int]:
        """The port of this machine, where many may run, that leads there inside the block."""
        command = self._meant(command)
        found = FORWARD.search(command)
        assert found is not None, command
        ports = Ports()
        port = ports.take()
        try:
            with self._left_running(command.replace(f"{found[1]}:{found[1]}", f"{port}:{found[1]}")):
                yield port
        finally:
            ports.close()

    @contextmanager
    def reached(self, target: str) -> Iterator[str]:
        """The REST address on this machine, inside the block, of a Service or a Deployment."""
        with self.forwarded(f"kubectl port-forward {target} 8080:8080") as port:
            yield f"http://localhost:{port}"

    @contextmanager
    def _left_running(self, command: str) -> Iterator[None]:
        """Until it says that it listens, and then inside the block."""
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                assert "Forwarding from" in process.stdout.readline(), command
                yield
            finally:
                process.terminate()


@asynccontextmanager
async def a_shell(shared: SharedServices, folder: Path) -> AsyncIterator[Shell]:
    """In a namespace of its own; dsn.txt is what the chart's README says of it."""
    assert shared.access.kubeconfig is not None
    for name in ("charts", "values"):
        (folder / name).symlink_to(ROOT / name)
    environment = os.environ | {"KUBECONFIG": str(folder / "kubeconfig"), "HOME": str(folder)}
    async with a_namespace(shared) as (namespace, _):
        made = Shell(folder, namespace, environment)
        made.hold("kubeconfig", shared.access.kubeconfig)
        made.hold("dsn.txt", shared.server.engine_dsn(namespace.replace("-", "_")))
        made.type(f"kubectl config set-context --current --namespace {namespace}")
        yield made


def blocks(heading: str, language: str = "sh") -> str:
    """What a section of the README has in that language."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    assert section is not None
    found = re.findall(rf"```{language}\n(.*?)```", section[1], re.DOTALL)
    assert found
    return "".join(found)


def head(overlay: str) -> list[str]:
    """The commands in an overlay's first lines."""
    lines = (ROOT / "values" / overlay).read_text().splitlines()
    typed = "\n".join(line.removeprefix("#   ") for line in lines if line.startswith("#   "))
    commands = re.split(r"(?<!\\)\n(?! )", typed)
    assert commands[-1].startswith("helm upgrade --install")
    return commands


def of_notes(notes: str) -> list[str]:
    """Their commands."""
    return re.findall(r"^  ((?:kubectl|helm|curl) .*)$", notes, re.MULTILINE)


#: how the chart's page brings the database
DATABASE_SECRET = blocks("Install").splitlines()[0]
