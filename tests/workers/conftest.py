"""A supervisor with three workers, for all tests that leave it as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.hosts import ROOT
from tests.workers.crew import APP, STOP_WITHIN, Place


@pytest.fixture(scope="session")
def workers() -> Iterator[Place]:
    """Where it is."""
    command = [sys.executable, str(APP), json.dumps({"port": 0, "workers": 3})]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield Place(process.pid, process.stdout.readline().strip())
    process.terminate()
    assert process.wait(STOP_WITHIN) == 0
    process.stdout.close()
