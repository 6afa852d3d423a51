"""Rules for every folder: what CI cannot run, CI must not seem to have run; a group shares a process; a child inherits
nothing of ours; a machine that is busy fails no property; what failed is told to who asks, so that it can be repeated.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import settings

# Hypothesis judges how long one example takes, except under CI: here both cores are always busy.
settings.register_profile("repository", settings(), deadline=None)
settings.load_profile("repository")

# gRPC reads this when it is loaded. With its support on, each child lives for a moment with a poller of its own, which
# may write a complaint into the child's standard error: an engine's log would no longer be JSON.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """pytest-xdist tells its groups by the tests' ids, and 3.8 writes them where pytest 9.2 no longer reads them."""
    if getattr(config.option, "loadgroup", False):
        for item in items:
            for mark in item.iter_markers("xdist_group"):
                if not item.nodeid.endswith(f"@{mark.args[0]}"):
                    item._id = type(item.id).parse(f"{item.nodeid}@{mark.args[0]}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Under CI every need is installed before the tests, so a skip hides a gap: it fails the run, by name."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped and os.environ.get("CI") == "true":
        terminalreporter.section("skipped under CI", red=True)
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[2] if report.longrepr else ''}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped") and os.environ.get("CI") == "true":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    elif reporter is not None and (wanted := os.environ.get("FAILED_TESTS_FILE")):
        reports = [*reporter.stats.get("failed", []), *reporter.stats.get("error", [])]
        # Without the group that pytest-xdist reads at the end of an id.
        names = dict.fromkeys(re.sub(r"(\]?)@[\w-]+\]?$", r"\1", report.nodeid) for report in reports)
        Path(wanted).write_text("".join(f"{name}\n" for name in names))
