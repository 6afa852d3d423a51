"""The balancer alone, before two servers that do as they are told: who gets a call, and which calls are repeated."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from project import ROOT, SMALL_CLUSTER, Answer, a_project, call, eventually, run

pytestmark = pytest.mark.slow

FAKE = ROOT / "tests" / "compose" / "fake_server.py"
SERVERS = ("server-a", "server-b")
#: the loop asks twice a second and waits for an answer for one
NOTICED_WITHIN_S = 4.0
REPEATED = [
    ("GET", "/v1/instances/x"),
    ("DELETE", "/v1/workers/w"),
    ("POST", "/v1/jobs/x/complete"),
    ("POST", "/v1/workers"),
    ("POST", "/v1/workers/w/heartbeat"),
]
SENT_ONCE = [
    ("POST", "/v1/instances"),
    ("POST", "/v1/definitions"),
    ("POST", "/v1/jobs/poll"),
    ("POST", "/v1/jobs/x/fail"),
    ("POST", "/v1/instances/x/cancel"),
    ("POST", "/v1/instances/x/signals/complete"),
    ("POST", "/v1/instances/x/user-tasks/t/complete"),
]


@dataclass(frozen=True)
class Rig:
    """Where balancer and servers are, on this machine."""

    network: str
    urls: Mapping[str, str]

    def call(self, method: str, path: str) -> Answer:
        return call(self.urls["balancer"] + path, {} if method == "POST" else None, method=method)

    def set(self, **modes: str) -> None:
        """A server that is not named does as usual; all have seen nothing."""
        for server in SERVERS:
            self._set(server, modes.get(server.replace("-", "_"), "ok"))

    def _set(self, server: str, mode: str) -> None:
        url = f"{self.urls[server]}/mode/{mode}"
        eventually(lambda: call(url, method="PUT").status == 200, NOTICED_WITHIN_S, f"{server} listens")

    def seen(self) -> list[str]:
        return [each for server in SERVERS for each in call(f"{self.urls[server]}/seen").body]


@pytest.fixture(scope="module")
def rig(images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The balancer is the compose file's, in a network in which others have the servers' names."""
    with a_project(SMALL_CLUSTER, tmp_path_factory.mktemp("balancer"), **images) as project:
        project.compose("up", "--detach", "--no-deps", "balancer")
        network, started = f"{project.name}_front", []
        try:
            for server in SERVERS:
                name = f"{project.name}-fake-{server}"
                run("docker", "run", "--detach", "--rm", "--name", name, "--network", network, "--network-alias",
                    "servers", "--publish", "127.0.0.1::8080", "--volume", f"{FAKE}:/fake.py:ro",
                    "--entrypoint", "python", images["WINDLASS_IMAGE"], "/fake.py", server)  # fmt: skip
                started.append(name)
            urls = {server: f"http://{_port(name)}" for server, name in zip(SERVERS, started, strict=True)}
            made = Rig(network, {"balancer": f"http://{project.address('balancer')}", **urls})
            _until_both_are_used(made)
            yield made
        finally:
            run("docker", "rm", "--force", *started)


def _port(container: str) -> str:
    return run("docker", "port", container, "8080").split()[0]


def _servers_used(rig: Rig, calls: int = 12) -> set[str]:
    answers = [rig.call("GET", "/v1/who") for _ in range(calls)]
    return {answer.body["server"] for answer in answers if answer.status == 200}


def _until_both_are_used(rig: Rig) -> None:
    eventually(lambda: _servers_used(rig) == set(SERVERS), NOTICED_WITHIN_S, "both servers get calls")


@pytest.fixture(autouse=True)
def mended(rig: Rig) -> None:
    rig.set()
    _until_both_are_used(rig)
    rig.set()


@pytest.mark.parametrize(("method", "path"), [*REPEATED, *SENT_ONCE])
def test_a_call_reaches_one_server_with_its_path(rig: Rig, method: str, path: str) -> None:
    answer = rig.call(method, path)
    assert (answer.status, answer.body["path"]) == (200, path)
    assert rig.seen() == [f"{method} {path}"]


@pytest.mark.parametrize("mode", ["drop", "busy"])
@pytest.mark.parametrize(("method", "path"), REPEATED)
def test_a_call_that_changes_nothing_twice_goes_to_the_next(
    rig: Rig, method: str, path: str, mode: str
) -> None:
    rig.set(server_a=mode)
    answers = [rig.call(method, path) for _ in range(4)]
    assert {(answer.status, answer.body["server"]) for answer in answers} == {(200, "server-b")}
    assert len(rig.seen()) > 4, "the first server was never asked"


@pytest.mark.parametrize(("mode", "said"), [("drop", "it may have happened"), ("busy", "unavailable")])
@pytest.mark.parametrize(("method", "path"), SENT_ONCE)
def test_any_other_call_is_sent_once(rig: Rig, method: str, path: str, mode: str, said: str) -> None:
    rig.set(server_a=mode, server_b=mode)
    answers = [rig.call(method, path) for _ in range(3)]
    assert {answer.status for answer in answers} == {503}
    assert all(answer.body["error"] == "unavailable" for answer in answers)
    assert said == "unavailable" or all("may have happened" in answer.body["message"] for answer in answers)
    assert rig.seen() == [f"{method} {path}"] * 3


def test_a_refused_connection_goes_to_the_next_whatever_the_call(rig: Rig) -> None:
    """Nothing was sent."""
    rig.set(server_a="closed")
    # What was in its queue as it closed is reset, and counts as sent.
    eventually(lambda: call(f"{rig.urls['server-a']}/seen").status == 0, NOTICED_WITHIN_S, "nobody listens")
    statuses = [rig.call("POST", "/v1/instances").status for _ in range(20)]
    assert set(statuses) == {200}


def test_a_server_that_is_not_ready_gets_no_calls_and_comes_back(rig: Rig) -> None:
    rig.set(server_a="unready")
    eventually(lambda: _servers_used(rig) == {"server-b"}, NOTICED_WITHIN_S, "only server-b gets calls")
    rig.set()
    _until_both_are_used(rig)


def test_if_none_is_ready_their_own_answer_is_given(rig: Rig) -> None:
    rig.set(server_a="unready")
    eventually(lambda: _servers_used(rig) == {"server-b"}, NOTICED_WITHIN_S, "only server-b gets calls")
    rig.set(server_a="unready", server_b="unready")
    # That server-a is used again shows that server-b was found unready, too.
    _until_both_are_used(rig)


def test_what_a_caller_says_of_its_address_is_not_believed(rig: Rig) -> None:
    answer = rig.call("GET", "/v1/who")
    assert answer.body["headers"]["X-Real-IP"] == answer.body["headers"]["X-Forwarded-For"]
    assert "True-Client-IP" not in answer.body["headers"]


def test_an_id_with_a_slash_arrives_as_it_was_sent(rig: Rig) -> None:
    path = f"/v1/definitions/a%2Fb%20{secrets.token_hex(2)}"
    assert rig.call("GET", path).body["path"] == path
