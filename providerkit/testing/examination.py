"""Hold an installed provider to the contract, with pytest as it comes, and tell what became of each check."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import attrs
import pytest

MODULE = "providerkit_examination"
CODE = """
from providerkit.testing import ProviderContract

class TestProvider(ProviderContract):
    provider = {name!r}
"""
# Neither files nor plugins of anybody else's: what a provider promises does not depend on where it is asked.
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "PYTEST_PLUGINS": ""}
ORDER = ("passed", "skipped", "failed")  # from the best


@attrs.frozen
class Verdict:
    """Say what became of one check: its name in words, "passed", "skipped" or "failed", and why, case by case."""

    check: str
    outcome: str
    reasons: tuple[tuple[str, str], ...] = ()  # of each case that did not pass (empty where there is one only)


def examine(name: str, tell: Callable[[Verdict], None]) -> list[Verdict]:
    """Put an installed provider to all checks; each verdict is told as soon as it stands, and all are given.

    Raises RuntimeError if pytest itself fails.
    """
    listener = _Listener(tell)
    with TemporaryDirectory() as folder, patch.dict(os.environ, ALONE):
        Path(folder, f"{MODULE}.py").write_text(CODE.format(name=name), "utf-8")
        Path(folder, "pytest.ini").write_text("[pytest]\npython_files = *.py\n", "utf-8")
        options = (
            "-c",
            str(Path(folder, "pytest.ini")),
            "--rootdir",
            folder,
            "--import-mode=importlib",
            "--noconftest",
        )
        plugins = ("-p", "no:cacheprovider", "-p", "no:terminal", "--capture=sys")
        try:
            code = pytest.main([*options, *plugins, folder], plugins=[listener])
        finally:
            sys.modules.pop(MODULE, None)
    listener.close()
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {code!r}: {listener.trouble}")
    return listener.verdicts


class _Listener:
    """Join the reports of pytest: those of the cases of one check follow each other."""

    def __init__(self, tell: Callable[[Verdict], None]) -> None:
        self._tell = tell
        self._open: list[tuple[str, str, str, str]] = []  # check, case, outcome, reason
        self.verdicts: list[Verdict] = []
        self.trouble = ""

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what keeps pytest from finding the checks."""
        if report.failed:
            self.trouble = report.longreprtext

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what became of one case; what goes well around it says nothing."""
        if report.when != "call" and report.passed:
            return
        check, _, case = report.nodeid.rpartition("::")[2].partition("[")
        if self._open and self._open[0][0] != check:
            self.close()
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        self._open.append((check, case.removesuffix("]"), report.outcome, reason))

    def close(self) -> None:
        """Tell the verdict of the check that is at its end."""
        cases, self._open = self._open, []
        if cases:
            outcome = max((outcome for _, _, outcome, _ in cases), key=ORDER.index)
            reasons = tuple((case, reason) for _, case, became, reason in cases if became != "passed")
            verdict = Verdict(cases[0][0].removeprefix("test_").replace("_", " "), outcome, reasons)
            self.verdicts.append(verdict)
            self._tell(verdict)
