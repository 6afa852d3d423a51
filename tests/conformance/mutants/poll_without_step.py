"""A job polled over gRPC does not say which step it is of; over REST it does."""

from __future__ import annotations

import mutation

from windlass import wire
from windlass.api import protobuf
from windlass.api.gen import workflow_pb2 as pb

complete = protobuf.write_job


def write_job(message: pb.Job, view: wire.JobView) -> None:
    complete(message, view)
    message.ClearField("step_id")


protobuf.write_job = write_job

if __name__ == "__main__":
    mutation.serve()
