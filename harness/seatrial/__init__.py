"""The harness. What gRPC reads when it is loaded is set here, before any module can load it."""

import os

# Processes are started here all the time, each by a fork followed at once by an exec: that needs no support, with which
# a child may die before its exec, and the library's messages about it would disturb the progress.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
