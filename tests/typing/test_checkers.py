"""What mypy and pyright make of events: they accept what is right, and refuse what is wrong, on the very line.

In `samples` a line that ends with ``# error`` must be refused by both, one with ``# reveals T`` must have that type,
and nothing may be said of any other line, nor of the program of docs/typing.md. What has no such comment is asserted by
`assert_type`.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Final

import mypy.api
import pytest

from tests.docs.snippets import snippets
from tests.hosts import ROOT

SAMPLES: Final = sorted((ROOT / "tests" / "typing" / "samples").glob("*.py"))
PAGE: Final = ROOT / "docs" / "typing.md"
Said = dict[tuple[str, int], list[str]]
"""What a checker has said, by file and line; what it reveals begins with ``reveals``."""


def wanted(files: list[Path]) -> Said:
    """What has to be said, by the comments."""
    found: Said = {}
    for path in files:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if comment := re.search(r"# (error|reveals .*)$", line):
                found[path.name, number] = [comment.group(1)]
    return found


def by_mypy(files: list[Path]) -> Said:
    """What mypy says in strict mode; notes that explain an error do not count."""
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--follow-imports", "silent", "--no-pretty"]
    out, err, _ = mypy.api.run([*options, "--no-error-summary", *map(str, files)])
    assert not err
    said: Said = {}
    for line in out.splitlines():
        match = re.match(r"(.*?):(\d+): (error|note): (.*)", line)
        assert match, line
        path, number, kind, text = match.groups()
        revealed = re.match(r'Revealed type is "(.*)"', text)
        if revealed or kind == "error":
            said.setdefault((Path(path).name, int(number)), []).append(
                f"reveals {revealed.group(1)}" if revealed else text
            )
    return said


def by_pyright(files: list[Path]) -> Said:
    """What pyright says in strict mode."""
    command = ROOT / "tests" / "js" / "node_modules" / ".bin" / "pyright"
    done = subprocess.run([command, "--outputjson", *files], cwd=ROOT, capture_output=True, check=False)
    said: Said = {}
    for one in json.loads(done.stdout)["generalDiagnostics"]:
        where = (Path(one["file"]).name, one["range"]["start"]["line"] + 1)
        revealed = re.search(r' is "(.*)"$', one["message"]) if one["severity"] == "information" else None
        said.setdefault(where, []).append(f"reveals {revealed.group(1)}" if revealed else one["message"])
    return said


@pytest.mark.node(
    "types.1",
    "types.2",
    "types.3",
    "types.4",
    "types.5",
    "types.6",
    "types.7",
    "types.8",
    "types.11",
    "types.12",
    "types.13",
    "types.14",
    "types.15",
    "types.17",
    "types.18",
    "types.19",
    "types.20",
    "types.21",
    "types.22",
)
@pytest.mark.feature("X1", "X2", "X3")
@pytest.mark.parametrize("checker", [by_mypy, by_pyright], ids=["mypy", "pyright"])
def test_what_a_checker_says(checker, tmp_path: Path):
    """Emits, handlers, answers and data are checked against what was declared, whatever modifiers stand between."""
    files = list(SAMPLES)
    for snippet in snippets(PAGE):
        if snippet.title == "server.py":
            files.append(tmp_path / f"docs_{snippet.title}")
            files[-1].write_text(f"# pyright: strict\n{snippet.code}", encoding="utf-8")
    said, due = checker(files), wanted(files)
    surplus = {where: texts for where, texts in said.items() if where not in due}
    assert not surplus, "refused, and should not be"
    missing = [where for where in due if where not in said]
    assert not missing, "not refused, and should be"
    for where, (comment,) in due.items():
        if comment != "error":
            assert said[where] == [comment], where
