"""The same wire over gRPC: a call by its name and fields, its status as it came."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from engine_on_trial import EngineOnTrial
from google.protobuf.struct_pb2 import Struct

from windlass.api.gen import workflow_pb2 as pb

SERVICE = "workflow.v1.WorkflowEngine"
CALL_TIMEOUT_S = 45.0


class GrpcClient:
    """Of one connection."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def begin(self, rpc: str, *, metadata: Any = None, **fields: Any) -> Any:
        """The call under way."""
        call = self._channel.unary_unary(
            f"/{SERVICE}/{rpc}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(pb, f"{rpc}Response").FromString,
        )
        return call(getattr(pb, f"{rpc}Request")(**fields), metadata=metadata, timeout=CALL_TIMEOUT_S)

    async def call(self, rpc: str, **fields: Any) -> Any:
        return await self.begin(rpc, **fields)

    async def refusal(self, rpc: str, **fields: Any) -> str:
        """The name of the status of a call that must not succeed; it says why."""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.call(rpc, **fields)
        assert refused.value.details(), refused.value
        return refused.value.code().name


@asynccontextmanager
async def dialled(engine: EngineOnTrial) -> AsyncIterator[GrpcClient]:
    (replica,) = engine.cluster.replicas()
    # A pool of connections of its own: another test's engine may have had the same port.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(str(replica.grpc_address), options=options) as channel:
        yield GrpcClient(channel)


def struct(**values: Any) -> Struct:
    made = Struct()
    made.update(values)
    return made
