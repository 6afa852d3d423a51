"""One engine for all the cases of the fast part."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from campaign import Campaign
from subject import Subject

SEED = 20_261_125


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    with Subject(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture(scope="session")
def campaign(subject: Subject) -> Campaign:
    return Campaign(subject, SEED)
