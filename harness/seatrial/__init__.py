"""Seatrial tests a deployment of a workflow engine: load, faults, and a verdict job by job."""

import os

# gRPC's library reads these when it is loaded, whoever loads it first. Processes are started here all the time, each by
# a fork followed at once by an exec: that needs no support, and its messages about it would disturb the progress.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
