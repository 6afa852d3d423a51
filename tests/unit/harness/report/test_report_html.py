import json
import re
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import plotly.graph_objects as go
import pytest
import synthetic_run

from seatrial import report
from seatrial.history import HISTORY_FILE
from seatrial.verdict import DrillResult, Outcome, Verdict, Witness

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--]]>{{7*7}}\x00\x1b[31m\u202e"
SHOWN = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--]]>{{7*7}}\ufffd\ufffd[31m\ufffd"
)


class Page(HTMLParser):
    """A parsed report: elements with attributes, visible text, and the bodies of scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.style = ""
        self._raw: str | None = None
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._raw = tag if tag in {"script", "style"} else self._raw
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == self._raw:
            self._raw = None

    def handle_data(self, data: str) -> None:
        if self._raw == "script":
            attributes, body = self.scripts[-1]
            self.scripts[-1] = (attributes, body + data)
        elif self._raw == "style":
            self.style += data
        else:
            self.text += data

    def figures(self) -> list[dict[str, Any]]:
        return [
            json.loads(body)
            for attributes, body in self.scripts
            if attributes.get("type") == "application/json"
        ]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[DrillResult], Page]:
    folder = tmp_path_factory.mktemp("mixed")
    results = [synthetic_run.failing(folder), synthetic_run.passing(folder)]
    return results, Page(report.write(folder, results, "seatrial run L5 F8 --seed 7"))


def test_every_verdict_and_witness_is_on_the_page(mixed: tuple[list[DrillResult], Page]) -> None:
    results, page = mixed

    for result in results:
        for said in (
            result.title,
            result.promise,
            f"seatrial run {result.drill} --backend local --replicas 3 --seed 7",
        ):
            assert said in page.text
        for verdict in result.verdicts:
            assert verdict.guarantee in page.text
            assert verdict.summary in page.text
            for witness in verdict.witnesses:
                assert witness.text in page.text
    assert "1 of 2 drills passed; 1 fail" in page.text
    assert {"pass", "fail", "vacuous"} <= {
        (attributes.get("class") or "").removeprefix("pill ")
        for tag, attributes in page.elements
        if tag == "span"
    }


def test_the_page_asks_nothing_of_the_network(mixed: tuple[list[DrillResult], Page]) -> None:
    _, page = mixed

    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), f"<{tag} {name}>"
    assert not re.findall(r"url\(|@import", page.style)
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert (policy or "").startswith("default-src 'none'; ")
    assert sum(attributes.get("id") == "plotly" for attributes, _ in page.scripts) == 1


def test_verdicts_come_before_any_detail(mixed: tuple[list[DrillResult], Page]) -> None:
    _, page = mixed

    classes = [attributes.get("class") for _, attributes in page.elements]
    assert classes.index("tiles") < classes.index("verdicts") < classes.index("drill fail")


def test_what_did_not_pass_is_open_and_linked(mixed: tuple[list[DrillResult], Page]) -> None:
    _, page = mixed

    sections = {
        attributes["id"]: "open" in attributes
        for tag, attributes in page.elements
        if tag == "details" and (attributes.get("class") or "").startswith("drill ")
    }
    links = [
        (attributes.get("href") or "").removeprefix("#") for tag, attributes in page.elements if tag == "a"
    ]
    assert sections == {"drill-L5": True, "drill-F8": False}
    assert links == ["drill-L5", "drill-F8"]


def test_figures_are_whole_plotly_figures(mixed: tuple[list[DrillResult], Page]) -> None:
    _, page = mixed

    figures = [go.Figure(figure) for figure in page.figures()]

    assert len(figures) == 2
    lanes = figures[0].layout.yaxis.ticktext
    assert {"phase", "faults", "database", "replica-1", "worker-3", "leases held", "not completed"} <= set(
        lanes
    )
    assert [note.text for note in figures[0].layout.annotations if "back after" in note.text] == [
        "<b>back after 2.4 s</b>"
    ]
    bands = [shape for shape in figures[0].layout.shapes if shape.type == "rect"]
    assert [(band.x0, round(band.x1, 1)) for band in bands] == [(20.0, 32.0), (40.0, 48.0)]
    assert {trace.name for trace in figures[0].data} >= {
        "starts/s",
        "completes/s",
        "refused/s",
        "p50",
        "p95",
        "p99",
    }


def test_faults_close_together_each_keep_their_text(tmp_path: Path) -> None:
    run = synthetic_run.Synthetic(duration_s=60.0, killed=None, paused=None, starts_per_s=5.0)
    for number in range(3):
        target = {"target": f"replica-{number}"}
        run.call(20.0 + number, 0.01, f"fault-{number}", "restart_replica", target)
        run.call(20.5 + number, 0.01, f"fault-{number}", "heal", target)
    run.write(tmp_path / "L5")
    result = DrillResult("L5", "t", "p", Outcome.PASS, 7, "", 60.0, str(tmp_path / "L5"), ())

    (figure,) = Page(report.write(tmp_path, [result], "x")).figures()

    texts = [
        (text, place, y)
        for trace in figure["data"]
        if trace["type"] == "bar" and isinstance(trace["textposition"], list)
        for text, place, y in zip(trace["text"], trace["textposition"], trace["y"], strict=True)
    ]
    assert sorted(text for text, _, _ in texts) == [
        f"restart_replica replica-{number}" for number in range(3)
    ]
    assert {place for _, place, _ in texts} == {"outside"}
    assert len({y for _, _, y in texts}) == 3


def test_a_witness_shows_at_most_twenty_events(tmp_path: Path) -> None:
    result = synthetic_run.failing(tmp_path)
    many = Verdict("NL", "G.", Outcome.FAIL, "S.", (Witness("all of it", (), tuple(range(200))),))

    page = Page(report.write(tmp_path, [msgspec.structs.replace(result, verdicts=(many,))], "x"))

    assert "20 events" in page.text
    kinds = Counter(
        a.get("class") for tag, a in page.elements if tag == "span" and "type " in (a.get("class") or "")
    )
    assert sum(kinds.values()) == 20


def hostile(report_dir: Path) -> DrillResult:
    """A run in which everything that can be written by others is an attack."""
    run = synthetic_run.Synthetic(drill="L5", duration_s=12.0, killed=None, paused=None)
    run.call(3.0, 0.1, "fault-" + HOSTILE, HOSTILE, {"target": HOSTILE}, {HOSTILE: HOSTILE})
    run.call(
        3.5,
        0.1,
        "worker-" + HOSTILE,
        "poll",
        {},
        {"jobs": [{"job_id": HOSTILE, "job_type": HOSTILE}]},
        node=HOSTILE,
    )
    run.call(4.0, 0.1, "client-" + HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, end="fail", error={"code": HOSTILE})
    run.add(5.0, "harness", "info", "phase", {"name": HOSTILE})
    run.write(report_dir / "L5")
    logs = report_dir / "L5" / "logs"
    logs.mkdir()
    (logs / "replica-0.log").write_text(HOSTILE, encoding="utf-8")
    witness = Witness(HOSTILE, (HOSTILE,), (1, 2))
    verdict = Verdict(HOSTILE, HOSTILE, Outcome.FAIL, HOSTILE, (witness,), {HOSTILE: HOSTILE, "n": 1})
    return DrillResult(
        "L5", HOSTILE, HOSTILE, Outcome.FAIL, 7, HOSTILE, 12.0, str(report_dir / "L5"), (verdict,), (HOSTILE,)
    )


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    page = Page(report.write(tmp_path, [hostile(tmp_path)], HOSTILE))

    tags = Counter(tag for tag, _ in page.elements)
    assert tags["script"] == 3, "one figure, plotly, the page's own"
    assert not {"img", "iframe", "object", "embed", "base", "form"} & set(tags)
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
    assert page.text.count(SHOWN) > 12
    assert not re.search(r"[\x00-\x08\x1b\u202e]", page.text)
    drawn = json.dumps(page.figures()[0])
    assert "<script" not in drawn
    assert "<img" not in drawn


def test_a_drill_without_history_says_so_and_leaves_the_rest(tmp_path: Path) -> None:
    good = synthetic_run.passing(tmp_path, "F8")
    bad = synthetic_run.passing(tmp_path, "L1")
    (tmp_path / "L1" / HISTORY_FILE).write_text('{"nonsense": 1}\n')

    page = Page(report.write(tmp_path, [good, bad], "seatrial judge"))

    assert "No timeline: " in page.text
    assert "history.jsonl:1: not an operation" in page.text
    assert len(page.figures()) == 1
    assert "2 of 2 drills passed" in page.text


def test_a_run_that_broke_down_shows_why(tmp_path: Path) -> None:
    folder = tmp_path / "D1"
    folder.mkdir()
    (folder / "harness-error.txt").write_text("ClusterError: replica-2 never became ready")
    result = DrillResult(
        "D1", "t", "p", Outcome.INVALID, 1, "", 0.5, str(folder), (), ("replica-2 never became ready",)
    )

    page = Page(report.write(tmp_path, [result], "seatrial run D1"))

    assert "No check was run" in page.text
    assert "ClusterError: replica-2 never became ready" in page.text


def test_no_drill_at_all_is_still_a_page(tmp_path: Path) -> None:
    page = Page(report.write(tmp_path, [], "seatrial run"))

    assert "0 of 0 drills passed" in page.text


@pytest.mark.parametrize(
    ("starts_per_s", "operations_min"), [(15.0, 20_000), pytest.param(145.0, 200_000, marks=pytest.mark.slow)]
)
def test_many_operations_make_a_small_page(tmp_path: Path, starts_per_s: float, operations_min: int) -> None:
    result = synthetic_run.failing(tmp_path, duration_s=240.0, starts_per_s=starts_per_s, workers=40)
    with (tmp_path / "L5" / HISTORY_FILE).open("rb") as file:
        assert sum(1 for _ in file) > operations_min

    started_s = time.monotonic()
    path = report.write(tmp_path, [result], "seatrial run L5")

    assert time.monotonic() - started_s < 60
    assert path.stat().st_size < 8_000_000
    (figure,) = Page(path).figures()
    bars = sum(len(trace["x"]) for trace in figure["data"] if trace["type"] == "bar")
    assert bars < 2_000
