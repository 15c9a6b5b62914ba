"""madang can be installed with a C compiler and without one."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from madang.compiled import COMPILED, TWINS
from tests.hosts import ROOT


def built(folder: Path, **environment: str) -> list[str]:
    """The files of a wheel, built in an environment of its own."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, env={**os.environ, **environment}, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return [wheel.name, *zipfile.ZipFile(wheel).namelist()]


@pytest.mark.timeout(180)
def test_a_wheel_without_a_compiler(tmp_path: Path) -> None:
    """Where nothing can be compiled the wheel is built all the same, of Python alone."""
    name, *files = built(tmp_path, CC="false", CXX="false")
    assert name.endswith("-py3-none-any.whl")
    assert not [file for file in files if file.endswith((".so", ".pyd", ".c"))]
    assert "madang/transports/frames.py" in files


def test_this_run_is_what_was_asked_for() -> None:
    """The tests run with the compiled modules, unless they were told not to."""
    assert COMPILED is not bool(os.environ.get("MADANG_PURE")), f"not compiled: {TWINS}; see what make setup says"
