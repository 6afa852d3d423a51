"""Contract 8.4 and 1.3: one JSON object a line, under the names operators search for."""

from __future__ import annotations

import re
import secrets

import pytest
from engine_client import EngineClient
from engine_on_trial import REPLICA, EngineOnTrial, StartEngine, log_lines
from workflow import END, Json, service, timer, user_task, wait

from patience import eventually
from seatrial.cluster.ability import Logs

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def logged(on_trial: EngineOnTrial, **attributes: object) -> Json:
    """The one line with these attributes, waited for: lines leave a moment after the answer."""
    (line,) = await eventually(lambda: on_trial.log(**attributes))
    return line


async def test_every_line_is_an_object_with_time_level_and_msg(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    await engine.get("/v1/instances/ghost")
    lines = on_trial.log()
    assert lines
    for line in lines:
        assert TIME.fullmatch(line["time"])
        assert line["level"] in {"DEBUG", "INFO", "WARN", "ERROR"}
        assert line["msg"]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)


async def test_the_boot_tells_its_stages_in_order(start_engine: StartEngine) -> None:
    booted = await start_engine()
    lines = booted.log()
    assert [line["msg"] for line in lines if line["msg"].startswith("engine: ")] == [
        "engine: starting",
        "engine: database connected",
        "engine: dispatch runtime ready",
        "engine: metrics listening",
        "engine: gRPC listening",
        "engine: REST listening",
    ]
    assert lines[0]["msg"] == "engine: starting"
    assert {"rest_port", "grpc_port", "metrics_port"} <= set(lines[0])
    ready = booted.log(msg="engine: dispatch runtime ready")[0]
    assert (ready["level"], ready["mode"]) == ("INFO", "polling")
    url = booted.client.rest_url
    assert booted.log(msg="engine: REST listening")[0]["addr"] == f":{url.rsplit(':', 1)[1]}"


async def test_a_step_s_entry_is_told(engine: EngineClient, on_trial: EngineOnTrial) -> None:
    workflow = await engine.define(service("a"), END)
    instance = await workflow.start()
    line = await logged(on_trial, msg="step dispatched", instance_id=instance["id"])
    (step,) = await engine.history(instance)
    assert line == {
        "time": line["time"],
        "level": "INFO",
        "msg": "step dispatched",
        "instance_id": instance["id"],
        "definition_id": workflow.id,
        "definition_version": 1,
        "step_id": "a",
        "step_type": "SERVICE_TASK",
        "step_execution_id": step["id"],
        "attempt": 1,
    }


async def test_a_call_is_told_by_its_pattern(engine: EngineClient, on_trial: EngineOnTrial) -> None:
    mark = secrets.token_hex(8)
    await engine.call("GET", "/v1/instances/ghost", headers={"X-Real-IP": mark})
    line = await logged(on_trial, msg="rest request", remote=mark)
    duration_ns = line["duration"]
    assert isinstance(duration_ns, int)
    assert 0 < duration_ns < 60e9
    assert {key: line[key] for key in ("level", "method", "path", "status")} == {
        "level": "WARN",
        "method": "GET",
        "path": "/v1/instances/{id}",
        "status": 404,
    }
    assert line["bytes"] > 0


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"True-Client-IP": "{}", "X-Real-IP": "b", "X-Forwarded-For": "c"}, "{}"),
        ({"X-Real-IP": "{}", "X-Forwarded-For": "c"}, "{}"),
        ({"X-Forwarded-For": "{}, 10.0.0.1, 10.0.0.2"}, "{}"),
    ],
)
async def test_the_caller_s_address_is_the_first_one_told(
    engine: EngineClient, on_trial: EngineOnTrial, headers: dict[str, str], wanted: str
) -> None:
    mark = secrets.token_hex(8)
    await engine.call("GET", "/v1/definitions", headers={k: v.format(mark) for k, v in headers.items()})
    line = await logged(on_trial, msg="rest request", remote=wanted.format(mark))
    assert line["level"] == "INFO"


async def test_without_such_a_header_it_is_the_socket_s(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    trace = f"{TRACE}-{secrets.token_hex(4)}"
    await engine.call("GET", "/v1/definitions", headers={"traceparent": trace})
    line = await logged(on_trial, msg="rest request", traceparent=trace)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", line["remote"])


async def test_polls_are_told_only_when_refused(engine: EngineClient, on_trial: EngineOnTrial) -> None:
    mark = secrets.token_hex(8)
    for body in (
        b'{"workerId": "w", "jobTypes": ["none"]}',
        b"{}",
        b'{"workerId": "w", "jobTypes": ["none"]}',
    ):
        await engine.call("POST", "/v1/jobs/poll", body, {"X-Real-IP": mark})
    line = await logged(on_trial, msg="rest request", remote=mark)
    assert (line["path"], line["status"], line["level"]) == ("/v1/jobs/poll", 400, "WARN")


async def test_preflights_are_not_told(engine: EngineClient, on_trial: EngineOnTrial) -> None:
    mark = secrets.token_hex(8)
    headers = {"X-Real-IP": mark, "Origin": "x", "Access-Control-Request-Method": "POST"}
    await engine.call("OPTIONS", "/v1/instances", headers=headers)
    await engine.call("GET", "/v1/definitions", headers={"X-Real-IP": mark})
    line = await logged(on_trial, msg="rest request", remote=mark)
    assert line["method"] == "GET"


async def both_lines(on_trial: EngineOnTrial, trace: str) -> dict[str, Json]:
    """A call's own line and that of what it did, by `msg`."""
    await eventually(lambda: len(on_trial.log(traceparent=trace)) == 2)
    return {line["msg"]: line for line in on_trial.log(traceparent=trace)}


async def test_every_line_of_a_call_bears_its_traceparent(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    """Also those of the transaction that many calls share."""
    workflow = await engine.define(service("a", "u"), user_task("u", "w"), wait("w", "b"), service("b"), END)
    trace = {name: f"{TRACE}-{secrets.token_hex(4)}" for name in ("start", "a", "u", "w", "b")}
    started = await engine.post("/v1/instances", {"definitionId": workflow.id}, traceparent=trace["start"])
    instance = started.json
    job = await workflow.lease_one("a")
    await engine.post(f"/v1/jobs/{job['id']}/complete", {"workerId": "w"}, traceparent=trace["a"])
    path = f"/v1/instances/{instance['id']}"
    await engine.post(f"{path}/user-tasks/u/complete", traceparent=trace["u"])
    await engine.post(f"{path}/signals/w", traceparent=trace["w"])
    job = await workflow.lease_one("b", "holder")
    await engine.post(f"/v1/jobs/{job['id']}/fail", {"workerId": "thief"}, traceparent=trace["b"])
    for name, msg, step_id in (
        ("start", "step dispatched", "a"),
        ("a", "step dispatched", "u"),
        ("u", "step dispatched", "w"),
        ("w", "step dispatched", "b"),
        ("b", "job: stale fail ignored", None),
    ):
        lines = await both_lines(on_trial, trace[name])
        assert set(lines) == {msg, "rest request"}
        assert lines[msg].get("step_id") == step_id


async def test_the_sweepers_tell_what_they_did(engine: EngineClient, on_trial: EngineOnTrial) -> None:
    workflow = await engine.define(
        user_task("p", "a", boundaryEvents=[timer("PT0.1S", "a", interrupting=True)]), service("a"), END
    )
    instance = await workflow.start()
    fired = await logged(on_trial, msg="timer sweeper: fired boundary event", instance_id=instance["id"])
    assert (fired["level"], fired["target_step_id"], fired["interrupting"]) == ("INFO", "a", True)
    assert fired["event_id"]
    before = sum(line["count"] for line in on_trial.log(msg="lease sweeper: reclaimed expired jobs"))
    await workflow.lease_one("a", leaseSeconds=1)

    def reclaimed() -> bool:
        lines = on_trial.log(msg="lease sweeper: reclaimed expired jobs", level="INFO")
        return bool(sum(line["count"] for line in lines) > before)

    await eventually(reclaimed)


async def test_a_stale_fail_is_told(engine: EngineClient, on_trial: EngineOnTrial) -> None:
    workflow = await engine.define(service("a"), END)
    await workflow.start()
    job = await workflow.lease_one("a", "holder")
    await engine.fail(job, "thief")
    line = await logged(on_trial, job_id=job["id"])
    assert (line["level"], line["worker_id"]) == ("WARN", "thief")


async def test_debug_shows_transactions_and_warn_hides_calls(start_engine: StartEngine) -> None:
    loud = await start_engine(values={"engine": {"logLevel": "debug"}})
    quiet = await start_engine(values={"engine": {"logLevel": "warn"}})
    for engine in (loud, quiet):
        workflow = await engine.client.define(wait("w"), END)
        await workflow.start()
        await engine.client.get("/v1/instances/ghost")
    line = (await eventually(lambda: loud.log(msg="engine tx")))[0]
    assert (line["level"], line["tx_type"]) == ("DEBUG", "instance.start")
    assert line["duration"] > 0
    await eventually(lambda: quiet.log(msg="rest request", status=404))
    assert {line["level"] for line in quiet.log()} == {"WARN"}


async def test_polling_names_no_broker_and_no_line_the_password(
    engine: EngineClient, on_trial: EngineOnTrial
) -> None:
    workflow = await engine.define(service("a"), END)
    await workflow.start()
    await workflow.work_off("a")
    await eventually(lambda: on_trial.log(msg="step dispatched", definition_id=workflow.id, step_id="end"))
    text = on_trial.cluster.ability(Logs).log_path(REPLICA).read_text()
    assert log_lines(text)
    assert "kafka" not in text.lower()
    assert on_trial.secret not in text
