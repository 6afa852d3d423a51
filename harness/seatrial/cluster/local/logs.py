"""Logs: what each replica's process wrote."""

from __future__ import annotations

from pathlib import Path

from seatrial.cluster.ability import Logs
from seatrial.cluster.local.replicas import Replicas


class LocalLogs(Logs):
    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    def log_path(self, replica: str) -> Path:
        return self._replicas.named(replica).process.log_path

    def run_began_at(self, replica: str) -> int:
        return self._replicas.named(replica).process.run_began_at
