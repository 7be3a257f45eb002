"""Rules for every test: a skip must be allowed, and says what was left out."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine makes an example slow; how long things take is measured where that is the point.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# A shell's background job ignores interrupts, and so would every program that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

ALLOWED = Path(__file__).with_name("allowed_skips.txt")
PUBLIC_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what reads the public data folder where it is absent, and root tests for others."""
    for item in items:
        if item.get_closest_marker("data") and not PUBLIC_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason="public data folder is absent"))
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every skip that is not allowed; with CI=true such a skip fails the run."""
    in_ci = os.environ.get("CI") == "true"
    lines = [line.partition("#")[0].strip() for line in ALLOWED.read_text().splitlines()]
    allowed = [line for line in lines if line]
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if in_ci and not any(text in reason for text in allowed):
            terminalreporter.write_line(f"NOT ALLOWED TO BE SKIPPED: {report.nodeid}: {reason}")
            terminalreporter._session.exitstatus = pytest.ExitCode.TESTS_FAILED  # noqa: SLF001
