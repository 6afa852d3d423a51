"""Each oracle turns red at a planted fault: a door that answers wrong, an engine with one promise broken."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import grpc
import guided_run
import oracle
import pressure
import pressure_bodies
import pressure_cases
import pytest
import strangers
from campaign import Campaign, Result
from case import Case, Surface
from faulty_door import FaultyDoor
from oracle import Broken, GrpcAnswer
from pressure_calls import Reply
from slow_clients import SlowClients
from socket_caller import exchange
from subject import Subject

import fuzz
from mutants import gate_planted

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


def test_a_peak_past_the_limit_is_seen_and_one_from_before_the_case_is_none() -> None:
    mib = 2**20
    oracle.judge_peak(511 * mib, 60 * mib, 512 * mib)
    oracle.judge_peak(600 * mib, 600 * mib, 512 * mib)
    oracle.judge_peak(0, 60 * mib, 512 * mib)
    with pytest.raises(Broken, match="513 MiB at its peak, 512 allowed; 60 before"):
        oracle.judge_peak(513 * mib, 60 * mib, 512 * mib)


def test_a_process_that_has_ended_is_seen() -> None:
    oracle.judge_ending(None, 2**29)
    with pytest.raises(Broken, match=r"still running.*512 MiB"):
        oracle.judge_ending("signal 9 ended the engine", 2**29)


def test_a_lease_that_nobody_heard_of_is_seen() -> None:
    oracle.judge_leases(held=7, heard=7, polls=200, lost_max=0)
    oracle.judge_leases(held=5, heard=7, polls=200, lost_max=0)
    oracle.judge_leases(held=8, heard=6, polls=200, lost_max=2)
    with pytest.raises(Broken, match="no lease without a holder: 8 leases after 200 polls"):
        oracle.judge_leases(held=8, heard=7, polls=200, lost_max=0)


def test_a_log_out_of_proportion_is_seen() -> None:
    oracle.judge_log_bytes(60_000, 1)
    oracle.judge_log_bytes(800_000, 500)
    with pytest.raises(Broken, match="short log: 1 calls wrote 80,000"):
        oracle.judge_log_bytes(80_000, 1)


def test_an_answer_that_leaves_its_caller_in_doubt_is_seen() -> None:
    known = pressure_bodies.TOO_MUCH
    pressure_bodies.judge_reply(Reply(503, GOOD_BODY, 0), known)
    pressure_bodies.judge_reply(Reply("OK", b"", 0), known)
    for reply, wanted in (
        (Reply(503, GOOD_BODY.replace(b"r", b"it may have happened"), 0), "in doubt"),
        (Reply(500, GOOD_BODY, 0), "status"),
        (Reply(0, b"", 0), "status"),
        (Reply(429, b"slower", 0), "error body"),
        (Reply("RESOURCE_EXHAUSTED", b"", 0), "error body"),
    ):
        with pytest.raises(Broken, match=wanted):
            pressure_bodies.judge_reply(reply, known)


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


GATE_FAULTS: Mapping[str, Surface] = {
    "role-not-asked-over-grpc": "strangers-grpc",
    "other-headers-count": "strangers-rest",
    "expired-is-good": "strangers-rest",
    "unsigned-is-good": "strangers-grpc",
    "public-key-is-secret": "strangers-rest",
    "audience-not-asked": "strangers-grpc",
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", GATE_FAULTS)
def test_a_faulty_gate_is_seen(fault: str, tmp_path: Path) -> None:
    assert {*GATE_FAULTS} == {*gate_planted.FAULTS}
    with strangers.subject(tmp_path, fault) as subject:
        result = Campaign(subject, 1).run(GATE_FAULTS[fault], 600)
    assert result.findings[0].oracle == "not let in"
    assert result.findings[0].case is not None


@pytest.mark.parametrize(
    ("status", "body", "by", "is_whole"),
    [
        (200, b"{}", "stranger", False),
        (201, b"{}", "powerless", True),
        (404, GOOD_BODY, "stranger", False),
        (400, GOOD_BODY, "stranger", True),
        (408, GOOD_BODY, "stranger", True),
        (409, GOOD_BODY, "powerless", False),
        (500, GOOD_BODY, "stranger", False),
        (401, GOOD_BODY, "stranger", True),
    ],
)
def test_an_answer_that_lets_a_stranger_in_is_seen(
    status: int, body: bytes, by: Literal["stranger", "powerless"], is_whole: bool
) -> None:
    case = dataclasses.replace(CALL, by=by, is_whole=is_whole, must_refuse=True)
    with FaultyDoor(answer(status, body)) as door:
        found = exchange(door.port, case.sent, answers=1, within_s=5)
    with pytest.raises(Broken, match="not let in"):
        oracle.judge_exchange(case, found)


@pytest.mark.parametrize(
    ("code", "is_whole"),
    [("OK", False), ("NOT_FOUND", False), ("UNIMPLEMENTED", True), ("INVALID_ARGUMENT", True)],
)
def test_a_call_that_lets_a_stranger_in_is_seen(code: str, is_whole: bool) -> None:
    case = Case("strangers-grpc", "x", b"", must_refuse=True, method="/s/m", by="stranger", is_whole=is_whole)
    with pytest.raises(Broken, match="not let in"):
        oracle.judge_call(case, GrpcAnswer(grpc.StatusCode[code], "x", 0))


PLANTED_UNDER_PRESSURE: Mapping[str, tuple[pressure_cases.Recipe, str]] = {
    "hoards": (pressure_cases.LargeAnswers("rest", "list", 1, 1, 1), "within memory"),
    "rambles": (pressure_cases.PipelinedUpgrades(2, "h2c", 0, 600), "quiet log"),
    "keeps": (pressure_cases.LargeAnswers("rest", "poll", 3, 1, 1), "no lease without a holder"),
    "overflows": (pressure_cases.Numbers("rest", "start", "9" * 309, ["array"]), "the range of a double"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", PLANTED_UNDER_PRESSURE)
def test_a_fault_under_pressure_is_seen(fault: str, tmp_path: Path) -> None:
    recipe, wanted = PLANTED_UNDER_PRESSURE[fault]
    command = shlex.join([sys.executable, str(HERE / "mutants/planted.py"), fault, "serve"])
    with Subject(tmp_path, engine_command=command, **pressure.VARIABLES) as subject:
        case = pressure_cases.case_of(surface_of(recipe), fault, recipe)
        found = Campaign(subject, 1).replay(case).findings
    # A limit that the machine enforces ends the process before its peak can be read.
    seen = {"still running": "within memory"}
    assert wanted in [seen.get(finding.oracle, finding.oracle) for finding in found]


def surface_of(recipe: pressure_cases.Recipe) -> Surface:
    match recipe:
        case pressure_cases.LargeAnswers():
            return "large-answers"
        case pressure_cases.PipelinedUpgrades():
            return "pipelined-upgrades"
        case _:
            return "numbers"


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
