"""Tokens against a whole node on a real database: the table "call x role" cell by cell over both transports, what a
token is limited to, who is in the audit log, and rotation without a restart.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import msgspec
import pytest
import pytest_asyncio
from nodes import END, Boot, Running, service

from patience import eventually
from windlass.api.gen import workflow_pb2 as pb
from windlass.auth.calls import CALLS, Call
from windlass.auth.principal import Role
from windlass.auth.tokens import line_of
from windlass_client import Client, Forbidden, Job, NotFound, Unauthenticated

SERVICE = "workflow.v1.WorkflowEngine"
pytestmark = pytest.mark.asyncio(loop_scope="session")


def line(name: str, role: Role, **limits: Sequence[str]) -> str:
    """The token is the name."""
    return line_of(
        name, role, name, job_types=limits.get("job_types", ()), definitions=limits.get("definitions", ())
    )


LINES = (
    *(line(role, role) for role in Role),
    line("only-a", Role.WORKER, job_types=["do-a"]),
    line("only-b", Role.WORKER, job_types=["do-b"]),
    line("only-d", Role.CLIENT, definitions=["d"]),
    line("uploads-d", Role.OPERATOR, definitions=["d"]),
)


class Guarded:
    """A node with tokens, and its addresses."""

    def __init__(self, running: Running, file: Path) -> None:
        self.running, self.file = running, file
        node = running.node
        assert node.grpc is not None
        self.rest = f"http://127.0.0.1:{node.rest.port}"
        self.metrics = f"http://127.0.0.1:{node.metrics_app.port}"
        self.grpc = f"127.0.0.1:{node.grpc.port}"

    def client(self, transport: str, token: str | None) -> Client:
        return Client(self.rest if transport == "rest" else f"grpc://{self.grpc}", token=token, retry_for_s=0)


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(boot: Boot, tmp_path: Path) -> AsyncIterator[Guarded]:
    file = tmp_path / "tokens.toml"
    file.write_text("\n".join(LINES))
    yield Guarded(await boot(WINDLASS_TOKENS_FILE=str(file), WINDLASS_METRICS_TOKENS="true"), file)


def expected(call: Call, role: Role | None) -> str:
    if call.roles is None:
        return "served"
    if role is None:
        return "unknown"
    return "served" if role in call.roles else "refused"


async def over_rest(session: aiohttp.ClientSession, guarded: Guarded, name: str, role: Role | None) -> str:
    method, pattern = name.split(" ")
    address = guarded.metrics if pattern.startswith("/metrics") else guarded.rest
    headers = {} if role is None else {"Authorization": f"Bearer {role}"}
    path = re.sub(r"\{\w+\}", "1", pattern)
    async with session.request(method, address + path, headers=headers) as answer:
        return {401: "unknown", 403: "refused"}.get(answer.status, "served")


async def over_grpc(channel: grpc.aio.Channel, rpc: str, role: Role | None) -> str:
    if rpc == "grpc.health.v1.Health":
        method, request = "/grpc.health.v1.Health/Check", b""
    else:
        method, request = f"/{SERVICE}/{rpc}", getattr(pb, f"{rpc}Request")().SerializeToString()
    metadata = None if role is None else (("authorization", f"Bearer {role}"),)
    call: Any = channel.unary_unary(method)
    try:
        await call(request, metadata=metadata, timeout=20)
    except grpc.aio.AioRpcError as error:
        refusals = {"UNAUTHENTICATED": "unknown", "PERMISSION_DENIED": "refused"}
        return refusals.get(error.code().name, "served")
    return "served"


async def test_every_cell_of_the_table_holds_over_rest(guarded: Guarded) -> None:
    wrong, cells = [], 0
    async with aiohttp.ClientSession() as session:
        for call in CALLS:
            for name in call.rest:
                for role in (None, *Role):
                    cells += 1
                    found = await over_rest(session, guarded, name, role)
                    if found != expected(call, role):
                        wrong.append(f"{name} by {role}: {found}, not {expected(call, role)}")
    assert wrong == []
    assert cells >= 180


async def test_every_cell_of_the_table_holds_over_grpc(guarded: Guarded) -> None:
    wrong, cells = [], 0
    async with grpc.aio.insecure_channel(guarded.grpc) as channel:
        for call in CALLS:
            for rpc in call.rpcs:
                for role in (None, *Role):
                    cells += 1
                    found = await over_grpc(channel, rpc, role)
                    if found != expected(call, role):
                        wrong.append(f"{rpc} by {role}: {found}, not {expected(call, role)}")
    assert wrong == []
    assert cells >= 80
    served = {method.name for method in pb.DESCRIPTOR.services_by_name["WorkflowEngine"].methods}
    assert served <= {rpc for call in CALLS for rpc in call.rpcs}


async def refused(guarded: Guarded, reason: str) -> int:
    """As the metric counts it."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Bearer metrics"}) as session,
        session.get(f"{guarded.metrics}/metrics") as answer,
    ):
        name = f'windlass_auth_refused_total{{reason="{reason}"}}'
        [line] = [each for each in (await answer.text()).splitlines() if each.startswith(name)]
        return int(float(line.rpartition(" ")[2]))


both = pytest.mark.parametrize("transport", ["rest", "grpc"])


@both
async def test_a_worker_s_job_types_bound_what_it_polls_completes_and_fails(
    guarded: Guarded, transport: str
) -> None:
    running = guarded.running
    await running.define(service("a", "b"), service("b", "end"), END)
    await running.start()
    async with guarded.client(transport, "only-a") as limited, guarded.client(transport, "worker") as free:
        for job_types in (["do-b"], ["do-a", "do-b"]):
            with pytest.raises(
                Forbidden, match=r"'only-a' may not poll jobs of type 'do-b'; its job types are 'do-a'"
            ):
                await limited.poll("w", job_types)
        [job] = await limited.poll("w", ["do-a"])
        await limited.complete(job)
        # It guesses the id of a job that nobody has polled, and of one that another worker holds under the same name.
        [row] = await running.rows("SELECT id FROM job WHERE job_type = 'do-b'")
        guessed = msgspec.structs.replace(job, id=row["id"], lease_token="")
        for _ in range(2):
            with pytest.raises(Forbidden, match="'only-a' may not complete or fail jobs of type 'do-b'"):
                await limited.complete(guessed)
            with pytest.raises(Forbidden, match="'only-a' may not complete or fail jobs of type 'do-b'"):
                await limited.fail(guessed, "no", retryable=True)
            held = await free.poll("w", ["do-b"])
        assert held == []
        states = await running.rows("SELECT status, retries_remaining FROM job WHERE job_type = 'do-b'")
        assert [(state["status"], state["retries_remaining"]) for state in states] == [("LOCKED", 0)]
        with pytest.raises(NotFound):
            await limited.complete(msgspec.structs.replace(job, id="nothing"))
        assert await refused(guarded, "job_type") == 6
    if transport == "rest":
        async with guarded.client(transport, "only-a") as limited:
            await limited.register_worker("w", ["do-a"])
            with pytest.raises(Forbidden, match="may not register for jobs of type 'do-b'"):
                await limited.register_worker("w", ["do-b"])


@both
async def test_who_guesses_the_id_of_an_unpolled_job_needs_a_token_of_its_type(
    guarded: Guarded, transport: str
) -> None:
    running = guarded.running
    await running.define(service("a", "end"), END)

    async def unpolled() -> Job:
        instance = await running.start()
        [row] = await running.rows("SELECT id FROM job WHERE instance_id = $1", instance.id)
        return Job(
            id=row["id"],
            instance_id=instance.id,
            step_id="a",
            step_execution_id="",
            job_type="do-a",
            retries_remaining=0,
            variables={},
            lock_expires_at=datetime.now(UTC),
            lease_token="",
            worker_id="guesser",
        )

    async def state(job: Job) -> tuple[str, str]:
        [row] = await running.rows("SELECT status, instance_id FROM job WHERE id = $1", job.id)
        return row["status"], (await running.engine.get_instance(row["instance_id"])).status

    job = await unpolled()
    for token in ("only-b", "client", "operator", "metrics", "only-d"):
        async with guarded.client(transport, token) as other:
            with pytest.raises(Forbidden, match="may not complete"):
                await other.complete(job)
            with pytest.raises(Forbidden, match=r"may not (complete or )?fail"):
                await other.fail(job, "stolen", retryable=False)
    for nobody in (None, "guess"):
        async with guarded.client(transport, nobody) as stranger:
            with pytest.raises(Unauthenticated):
                await stranger.complete(job)
    assert await state(job) == ("UNLOCKED", "ACTIVE")
    # Of its type: one that is limited to it, and one that has no limit.
    for token in ("only-a", "worker"):
        async with guarded.client(transport, token) as own:
            job = await unpolled()
            await own.complete(job)
            assert await state(job) == ("COMPLETED", "COMPLETED")


async def test_a_registration_belongs_to_the_principal_that_made_it(guarded: Guarded) -> None:
    running = guarded.running

    async def owner() -> str | None:
        [row] = await running.rows("SELECT principal FROM windlass_worker WHERE id = 'w'")
        name: str | None = row["principal"]
        return name

    async with aiohttp.ClientSession() as session:

        async def call(token: str, method: str, path: str = "", **body: Any) -> int:
            async with session.request(
                method,
                f"{guarded.rest}/v1/workers{path}",
                json=body or None,
                headers={"Authorization": f"Bearer {token}"},
            ) as answer:
                text = await answer.text()
                if answer.status == 403:
                    assert "worker w was registered with another token" in text
                return answer.status

        mine: dict[str, Any] = {"id": "w", "jobTypes": ["do-a"], "heartbeatSeconds": 60}
        assert await call("worker", "POST", **mine) == 201
        for _ in range(2):
            assert await call("only-a", "POST", **mine) == 403
            assert await call("only-a", "POST", "/w/heartbeat") == 403
            assert await call("only-a", "DELETE", "/w") == 403
        assert await refused(guarded, "registration") == 6
        assert await owner() == "worker"
        assert await call("only-a", "POST", "/other/heartbeat") == 404
        assert await call("worker", "POST", "/w/heartbeat") == 204
        assert await call("worker", "POST", **mine) == 200
        # An admin may, and a heartbeat of its own does not make it the owner.
        assert await call("admin", "POST", "/w/heartbeat") == 204
        assert await owner() == "worker"
        assert await call("admin", "DELETE", "/w") == 204
        assert await call("only-a", "POST", **mine) == 201
        # One that is gone may be taken over, as after a rotation that brought a new name.
        await running.rows("UPDATE windlass_worker SET last_seen_at = clock_timestamp() - interval '179 s'")
        assert await call("worker", "POST", **mine) == 403
        await running.rows("UPDATE windlass_worker SET last_seen_at = clock_timestamp() - interval '181 s'")
        assert await call("worker", "POST", **mine) == 200
        assert await owner() == "worker"
        # One from before authentication was on is whose is first.
        await running.rows("UPDATE windlass_worker SET principal = NULL")
        assert await call("only-a", "POST", "/w/heartbeat") == 204
        assert await call("only-a", "POST", **mine) == 200
        assert await owner() == "only-a"


@both
async def test_a_client_s_definitions_bound_what_it_starts_reads_and_changes(
    guarded: Guarded, transport: str
) -> None:
    running = guarded.running
    wait = {"id": "wait", "name": "wait", "type": "WAIT", "nextStep": "end"}
    for id_ in ("d", "other"):
        await running.define(wait, END, id_=id_)
    foreign = await running.start("other")
    async with guarded.client(transport, "only-d") as limited:
        own = await limited.start("d")
        assert (await limited.get(own.id)).definition_id == "d"
        await limited.history(own.id)
        for call in (
            limited.start("other"),
            limited.start("no-such"),
            limited.get(foreign.id),
            limited.history(foreign.id),
            limited.cancel(foreign.id),
            limited.signal(foreign.id, "wait"),
            limited.complete_user_task(foreign.id, "wait"),
        ):
            with pytest.raises(Forbidden, match=r"'only-d' may not .* of definition"):
                await call
        assert await refused(guarded, "definition") == 7
        assert (await running.engine.get_instance(foreign.id)).status == "WAITING"
        await limited.signal(own.id, "wait")
        assert (await limited.wait_for_end(own.id, timeout_s=20)).status == "COMPLETED"
    document = {"name": "x", "steps": [{"id": "end", "name": "end", "type": "END"}]}
    async with guarded.client(transport, "uploads-d") as operator:
        await operator.upload({"id": "d", **document})
        with pytest.raises(Forbidden, match="may not upload versions of definition 'other'"):
            await operator.upload({"id": "other", **document})
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer only-d"}) as session:
        for path, status in (
            ("/v1/definitions/d", 200),
            ("/v1/definitions/other", 403),
            ("/v1/instances", 403),
            ("/v1/instances?definitionId=other", 403),
            ("/v1/instances?definitionId=d", 200),
        ):
            async with session.get(guarded.rest + path) as answer:
                assert answer.status == status, path
        async with session.get(f"{guarded.rest}/v1/definitions") as answer:
            page = await answer.json()
            assert ([item["id"] for item in page["items"]], page["total"]) == (["d"], 1)


@both
async def test_the_principal_is_the_actor_and_the_worker_id_stays_what_it_is(
    guarded: Guarded, transport: str
) -> None:
    running = guarded.running
    async with guarded.client(transport, "operator") as operator:
        await operator.upload(
            {
                "id": "d",
                "name": "d",
                "steps": [
                    {**service("a", "ask"), "retryCount": 1},
                    {"id": "ask", "name": "ask", "type": "USER_TASK", "nextStep": "wait"},
                    {"id": "wait", "name": "wait", "type": "WAIT", "nextStep": "end"},
                    END,
                ],
            }
        )
    async with guarded.client(transport, "client") as client, guarded.client(transport, "only-a") as worker:
        instance = await client.start("d")
        [job] = await worker.poll("w-1", ["do-a"])
        await worker.fail(job, "again", retryable=True)
        [job] = await worker.poll("w-2", ["do-a"])
        await worker.complete(job)
        await client.complete_user_task(instance.id, "ask", completed_by="ada")
        await client.signal(instance.id, "wait")
        await client.cancel((await client.start("d")).id, "enough")
    rows = await running.rows(
        "SELECT kind, actor, detail ->> 'worker_id' AS worker_id FROM audit_log ORDER BY id"
    )
    found = [(row["kind"], row["actor"], row["worker_id"]) for row in rows]
    assert [each for each in found if each[0] != "job-dispatched"] == [
        ("definition-uploaded", "operator", None),
        ("instance-started", "client", None),
        ("job-retried", "only-a", "w-1"),
        ("job-completed", "only-a", "w-2"),
        ("user-task-completed", "client", "ada"),
        ("wait-signalled", "client", None),
        ("instance-completed", "engine", None),
        ("instance-started", "client", None),
        ("instance-cancelled", "client", None),
    ]
    [row] = await running.rows("SELECT worker_id FROM job WHERE status = 'COMPLETED'")
    assert row["worker_id"] == "w-2"
    lines = running.log_lines()
    entered = [each["principal"] for each in lines if each["msg"] == "step dispatched"]
    assert entered == ["client", "only-a", "client", "client", "client"]
    assert "Bearer" not in json.dumps(lines)


async def test_tokens_change_without_a_restart_and_a_broken_file_does_not(guarded: Guarded) -> None:
    node = guarded.running.node

    async def has(text: str) -> bool:
        async with (
            aiohttp.ClientSession(headers={"Authorization": "Bearer metrics"}) as session,
            session.get(f"{guarded.metrics}/metrics") as answer,
        ):
            return text in await answer.text()

    async with guarded.client("rest", "client") as old, guarded.client("rest", "new") as new:
        with pytest.raises(NotFound):
            await old.get("nothing")
        with pytest.raises(Unauthenticated):
            await new.get("nothing")
        guarded.file.write_text("broken")
        await node.access.looks[0][1]()
        with pytest.raises(NotFound):
            await old.get("nothing")
        assert await has("windlass_auth_tokens_unusable_total 1.0")
        assert await has('windlass_auth_refused_total{reason="unknown"} 1.0')
        guarded.file.write_text("\n".join([line("new", Role.CLIENT), line("metrics", Role.METRICS)]))

        async def is_known() -> bool:
            try:
                await new.get("nothing")
            except NotFound:
                return True
            except Unauthenticated:
                return False
            return False

        # By the node itself, within its interval.
        await eventually(is_known, within_s=30)
        with pytest.raises(Unauthenticated):
            await old.get("nothing")
    told = [each["msg"] for each in guarded.running.log_lines() if each["msg"].startswith("auth: ")]
    assert told == [
        "auth: tokens read",
        "auth: the tokens file cannot be used, the tokens read before stay good",
        "auth: tokens read",
    ]


async def test_without_tokens_one_line_says_so_and_every_call_passes(boot: Boot) -> None:
    running = await boot()
    warned = [each for each in running.log_lines() if each["msg"].startswith("auth: ")]
    assert [(each["level"], each["msg"]) for each in warned] == [
        ("WARN", "auth: off, whoever reaches the ports may do everything")
    ]
    async with Client(
        f"http://127.0.0.1:{running.node.rest.port}", token="whatever", retry_for_s=0
    ) as client:
        with pytest.raises(NotFound):
            await client.get("nothing")
