"""The commands of the chart's README, its NOTES and its overlays, typed as they stand: by a shell, helm, kubectl, curl.

Only what is the reader's own is put in: where the image is, the DSN, the namespace of the context, a free port.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from trial_namespace import a_namespace, missing_need

from seatrial.cluster.kind.ground import Ground
from seatrial.cluster.kind.release import engine_image
from seatrial.cluster.port import Ports
from seatrial.render import default_chart

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

ROOT = Path(__file__).parents[2]
README = (ROOT / "charts" / "windlass" / "README.md").read_text()
#: kafka.yaml and mixed.yaml want a broker with SASL over TLS, which no cluster of ours has
OVERLAYS = ("small-cluster.yaml", "production.yaml")
OWN_IMAGE = "registry.example/windlass"
COMMAND_WITHIN_S = 240
FORWARDED = re.compile(r"port-forward \S+ (\d+):\1 ")


@dataclass(frozen=True)
class Shell:
    """A folder with charts/ and values/ in it, and a context whose namespace holds nothing but a database's Secret."""

    folder: Path
    environment: Mapping[str, str]

    def type(self, text: str) -> str:
        """What it printed; fails with what it said when one of the commands did."""
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
            timeout=COMMAND_WITHIN_S,
        )  # fmt: skip
        assert ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    @contextmanager
    def left_running(self, command: str) -> Iterator[None]:
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


@pytest_asyncio.fixture(loop_scope="session")
async def shell(ground: Ground, tmp_path: Path) -> AsyncIterator[Shell]:
    if need := missing_need("helm", "kubectl", "curl"):
        pytest.skip(need)
    assert ground.access.kubeconfig is not None
    (tmp_path / "kubeconfig").write_text(ground.access.kubeconfig)
    (tmp_path / "kubeconfig").chmod(0o600)
    for name in ("charts", "values"):
        (tmp_path / name).symlink_to(ROOT / name)
    async with a_namespace(ground) as (namespace, _):
        made = Shell(
            tmp_path, os.environ | {"KUBECONFIG": str(tmp_path / "kubeconfig"), "HOME": str(tmp_path)}
        )
        made.type(f"kubectl config set-context --current --namespace {namespace}")
        (tmp_path / "dsn.txt").write_text(ground.server.engine_dsn(namespace.replace("-", "_")))
        yield made


def blocks(heading: str) -> str:
    """The shell of a section of the README."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    assert section is not None
    found = re.findall(r"```sh\n(.*?)```", section[1], re.DOTALL)
    assert found
    return "".join(found)


def head(overlay: str) -> str:
    """The command in an overlay's first lines."""
    lines = (ROOT / "values" / overlay).read_text().splitlines()
    typed = [line.removeprefix("#   ") for line in lines if line.startswith("#   ")]
    assert typed[0].startswith("helm upgrade --install")
    return "\n".join(typed)


def with_image(text: str) -> str:
    return text.replace(OWN_IMAGE, engine_image(default_chart(), {}).rpartition(":")[0])


def of_notes(notes: str) -> Sequence[str]:
    """Its commands; those after a port-forward are for as long as that runs."""
    return re.findall(r"^  ((?:kubectl|helm|curl) .*)$", notes, re.MULTILINE)


async def test_readme_and_notes_lead_from_nothing_to_an_upgrade(shell: Shell) -> None:
    told = shell.type(with_image(blocks("Install")))
    assert "successfully rolled out" in told
    assert re.search(r"^Phase: +Succeeded", told, re.MULTILINE)
    shell.type(blocks("Upgrades"))
    assert "2" in shell.type("helm history windlass --max 1 --output yaml | grep revision")

    commands = list(of_notes(shell.type("helm get notes windlass")))
    assert {command.split()[0] for command in commands} == {"kubectl", "helm", "curl"}
    forwards = [place for place, command in enumerate(commands) if FORWARDED.search(command)]
    for command in commands[: forwards[0]]:
        shell.type(command)
    for begin, end in zip(forwards, [*forwards[1:], len(commands)], strict=True):
        answers = try_forwarded(shell, commands[begin], commands[begin + 1 : end])
        assert len(answers) == end - begin - 1 > 0
        assert all(answers)


def try_forwarded(shell: Shell, forward: str, commands: Sequence[str]) -> Sequence[str]:
    """The port is another one on this machine, where many may run."""
    found = FORWARDED.search(forward)
    assert found is not None
    ports = Ports()
    port = ports.take()
    try:
        with shell.left_running(forward.replace(f"{found[1]}:", f"{port}:")):
            return [
                shell.type(
                    command.replace("curl ", "curl -sSf ").replace(
                        f"localhost:{found[1]}", f"localhost:{port}"
                    )
                )
                for command in commands
            ]
    finally:
        ports.close()


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_an_overlay_installs_by_its_own_command(shell: Shell, overlay: str) -> None:
    shell.type("kubectl create secret generic windlass-db --from-file=dsn=./dsn.txt")
    shell.type(with_image(head(overlay)))
    assert "successfully rolled out" in shell.type(
        "kubectl rollout status deployment/windlass --timeout 180s"
    )
    assert shell.type("kubectl get deployment windlass -o jsonpath='{.status.readyReplicas}'") == "3"
