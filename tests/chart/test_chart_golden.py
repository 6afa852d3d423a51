"""What each kept case renders to, to the last field."""

import pytest
from golden import CASES, FOLDER, path_of, text_of


@pytest.mark.parametrize("name", CASES)
def test_a_case_renders_as_kept(name: str) -> None:
    assert text_of(CASES[name]) == path_of(name).read_text(), "if it is meant: python tests/chart/golden.py"


def test_nothing_is_kept_that_no_case_renders() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(CASES)
