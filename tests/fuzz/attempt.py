"""One case, carried out on each surface: sent, and every answer to it judged."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Self
from zlib import crc32

import grpc
import pressure
import pressure_cases
from case import Case, Surface
from oracle import ACCEPTED, ANSWER_WITHIN_S, Broken, GrpcAnswer, judge_call, judge_exchange
from rest_cases import request
from socket_caller import Answer, exchange
from subject import Subject

#: Frames get no answer of a form we know; the door is given this long to say what it wants.
FRAMES_WITHIN_S = 0.05
#: Expressions are spread over so many definitions: each upload is compared with all versions of its own.
EXPRESSION_DEFINITIONS = 64


class Attempts:
    """`with Attempts(subject)`: calls go over fresh sockets, and over one gRPC channel."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._channel: Any = None
        self._by_surface: Mapping[Surface, Callable[[Case], bool]] = {
            "rest": self._rest,
            "grpc": self._grpc,
            "strangers-rest": self._rest,
            "strangers-grpc": self._grpc,
            "definition": self._definition,
            "expression": self._expression,
            **dict.fromkeys(pressure_cases.STRATEGIES, self._pressure),
        }

    def __enter__(self) -> Self:
        self._channel = grpc.insecure_channel(
            f"127.0.0.1:{self._subject.grpc_port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def make(self, case: Case) -> bool:
        """Whether it was accepted. Raises Broken when an answer is not as promised, or the engine takes no call."""
        try:
            return self._by_surface[case.surface](case)
        except OSError as error:
            raise Broken("takes calls", f"no connection to the engine: {error}") from error

    def _rest(self, case: Case) -> bool:
        port = self._subject.rest_port
        return judge_exchange(case, exchange(port, case.sent, answers=case.answers, within_s=ANSWER_WITHIN_S))

    def _grpc(self, case: Case) -> bool:
        if not case.method:
            return self._frames(case)
        began_s = time.monotonic()
        call = self._channel.unary_unary(case.method)
        try:
            call(case.sent, metadata=case.metadata, timeout=ANSWER_WITHIN_S, wait_for_ready=True)
            code, details = grpc.StatusCode.OK, ""
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
        return judge_call(case, GrpcAnswer(code, details, time.monotonic() - began_s))

    def _frames(self, case: Case) -> bool:
        with socket.create_connection(("127.0.0.1", self._subject.grpc_port), ANSWER_WITHIN_S) as connection:
            connection.settimeout(FRAMES_WITHIN_S)
            with contextlib.suppress(OSError):
                connection.sendall(case.sent)
                while connection.recv(65536):
                    pass
        return False

    def _pressure(self, case: Case) -> bool:
        """Whatever became of its calls, its rows are gone."""
        pressure.carry_out(case, self._subject)
        return True

    def _definition(self, case: Case) -> bool:
        """A document that is stored can be read again and started."""
        answer = self._post(case, b"/v1/definitions", case.sent, must_refuse=case.must_refuse)
        if answer.status not in ACCEPTED:
            return False
        id = answer.json["id"]
        stored = self._call(case, request(b"GET", f"/v1/definitions/{id}".encode()))
        if stored.status != 200:
            raise Broken(
                "what is stored can be read", f"GET of {id} answered {stored.status}: {stored.body[:300]!r}"
            )
        body = json.dumps({"definitionId": id, "definitionVersion": answer.json["version"]}).encode()
        started = self._post(case, b"/v1/instances", body)
        if started.status != 201:
            raise Broken(
                "what is stored can be started", f"answered {started.status}: {started.body[:300]!r}"
            )
        self._call(case, request(b"GET", f"/v1/instances/{started.json['id']}".encode()))
        self._post(case, f"/v1/instances/{started.json['id']}/cancel".encode(), b"")
        return True

    def _expression(self, case: Case) -> bool:
        """In a transformation, or as a decision's branch; accepted means that it had a value."""
        text = case.sent.decode("utf-8", "surrogatepass")
        number = crc32(case.sent)
        step = (
            {"type": "DECISION", "conditionalNextSteps": {text: "end", "true": "end"}}
            if number % 2
            else {"type": "TRANSFORMATION", "transformations": {"x": "${" + text + "}"}, "nextStep": "end"}
        )
        id = f"fuzz-expression-{number % EXPRESSION_DEFINITIONS}"
        steps = [{"id": "first", "name": "f", **step}, {"id": "end", "name": "e", "type": "END"}]
        uploaded = self._post(
            case, b"/v1/definitions", json.dumps({"id": id, "name": "x", "steps": steps}).encode()
        )
        if uploaded.status != 201:
            return False
        told = {"definitionId": id, "definitionVersion": uploaded.json["version"]}
        body = json.dumps(told).encode()[:-1] + b',"variables":' + case.variables.encode() + b"}"
        started = self._post(case, b"/v1/instances", body)
        if started.status != 201:
            return False
        instance = started.json
        if instance["status"] not in {"COMPLETED", "FAILED"}:
            raise Broken("an expression ends", f"the instance is {instance['status']}")
        if instance["status"] == "FAILED" and not instance.get("failureReason"):
            raise Broken("error body", "the instance failed without a reason")
        return bool(instance["status"] == "COMPLETED")

    def _post(self, case: Case, path: bytes, body: bytes, *, must_refuse: bool = False) -> Answer:
        return self._call(case, request(b"POST", path, body), must_refuse=must_refuse)

    def _call(self, case: Case, data: bytes, *, must_refuse: bool = False) -> Answer:
        call = Case("rest", case.kind, data, must_refuse=must_refuse)
        found = exchange(self._subject.rest_port, data, answers=1, within_s=ANSWER_WITHIN_S)
        judge_exchange(call, found)
        return found.answers[0]
