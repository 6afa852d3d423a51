"""One engine for all the cases of the fast part."""

from __future__ import annotations

from collections.abc import Iterator

import pressure
import pytest
import strangers
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


@pytest.fixture(scope="session")
def let_guess(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """On an engine with authentication on."""
    with strangers.subject(tmp_path_factory.mktemp("strangers")) as subject:
        yield Campaign(subject, SEED)


@pytest.fixture(scope="session")
def pressed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """On an engine with the default limits, in the memory of a pod."""
    with Subject(tmp_path_factory.mktemp("pressed"), **pressure.VARIABLES) as subject:
        yield Campaign(subject, SEED)
