"""A gRPC client without generated stubs: a call by its name, a request by its fields, a status as it came."""

from __future__ import annotations

from typing import Any

import grpc

from windlass.api.gen import workflow_pb2 as pb

SERVICE = "workflow.v1.WorkflowEngine"


class Dial:
    def __init__(self, port: int) -> None:
        self.channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{port}",
            # A pool of connections of its own: the next test's server may get the same port.
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)],
        )

    def begin(self, rpc: str, request: Any = None, *, metadata: Any = None, **fields: Any) -> Any:
        """The call under way; `request` may be bytes, for what no client would write."""
        if request is None:
            request = getattr(pb, f"{rpc}Request")(**fields)
        call = self.channel.unary_unary(
            f"/{SERVICE}/{rpc}",
            request_serializer=lambda it: it if isinstance(it, bytes) else it.SerializeToString(),
            response_deserializer=getattr(pb, f"{rpc}Response").FromString,
        )
        return call(request, metadata=metadata, timeout=20)

    async def call(self, rpc: str, request: Any = None, **fields: Any) -> Any:
        return await self.begin(rpc, request, **fields)

    async def refusal(self, rpc: str, request: Any = None, **fields: Any) -> tuple[str, str]:
        """Name and text of the status of a call that must not succeed."""
        try:
            answer = await self.call(rpc, request, **fields)
        except grpc.aio.AioRpcError as error:
            return error.code().name, error.details() or ""
        raise AssertionError(f"{rpc} was answered: {answer}")

    async def close(self) -> None:
        await self.channel.close()


def struct(**values: Any) -> Any:
    made = pb.StartInstanceRequest().variables
    made.update(values)
    return made
