"""Clients that record every call, and choose a replica and a transport at random for each.

`request.py` describes a call as the history records it, `rest.py` and `grpc.py` send it, `answer.py` is its result,
and `recording.py` writes the lines of the history around it.
"""

from __future__ import annotations

from seatrial.client.answer import Answer, CallFailed, Job
from seatrial.client.recording import RecordingClient
from seatrial.client.transport import TRANSPORTS

__all__ = ["TRANSPORTS", "Answer", "CallFailed", "Job", "RecordingClient"]
