"""The registry of backends: who offers what, who is chosen by which options, and what each refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from ability_exercises import EXERCISES
from seatrial.cluster import Cluster, ClusterSpec, MissingAbility, Replica, backends
from seatrial.cluster.ability import Kill, ManagedFailover, Nodes, Pause
from seatrial.cluster.backend import Backend
from seatrial.cluster.backends import BACKENDS
from seatrial.cluster.broker import Broker, BrokerNetwork, BrokerProcess
from seatrial.cluster.certificate import new_authority
from seatrial.cluster.options import Misuse, Options
from seatrial.drills import CATALOGUE, select
from seatrial.trial import carry_out, new_options

LOCAL, KIND, ATTACHED = (Options(1, Path(), backend=name) for name in ("local", "kind", "attach"))


class Killing(Cluster):
    """Offers one ability."""

    def __init__(self, kill: Kill) -> None:
        super().__init__(ClusterSpec(), "a cluster of this test")
        self._offer(Kill, kill)

    async def up(self) -> None: ...

    async def down(self) -> None: ...

    def replicas(self) -> Sequence[Replica]:
        return []


def test_a_cluster_hands_out_what_it_offers_and_names_what_it_does_not() -> None:
    kill = cast("Kill", object())
    cluster = Killing(kill)
    assert cluster.ability(Kill) is kill
    assert (cluster.has(Kill), cluster.has(Pause)) == (True, False)
    assert cluster.abilities == frozenset[type]({Kill})
    assert cluster.lacks([Kill, Pause, Nodes]) == ["Pause", "Nodes"]
    with pytest.raises(
        MissingAbility,
        match="a cluster of this test does not have the ability Pause; add Pause to the drill's needs, and run",
    ):
        cluster.ability(Pause)


@pytest.mark.parametrize("entry", BACKENDS.values(), ids=BACKENDS)
def test_every_ability_on_offer_has_an_exercise(entry: Backend) -> None:
    assert entry.abilities(Options(1, Path(), backend=entry.name)) <= EXERCISES.keys()


def test_no_exercise_is_for_an_ability_that_nobody_offers() -> None:
    offered = [entry.abilities(Options(1, Path(), backend=entry.name)) for entry in BACKENDS.values()]
    assert EXERCISES.keys() == frozenset().union(*offered)


def test_every_drill_can_run_on_some_backend() -> None:
    for drill in CATALOGUE.values():
        assert any(not entry.lacks(drill.needs, LOCAL) for entry in BACKENDS.values()), drill.id


@pytest.mark.parametrize("entry", BACKENDS.values(), ids=BACKENDS)
def test_a_backend_that_offers_anything_can_run_its_core_set(entry: Backend) -> None:
    options = Options(1, Path(), backend=entry.name)
    asked = select([], core=True, backend=entry.name)
    assert "smoke" in {drill.id for drill in asked}
    if entry.abilities(options):
        assert {drill.id: backends.refusal(drill.needs, options) for drill in asked} == {
            drill.id: None for drill in asked
        }


def test_somebody_elses_broker_is_not_broken(tmp_path: Path) -> None:
    external = Options(1, tmp_path, brokers="kafka-0:9092")
    needs = (Broker, BrokerNetwork, BrokerProcess)
    assert backends.refusal(needs, LOCAL) is None
    assert backends.refusal(needs, external) == (
        "needs BrokerNetwork, BrokerProcess, which a broker given with --brokers does not have; leave --brokers out"
    )


def test_what_a_machine_lacks_for_a_drill_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs, here = CATALOGUE["D2-patroni"].needs, BACKENDS["local"]
    complete = replace(here, programs={ManagedFailover: lambda: None})
    bare = replace(here, programs={ManagedFailover: lambda: "etcd (apt-get install etcd-server)"})
    monkeypatch.setitem(cast("dict[str, Backend]", BACKENDS), "local", complete)
    assert backends.refusal(needs, LOCAL) is None
    monkeypatch.setitem(cast("dict[str, Backend]", BACKENDS), "local", bare)
    text = "needs etcd (apt-get install etcd-server), which this machine lacks"
    assert backends.refusal(needs, LOCAL) == backends.uninstalled(needs, LOCAL) == text
    assert backends.uninstalled(CATALOGUE["D1"].needs, LOCAL) is None
    with pytest.raises(Misuse, match="drill D2-patroni needs etcd"):
        carry_out(
            replace(LOCAL, report_dir=tmp_path),
            ["D2-patroni"],
            core=False,
            everything=False,
            keep=False,
            command="",
        )


@pytest.mark.parametrize(
    ("drill", "options", "text"),
    [
        (
            "K5",
            KIND,
            "needs BrokerProcess, which a cluster on Kubernetes does not have; run it on --backend local",
        ),
        (
            "U1",
            LOCAL,
            "needs Upgrade, which a cluster of local processes does not have; run it on --backend kind",
        ),
        (
            "L5",
            ATTACHED,
            (
                "needs Kill, Database, which an attached cluster does not have; "
                "run it on --backend local or --backend kind or --backend compose"
            ),
        ),
        (
            "C1",
            LOCAL,
            "needs Balancer, which a cluster of local processes does not have; run it on --backend compose",
        ),
        (
            "D7",
            Options(1, Path(), backend="compose", compose_project="mine"),
            "needs Boots, NextRelease, which a compose project does not have; run it on --backend local",
        ),
    ],
)
def test_a_drill_that_cannot_run_is_refused_with_the_backends_that_can(
    drill: str, options: Options, text: str
) -> None:
    assert backends.refusal(CATALOGUE[drill].needs, options) == text


@pytest.mark.parametrize(
    ("asked", "backend"),
    [
        ({}, "local"),
        ({"backend": "kind"}, "kind"),
        ({"backend": "compose"}, "compose"),
        ({"backend": "compose", "compose_project": "mine"}, "compose"),
        ({"attach": "http://h:1"}, "attach"),
        ({"attach": "http://h:1", "attach_grpc": "h:2", "transport": "both"}, "attach"),
    ],
)
def test_options_choose_a_backend(asked: dict[str, Any], backend: str) -> None:
    assert new_options(**asked).backend == backend


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"backend": "attach"}, "backend 'attach' does not exist; choose local or kind or compose"),
        ({"backend": "moon"}, "backend 'moon' does not exist; choose local or kind or compose"),
        ({"node_image": "x"}, "--image and --context are for --backend kind, and the backend is local"),
        ({"attach": "http://h:1", "context": "x"}, "for --backend kind, and the backend is attach"),
        ({"backend": "kind", "attach": "http://h:1"}, "--backend kind runs images; leave out"),
        ({"backend": "kind", "engine_command": "x"}, "--backend kind runs images; leave out"),
        ({"backend": "kind", "node_image": "x", "context": "y"}, "keep one of the two"),
        ({"attach": "http://h:1", "engine_command": "x"}, "--attach takes a cluster as it is"),
        (
            {"backend": "kind", "brokers": "h:1"},
            "--backend kind runs a broker of its own .* leave out --brokers",
        ),
        ({"attach": "http://h:1", "brokers": "h:1"}, "with the broker that it has; leave out --brokers"),
        ({"attach_grpc": "h:2"}, "--attach-grpc and --ca-file are for --attach; leave them out"),
        (
            {"attach": "https://h:1", "tls": True},
            "--attach takes engines with the certificates that they have",
        ),
        (
            {"attach": "https://h:1", "ca_file": Path("no.pem")},
            "--ca-file no.pem cannot be used: No such file",
        ),
        (
            {"attach": "https://h:1", "ca_file": Path(__file__)},
            "--ca-file .* cannot be used: it holds no cert",
        ),
        (
            {"backend": "compose", "tls": True},
            "--backend compose runs a balancer that speaks no TLS; leave out",
        ),
        ({"compose_project": "p"}, "--file, --project and --images are for --backend compose, .* is local"),
        ({"backend": "kind", "digests": Path("x")}, "are for --backend compose, and the backend is kind"),
        ({"backend": "compose", "node_image": "x"}, "are for --backend kind, and the backend is compose"),
        ({"backend": "compose", "attach": "http://h:1"}, "--backend compose runs images; leave out"),
        ({"backend": "compose", "engine_command": "x"}, "name yours in WINDLASS_IMAGE or --images"),
        ({"backend": "compose", "brokers": "h:1"}, "runs what its file says; leave out --brokers"),
        ({"backend": "compose", "compose_project": "p", "replicas": 2}, "takes a compose project as it runs"),
        ({"backend": "compose", "compose_file": Path("no.yml")}, "--file no.yml: there is no such file"),
        ({"backend": "compose", "digests": Path("no.json")}, "--images no.json: No such file"),
        ({"backend": "kind", "attach_grpc": "h:2"}, "are for --attach; leave them out with --backend kind"),
        ({"token_file": Path("no.token")}, "--token-file no.token cannot be read: No such file"),
        ({"token_file": Path(__file__)}, "--token-file .* holds no token; write into it"),
    ],
)
def test_what_a_backend_does_not_support_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(Misuse, match=message):
        new_options(**asked)


@pytest.mark.parametrize("asked", [{}, {"backend": "kind"}, {"backend": "compose"}, {"attach": "http://h:1"}])
def test_a_token_is_kept_out_of_sight_on_every_backend(tmp_path: Path, asked: dict[str, Any]) -> None:
    file = tmp_path / "token"
    file.write_text("wdl_hunter2\n")
    options = new_options(token_file=file, **asked)
    assert options.token == "wdl_hunter2"
    assert "hunter2" not in repr(options)


def test_an_authority_is_for_engines_that_speak_tls(tmp_path: Path) -> None:
    ca = new_authority("Test").write(tmp_path / "ca.pem")
    assert new_options(attach="https://h:1", ca_file=ca).ca_file == ca
    assert new_options(attach="https://h:1").speaks_tls
    with pytest.raises(
        Misuse, match="--ca-file is for engines that speak TLS; give their addresses as https"
    ):
        new_options(attach="http://h:1,https://h:2", ca_file=ca)
    with pytest.raises(Misuse, match="--attach-grpc and --ca-file are for --attach"):
        new_options(ca_file=ca)
