"""Clients that write down every call they make and choose anew each time whom to ask, and how.

`request.py` says a call in the history's words, `rest.py` and `grpc.py` carry it, `answer.py` is what came of it,
and `recording.py` puts the three between an invoke and its end.
"""

from __future__ import annotations

from seatrial.client.answer import Answer, CallFailed, Job
from seatrial.client.recording import RecordingClient
from seatrial.client.transport import TRANSPORTS

__all__ = ["TRANSPORTS", "Answer", "CallFailed", "Job", "RecordingClient"]
