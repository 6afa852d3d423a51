from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import synthetic_run
from hypothesis import given
from hypothesis import strategies as st

from seatrial.history import History, Op, RunHeader
from seatrial.report.timeline import BARS_MAX, BINS_MAX, LANES_MAX, Bar, packed, timeline
from seatrial.report.witness import EVENTS_MAX, Events
from seatrial.verdict import Outcome, Verdict, Witness

HEADER = RunHeader("X", 1, 3, "local", "", "2026-11-22T10:00:00+00:00", (), {})


def op(t_s: float, process: str, type_: Any, f: str, call: int = 0, **value: Any) -> Op:
    return Op(t_s, process, type_, f, call, value.pop("node", None), value, value.pop("error", None))


def history(*ops: Op, end_s: float = 110.0) -> History:
    """From t_s = 100 to `end_s`."""
    first = Op(100.0, "harness", "info", "run", value=msgspec.to_builtins(HEADER))
    return History([first, *ops, op(end_s, "harness", "info", "phase", name="end")])


def fault(
    f: str, t_s: float, target: Any, *, call: int = 1, end: str = "ok", process: str = "fault-0"
) -> list[Op]:
    return [
        op(t_s, process, "invoke", f, call, target=target, parameters={"signal": "SIGKILL"}),
        op(t_s + 0.1, process, end, f, call, target=target, silence="connection refused"),
    ]


def heal(t_s: float, target: Any, *, call: int = 2, end: str = "ok", process: str = "fault-0") -> list[Op]:
    return [
        op(t_s, process, "invoke", "heal", call, target=target),
        op(t_s + 0.2, process, end, "heal", call, target=target),
    ]


def test_a_killed_replica_is_down_until_its_heal() -> None:
    drawn = timeline(history(*fault("kill_replica", 102, "replica-1"), *heal(105, "replica-1")))

    (impact,) = drawn.impacts
    assert (impact.episode.name, impact.episode.state, impact.episode.healed) == (
        "kill_replica",
        "down",
        True,
    )
    assert impact.episode.evidence == "silence connection refused"
    assert impact.episode.detail == "signal SIGKILL"
    assert impact.episode.effective_s == pytest.approx(2.1)
    down = {
        lane.name: [(bar.state, round(bar.start_s, 3), round(bar.end_s, 3)) for bar in lane.bars]
        for lane in drawn.replicas
    }
    assert down == {"replica-0": [], "replica-1": [("down", 2.0, 5.2)], "replica-2": []}


def test_each_fault_is_ended_by_the_next_heal_of_its_own() -> None:
    drawn = timeline(
        history(
            *fault("pause_replica", 101, "replica-0", call=1),
            *fault("cut_network", 101, "replica-1", call=1, process="fault-1"),
            *heal(103, "replica-0", call=2),
            *fault("pause_replica", 104, "replica-0", call=3),
            *heal(106, "replica-0", call=4),
            *heal(108, "replica-1", call=2, process="fault-1"),
        )
    )

    spans = [(i.episode.name, round(i.episode.start_s, 3), round(i.episode.end_s, 3)) for i in drawn.impacts]
    assert spans == [("pause_replica", 1.0, 3.2), ("cut_network", 1.0, 8.2), ("pause_replica", 4.0, 6.2)]


@pytest.mark.parametrize(
    ("ops", "state", "end_s", "healed"),
    [
        (fault("kill_replica", 102, "replica-1"), "down", 10.0, False),
        (
            [*fault("kill_replica", 102, "replica-1"), *heal(105, "replica-1", end="fail")],
            "down",
            10.0,
            False,
        ),
        (fault("terminate_sessions", 102, "replica-1"), "cut", 2.1, False),
        (fault("pour_coffee", 102, "replica-1"), "fault", 10.0, False),
        (
            [
                *fault("pour-coffee", 102, "replica-1"),
                op(104, "x-fault", "invoke", "unrelated", 9),
                op(105, "fault-0", "invoke", "heal", 2, target="replica-1"),
                op(106, "fault-0", "ok", "heal", 2, target="replica-1"),
            ],
            "fault",
            6.0,
            True,
        ),
    ],
)
def test_how_a_fault_ends(ops: Sequence[Op], state: str, end_s: float, healed: bool) -> None:
    (impact,) = timeline(history(*ops)).impacts

    assert impact.episode.state == state
    assert impact.episode.end_s == pytest.approx(end_s)
    assert impact.episode.healed is healed


def test_a_fault_that_did_not_bite_marks_no_lane() -> None:
    drawn = timeline(history(*fault("kill_replica", 102, "replica-1", end="fail"), *heal(105, "replica-1")))

    assert drawn.impacts[0].episode.effective_s is None
    assert drawn.impacts[0].episode.evidence.startswith("had no effect")
    assert not any(lane.bars for lane in drawn.replicas)


def test_a_crashed_database_marks_the_database() -> None:
    drawn = timeline(history(*fault("crash_database", 102, "database"), *heal(105, "database")))

    assert [bar.state for bar in drawn.database.bars] == ["down"]
    assert not any(lane.bars for lane in drawn.replicas)


def test_all_replicas_at_once_mark_every_lane() -> None:
    names = ["replica-0", "replica-1", "replica-2"]

    drawn = timeline(history(*fault("kill_all_replicas", 102, names), *heal(105, names)))

    assert [(lane.name, len(lane.bars)) for lane in drawn.replicas] == [(name, 1) for name in names]


def job(issued: str | None = "t1", lease_s: int = 5) -> dict[str, Any]:
    return {
        "job_id": "j1",
        "job_type": "charge",
        "lease_token": issued,
        "locked_at": "2026-11-22T10:00:00+00:00",
        "lock_expires_at": f"2026-11-22T10:00:0{lease_s}+00:00",
    }


def poll(t_s: float, worker: str, given: dict[str, Any], call: int = 1) -> list[Op]:
    return [
        op(t_s - 0.1, worker, "invoke", "poll", call, lease_s=9),
        op(t_s, worker, "ok", "poll", call, jobs=[given]),
    ]


def report(
    t_s: float, worker: str, token: str | None, end: str, f: str = "complete", call: int = 2
) -> list[Op]:
    return [
        op(t_s - 0.1, worker, "invoke", f, call, job_id="j1", lease_token=token),
        Op(t_s, worker, end, f, call, error=None if end == "ok" else {"code": "lease-lost"}),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize(
    ("ops", "state", "end_s"),
    [
        (report(103, "worker-0", "t1", "ok"), "completed", 3.0),
        (report(103, "worker-0", "t1", "ok", f="fail_job"), "failed", 3.0),
        (report(103, "worker-0", "t1", "fail"), "refused", 3.0),
        (report(103, "worker-0", "t1", "info"), "open", 3.0),
        (report(108, "worker-0", "t1", "fail"), "expired", 6.0),
        (report(108, "worker-0", "t1", "ok"), "completed", 8.0),
        (report(103, "worker-1", "t2", "ok"), "expired", 6.0),
        ([], "expired", 6.0),
        (
            [*report(102, "worker-0", "t1", "info"), *report(103, "worker-0", "t1", "ok", call=3)],
            "completed",
            3.0,
        ),
    ],
)
def test_a_lease_lasts_from_its_poll_to_its_report_or_expiry(ops: list[Op], state: str, end_s: float) -> None:
    (bar,) = timeline(history(*poll(101, "worker-0", job()), *ops)).lease_bars

    assert (bar.state, round(bar.start_s, 3), round(bar.end_s, 3)) == (state, 1.0, end_s)


def test_a_lease_without_a_token_is_told_apart_by_its_worker() -> None:
    drawn = timeline(
        history(
            *poll(101, "worker-0", job(None)),
            *poll(107, "worker-1", job(None)),
            *report(108, "worker-1", None, "ok"),
        )
    )

    assert [bar.state for bar in drawn.lease_bars] == ["expired", "completed"]


def test_a_lease_still_running_at_the_end_is_open() -> None:
    (bar,) = timeline(history(*poll(107, "worker-0", job()))).lease_bars

    assert (bar.state, bar.end_s) == ("open", 10.0)


def test_the_gap_after_a_kill_is_the_longest_silence_of_that_fault(tmp_path: Path) -> None:
    synthetic_run.failing(tmp_path)

    drawn = timeline(History.load(tmp_path / "L5"))

    kill, pause = drawn.impacts
    assert kill.silence is not None
    assert kill.silence[1] - kill.silence[0] == pytest.approx(2.4, abs=0.1)
    assert pause.silence is not None
    assert pause.silence[1] - pause.silence[0] < 0.5
    assert kill.before_per_s == pytest.approx(40, abs=3)


def test_bins_conserve_what_the_history_counts(tmp_path: Path) -> None:
    synthetic_run.failing(tmp_path)
    loaded = History.load(tmp_path / "L5")

    drawn = timeline(loaded)

    oks = {f: sum(call.outcome == "ok" for call in loaded.calls_of(f)) for f in ("start", "complete")}
    assert drawn.accepted == oks
    assert round(sum(drawn.rates["starts"]) * drawn.bin_s) == oks["start"]
    assert round(sum(drawn.rates["completes"]) * drawn.bin_s) == oks["complete"]
    assert round(sum(drawn.rates["refused"]) * drawn.bin_s) == 19
    assert round(sum(sum(lane.heat) for lane in drawn.workers) * drawn.bin_s) == oks["complete"]
    assert len(drawn.rates["starts"]) <= BINS_MAX


def test_many_leases_are_a_number_and_only_the_odd_ones_are_bars(tmp_path: Path) -> None:
    synthetic_run.failing(tmp_path)

    drawn = timeline(History.load(tmp_path / "L5"))

    assert drawn.lease_bars_omitted > BARS_MAX
    assert [bar.state for bar in drawn.lease_bars] == ["expired"]
    assert max(drawn.leases_held) > 1


def test_the_latency_of_calls_that_waited_shows_when_they_were_sent(tmp_path: Path) -> None:
    synthetic_run.failing(tmp_path)

    drawn = timeline(History.load(tmp_path / "L5"))

    at_kill, before = int(20.2 / drawn.bin_s), int(10 / drawn.bin_s)
    p50_ms = drawn.latency_ms["p50"]
    assert (p50_ms[at_kill] or 0) > 1_500
    assert (p50_ms[before] or 9e9) < 50


def test_many_workers_share_lanes(tmp_path: Path) -> None:
    synthetic_run.passing(tmp_path, "F8", workers=40, starts_per_s=60.0)

    drawn = timeline(History.load(tmp_path / "F8"))

    assert len(drawn.workers) <= LANES_MAX
    assert drawn.workers[0].name == "worker-0 … 2"


def test_a_history_of_nothing_but_its_header_still_draws() -> None:
    drawn = timeline(History([Op(5.0, "harness", "info", "run", value=msgspec.to_builtins(HEADER))]))

    assert (drawn.impacts, drawn.lease_bars, drawn.operations) == ((), (), 1)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=40))
def test_bars_of_one_row_never_overlap(spans: list[tuple[int, int]]) -> None:
    bars = [Bar(start, start + length, "open", str(number)) for number, (start, length) in enumerate(spans)]

    placed = packed(bars, rows_max=len(bars) + 1)

    assert sorted(bar.text for _, bar in placed) == sorted(bar.text for bar in bars)
    for row, bar in placed:
        for other_row, other in placed:
            assert (
                row != other_row or bar is other or bar.end_s <= other.start_s or other.end_s <= bar.start_s
            )
    most = max((sum(bar.start_s <= at < bar.end_s for bar in bars) for at in range(81)), default=0)
    assert len({row for row, _ in placed}) == most


@given(
    named=st.lists(st.integers(-3, 80), max_size=30).map(tuple),
    ids=st.sets(st.sampled_from(["a", "b", "nowhere"])).map(tuple),
)
def test_the_events_around_a_witness(named: tuple[int, ...], ids: tuple[str, ...]) -> None:
    ops = [
        op(float(n), "client-0", "info", "get", id="a" if n % 7 == 0 else "b" if n % 30 == 1 else "c")
        for n in range(70)
    ]
    witness = Witness("w", ids, named)

    shown = [
        one.index
        for one in Events(History(ops), [Verdict("NL", "", Outcome.FAIL, "", (witness,))]).around(witness)
    ]

    real = list(dict.fromkeys(index for index in named if 0 <= index < 70))
    speaking = [one.index for one in History(ops).ops if one.value["id"] in ids]
    assert shown == sorted(set(shown))
    assert len(shown) <= EVENTS_MAX
    assert set(real[:EVENTS_MAX]) <= set(shown)
    if len(set(real) | set(speaking)) <= EVENTS_MAX:
        assert set(speaking) <= set(shown)


# -- the relay


def leads(t_s: float, node: str, *, said: bool | None) -> Op:
    return Op(t_s, "observer", "info", "leads", value={"node": node, "leads": said})


def relayed(*more: Op) -> History:
    """replica-0 leads, dies at 103, replica-1 leads from 103.5; four rows wait from 105.5 to 107.5."""
    return history(
        leads(101.0, "replica-0", said=True),
        leads(103.0, "replica-0", said=None),
        leads(103.5, "replica-1", said=True),
        op(105.5, "observer", "info", "outbox_depth", rows=4, transaction_age_s=0.0),
        op(107.5, "observer", "info", "outbox_depth", rows=0, transaction_age_s=0.0),
        leads(109.0, "replica-1", said=False),
        *more,
        op(110.0, "observer", "info", "clock", at="2026-11-22T10:00:10+00:00"),
    )


def test_the_leader_is_who_says_so() -> None:
    drawn = timeline(relayed())
    assert drawn.broker is not None
    assert [(led.node, led.start_s, led.end_s) for led in drawn.leaders] == [
        ("replica-0", 1.0, 3.0),
        ("replica-1", 3.5, 9.0),
    ]


def test_the_table_of_leaders_knows_better() -> None:
    lines = [
        op(
            110.0, "observer", "info", "leader_line",
            seq=n, holder=f"replica-{n}", epoch=n, at=f"2026-11-22T10:00:0{at}+00:00",
        )
        for n, at in ((1, 2), (2, 6))
    ]  # fmt: skip
    drawn = timeline(relayed(*lines))
    assert [(led.node, round(led.start_s, 3), round(led.end_s, 3)) for led in drawn.leaders] == [
        ("replica-1", 2.0, 6.0),
        ("replica-2", 6.0, 10.0),
    ]
    assert "epoch 2" in drawn.leaders[1].text


def test_the_outbox_is_as_deep_as_the_last_look_found_it() -> None:
    drawn = timeline(relayed())
    at = {number * drawn.bin_s: rows for number, rows in enumerate(drawn.outbox)}
    assert max(rows for start_s, rows in at.items() if start_s < 5) == 0
    assert min(rows for start_s, rows in at.items() if 5.6 < start_s < 7.3) == 4
    assert max(rows for start_s, rows in at.items() if start_s > 8) == 0


def test_a_run_without_a_broker_has_no_such_lanes() -> None:
    drawn = timeline(history())
    assert (drawn.broker, drawn.leaders, drawn.outbox) == (None, (), ())
