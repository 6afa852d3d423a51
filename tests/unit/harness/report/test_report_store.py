from pathlib import Path

import msgspec
import pytest
import synthetic_run

from seatrial import report
from seatrial.report import store


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = [synthetic_run.failing(tmp_path), synthetic_run.passing(tmp_path)]

    assert store.read_results(tmp_path) == sorted(written, key=lambda result: result.drill)


def test_the_folder_of_one_drill_holds_one_result(tmp_path: Path) -> None:
    written = synthetic_run.passing(tmp_path, "F8")
    synthetic_run.passing(tmp_path, "L1")

    assert store.read_results(tmp_path / "F8") == [written]


def test_a_moved_report_says_where_it_is_now(tmp_path: Path) -> None:
    synthetic_run.passing(tmp_path / "before", "F8")
    (tmp_path / "before").rename(tmp_path / "after")

    (result,) = store.read_results(tmp_path / "after")

    assert result.folder == str(tmp_path / "after" / "F8")
    assert store.folder_of(tmp_path / "after", result) == tmp_path / "after" / "F8"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"drill": 7}', b"\xff\xfe"])
def test_a_broken_result_is_named_with_its_remedy(tmp_path: Path, content: bytes) -> None:
    synthetic_run.passing(tmp_path, "F8")
    path = tmp_path / "F8" / store.RESULT_FILE
    path.write_bytes(content)

    with pytest.raises(store.BrokenResult, match=r"not a drill's result.*run or judge") as caught:
        store.read_results(tmp_path)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["nothing-here", "empty"])
def test_a_folder_without_results_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(store.BrokenResult, match=rf"{name}: no .*--report"):
        store.read_results(tmp_path / name)


def test_a_failed_write_leaves_the_old_result(tmp_path: Path) -> None:
    result = synthetic_run.passing(tmp_path, "F8")

    with pytest.raises(TypeError):
        store.write_result(tmp_path / "F8", msgspec.structs.replace(result, notes=(object(),)))

    assert store.read_results(tmp_path) == [result]
    assert sorted(path.name for path in (tmp_path / "F8").iterdir()) == ["history.jsonl", "result.json"]


def test_write_makes_all_four_reports(tmp_path: Path) -> None:
    result = synthetic_run.passing(tmp_path, "F8")

    path = report.write(tmp_path, [result], "seatrial run F8")

    assert path == tmp_path / "report.html"
    assert {"report.html", "junit.xml", "results.json", "summary.md"} <= {
        file.name for file in tmp_path.iterdir()
    }
    saved = msgspec.json.decode((tmp_path / "results.json").read_bytes(), type=store.Results)
    assert saved == store.Results(1, "seatrial run F8", (result,))
