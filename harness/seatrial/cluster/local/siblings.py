"""Siblings and Commands: other installations on the same server, and the chart's program with other arguments."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from seatrial.cluster import Cluster, ClusterError, ClusterSpec
from seatrial.cluster.ability import Commands, Siblings
from seatrial.cluster.local.launch import Launcher
from seatrial.cluster.local.replicas import Replicas

_OUTPUT_CHARACTERS_MAX = 1000


class LocalSiblings(Siblings):
    """`make` builds a cluster with the same server, broker and chart."""

    def __init__(self, spec: ClusterSpec, make: Callable[[ClusterSpec], Cluster]) -> None:
        self._spec = spec
        self._make = make

    def sibling(self, folder: Path, *, replicas: int, values: Mapping[str, object]) -> Cluster:
        return self._make(dataclasses.replace(self._spec, replicas=replicas, values=values, folder=folder))


class LocalCommands(Commands):
    def __init__(self, replicas: Replicas, launcher: Launcher) -> None:
        self._replicas = replicas
        self._launcher = launcher

    async def run_command(self, replica: str, *words: str) -> None:
        """Always the chart's program: an engine command does not tell how to pass other arguments."""
        container = self._replicas.named(replica).container
        env = self._launcher.base_env()
        program = shutil.which(container.command[0], path=env["PATH"])
        command = [program or container.command[0], *words]
        ran = await asyncio.create_subprocess_exec(
            *command,
            env={**env, **container.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await ran.communicate()
        if ran.returncode:
            text = self._launcher.without_secret(output.decode(errors="replace"))[-_OUTPUT_CHARACTERS_MAX:]
            raise ClusterError(f"{' '.join(command)} exited with {ran.returncode}: {text}")
