"""Health over gRPC (grpc.health.v1), by the library's own service. It is open to all, and its messages are read within
the memory budget: the library would read as many large ones as callers like, and keep the names of those who watch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2

from windlass.api import faults
from windlass.api.message_room import MessageRoom, MessageRooms
from windlass.errors import BadRequest, EngineError

NAME_BYTES_MAX = 1024
"""Of the message, which has the name of a service."""


class HealthCalls:
    """`service` is what tells the state."""

    def __init__(self, rooms: MessageRooms) -> None:
        self.service = health.aio.HealthServicer()
        self._rooms = rooms

    def handler(self) -> Any:
        answer = health_pb2.HealthCheckResponse.SerializeToString
        # As streams of one message, as the API's own calls are.
        handlers: dict[str, Any] = {
            "Check": grpc.stream_unary_rpc_method_handler(self._check, response_serializer=answer),
            "Watch": grpc.stream_stream_rpc_method_handler(self._watch, response_serializer=answer),
        }
        return grpc.method_handlers_generic_handler(health.SERVICE_NAME, handlers)

    async def _check(self, messages: Any, context: Any) -> Any:  # noqa: ARG002 - the library's signature
        return await self._served(self.service.Check, context)

    async def _watch(self, messages: Any, context: Any) -> Any:  # noqa: ARG002
        return await self._served(self.service.Watch, context)

    async def _served(self, serve: Callable[..., Awaitable[Any]], context: Any) -> Any:
        asked = await self._asked(context)
        try:
            if isinstance(asked, EngineError):
                status, text = faults.grpc_answer(asked)
                await context.abort(grpc.StatusCode[status], text)
            return await serve(asked, context)
        except grpc.aio.AbortError as error:
            # As in `GrpcApp`: what was received would stay until the garbage collector comes by.
            error.__traceback__ = None
            del context, asked
            raise

    async def _asked(self, context: Any) -> health_pb2.HealthCheckRequest | EngineError:
        # Nothing is drawn for what comes at once: probes are answered also when there is no room.
        room = MessageRoom(self._rooms, first_bytes=0)
        try:
            message = await room.read(context)
            if not isinstance(message, bytes) or len(message) > NAME_BYTES_MAX:
                return BadRequest(f"send one message, of at most {NAME_BYTES_MAX} bytes")
            return health_pb2.HealthCheckRequest.FromString(message)
        except DecodeError:
            return BadRequest("the message is not a readable HealthCheckRequest")
        except EngineError as error:
            return error.with_traceback(None)
        finally:
            room.close()
