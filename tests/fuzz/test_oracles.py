"""Each oracle turns red at a planted fault: a door that answers wrong, an engine with one promise broken."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import grpc
import guided_run
import oracle
import pytest
from campaign import Campaign, Result
from case import Case, Surface
from faulty_door import FaultyDoor
from oracle import Broken, GrpcAnswer
from slow_clients import SlowClients
from socket_caller import exchange
from subject import Subject

import fuzz

HERE = Path(__file__).resolve().parent
CALL = Case("rest", "a call", b"GET /v1/definitions HTTP/1.1\r\n\r\n")
REFUSED = Case("rest", "no call", b"GET /v1/definitions HTTP/1.1\r\n\r\n", must_refuse=True)
SOON_S = 0.3
GOOD_BODY = b'{"error": "bad-request", "reason": "r", "message": "r"}'


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


WRONG_ANSWERS: Mapping[str, tuple[Case, bytes, str]] = {
    "500": (CALL, answer(500), "status"),
    "504": (CALL, answer(504), "status"),
    "a redirect": (CALL, answer(301), "status"),
    "accepted": (REFUSED, answer(200, b"{}"), "refused"),
    "no words": (CALL, answer(400), "error body"),
    "no JSON": (CALL, answer(404, b"<html>"), "error body"),
    "no message": (CALL, answer(400, b'{"error": "bad-request", "reason": "r"}'), "error body"),
    "two reasons": (CALL, answer(409, GOOD_BODY.replace(b'"r"', b'"s"', 1)), "error body"),
    "no answer": (CALL, b"", "every call answered"),
    "one of two": (Case("rest", "two", CALL.sent * 2, answers=2), answer(200, b"{}"), "every call answered"),
    "half an answer": (CALL, answer(200, b"{}")[:-1], "whole answers"),
    "more than answers": (CALL, answer(200, b"{}") + b"HTTP/2", "whole answers"),
}


@pytest.mark.parametrize("name", WRONG_ANSWERS)
def test_a_wrong_answer_is_seen(name: str) -> None:
    case, data, wanted = WRONG_ANSWERS[name]
    with FaultyDoor(data) as door:
        found = exchange(door.port, case.sent, answers=case.answers, within_s=5)
    with pytest.raises(Broken) as broken:
        oracle.judge_exchange(case, found)
    assert broken.value.oracle == wanted


@pytest.mark.parametrize("data", [b"", answer(200, b"{}", "Connection: close")], ids=["no answer", "no end"])
def test_a_door_that_leaves_its_caller_waiting_is_seen(data: bytes) -> None:
    with FaultyDoor(data, keeps_open=True) as door:
        found = exchange(door.port, CALL.sent, answers=1, within_s=SOON_S)
    with pytest.raises(Broken, match="in time"):
        oracle.judge_exchange(CALL, found)


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 431])
def test_a_right_refusal_passes(status: int) -> None:
    with FaultyDoor(answer(status, GOOD_BODY)) as door:
        found = exchange(door.port, REFUSED.sent, answers=1, within_s=5)
    assert oracle.judge_exchange(REFUSED, found) is False


@pytest.mark.parametrize(
    ("code", "details", "took_s", "wanted"),
    [
        (grpc.StatusCode.UNKNOWN, "boom", 0, "status"),
        (grpc.StatusCode.INTERNAL, "boom", 0, "status"),
        (grpc.StatusCode.UNAVAILABLE, "gone", 0, "status"),
        (grpc.StatusCode.OK, "", 0, "refused"),
        (grpc.StatusCode.INVALID_ARGUMENT, "", 0, "error body"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "late", 0, "in time"),
        (grpc.StatusCode.NOT_FOUND, "late", 60, "in time"),
    ],
)
def test_a_wrong_status_is_seen(code: grpc.StatusCode, details: str, took_s: float, wanted: str) -> None:
    case = Case("grpc", "no call", b"", must_refuse=True, method="/s/m")
    with pytest.raises(Broken) as broken:
        oracle.judge_call(case, GrpcAnswer(code, details, took_s))
    assert broken.value.oracle == wanted


def test_steady_growth_is_a_leak_and_a_warm_up_is_none() -> None:
    mib = 2**20
    oracle.judge_memory([(case, 60 * mib + min(case, 300) * mib // 4) for case in range(0, 4_000, 50)])
    oracle.judge_memory([(case, 60 * mib + (case % 100) * mib // 10) for case in range(0, 4_000, 50)])
    with pytest.raises(Broken, match="no growing process"):
        oracle.judge_memory([(case, 60 * mib + case * mib // 64) for case in range(0, 4_000, 50)])


def run_on(folder: Path, fault: str, surface: Surface, count: int) -> Result:
    command = shlex.join([sys.executable, str(HERE / "mutants/planted.py"), fault, "serve"])
    with Subject(folder, engine_command=command) as subject:
        return Campaign(subject, 1).run(surface, count)


@pytest.mark.slow
def test_a_row_that_a_refused_call_changed_is_seen_and_its_call_found(tmp_path: Path) -> None:
    result = run_on(tmp_path, "writes", "definition", 60)
    found = [finding for finding in result.findings if finding.oracle == "no changed row"]
    assert len(found) == 1
    assert "audit_log" in found[0].text
    assert found[0].case is not None
    assert found[0].case.surface == "definition"


@pytest.mark.slow
def test_a_process_that_grows_is_seen(tmp_path: Path) -> None:
    assert [finding.oracle for finding in run_on(tmp_path, "leaks", "rest", 250).findings] == [
        "no growing process"
    ]


@pytest.mark.slow
def test_an_error_in_the_log_is_seen(tmp_path: Path) -> None:
    assert [finding.oracle for finding in run_on(tmp_path, "complains", "rest", 200).findings] == [
        "quiet log"
    ]


@pytest.mark.slow
def test_an_engine_that_becomes_slow_is_seen(tmp_path: Path) -> None:
    assert "still serving" in [finding.oracle for finding in run_on(tmp_path, "tires", "rest", 150).findings]


async def test_a_caller_left_waiting_among_slow_ones_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slow_clients.WITHIN_S", SOON_S)
    with FaultyDoor(b"", keeps_open=True) as door:
        subject = object.__new__(Subject)
        subject.rest_port = subject.grpc_port = door.port
        clients = SlowClients(subject, 10)
        with pytest.raises(Broken, match="in time"):
            await clients.idle(1)
        await clients.close()


def test_an_input_that_breaks_a_reader_is_found() -> None:
    guided = guided_run.run("expression", 2_000, 1, HERE / "mutants/guided_planted.py")
    assert guided.finding is not None
    assert guided.finding.case is not None
    assert b"??" in guided.finding.case.sent
    assert "IndexError" in guided.finding.text


@pytest.mark.slow
def test_a_finding_is_made_small_kept_and_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command, on an engine that answers 500 to U+0000 and then on one that does not."""
    mutant = shlex.join([sys.executable, str(HERE / "mutants/planted.py"), "crashes", "serve"])
    arguments = ["--seed", "3", "--cases", "400", "--surface", "rest", "--findings", str(tmp_path)]
    assert fuzz.main([*arguments, "--engine-command", mutant]) == 1
    said = capsys.readouterr().out
    assert "seed 3" in said
    assert "rest: broken: status: answered 500" in said
    path = tmp_path / "rest-status.json"
    assert fuzz.main(["--replay", str(path), "--engine-command", mutant]) == 1
    assert "breaks it again" in capsys.readouterr().out
    assert fuzz.main(["--replay", str(path)]) == 0
    assert "nothing is broken" in capsys.readouterr().out
