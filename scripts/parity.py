"""What is there, and which test says so: pages of docs out of lists of rows and the marks of the tests.

There are two: docs/parity.md has the features, docs/node.md what the tests of Node's server check. The functions are
pure; `tests/conftest.py` feeds them what pytest saw. Run as a program, it collects the tests and writes the pages (the
same as ``make parity``); with ``--check`` it says whether they are what it would write. That the tests pass is for
``make test`` to show: a row whose test does not pass fails it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
_COUNT = re.compile(r"tests/\S+: \d+").fullmatch  # of the tests that pytest has collected

SHOWN = 3
"""How many tests a row names; that there are more is said, not how many, which would make the page stale often."""

Proofs = Mapping[str, Iterable[str]]
"""Row id -> the test functions that passed and name it."""


@dataclass(frozen=True, slots=True)
class Book:
    """A list of rows, and the page that is made of it.

    Attributes:
        source: the file with the rows.
        page: the page.
        marker: the marker that a test names rows with.
        unit: what a row is.
        title: the page's title.
        about: what it says of itself.
    """

    source: Path
    page: Path
    marker: str
    unit: str
    title: str
    about: str

    @property
    def name(self) -> str:
        """The source, as messages name it."""
        return f"docs/{self.source.name}"


FEATURES = Book(
    ROOT / "docs" / "features.toml",
    ROOT / "docs" / "parity.md",
    "feature",
    "feature",
    "Parity with Socket.IO v4",
    "Each row is a feature; it is there when a test that passes says so.",
)
NODE = Book(
    ROOT / "docs" / "node.toml",
    ROOT / "docs" / "node.md",
    "node",
    "behaviour",
    "What Node's own tests check",
    "Each row is what a test of Node's socket.io 4.8 checks, in its order; one of madang's checks the same.",
)
BOOKS = (FEATURES, NODE)


@dataclass(frozen=True, slots=True)
class Row:
    """One feature. `status` is why it has no test yet, if that was said."""

    id: str
    line: str
    status: Literal["planned", "declined"] | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A letter's rows, in the order of the file."""

    id: str
    title: str
    rows: tuple[Row, ...]


def load(book: Book = FEATURES) -> list[Group]:
    """Read the rows.

    Raises:
        ValueError: a row is not of the form that the file's head describes.
    """
    with book.source.open("rb") as file:
        tables = tomllib.load(file)
    return [
        Group(name, table.pop("title"), tuple(_row(book, name, key, value) for key, value in table.items()))
        for name, table in tables.items()
    ]


def _row(book: Book, group: str, key: str, value: str | dict[str, str]) -> Row:
    id_ = f"{group}.{key}" if key.isdigit() else key
    if not id_.removeprefix(group).removeprefix(".").isdigit():
        raise ValueError(f"{book.name}: {key} stands in group {group}")
    if isinstance(value, str):
        return Row(id_, value)
    match value:
        case {"line": str(line), "planned": str(why), **rest} if not rest:
            return Row(id_, line, "planned", why)
        case {"line": str(line), "declined": str(why), **rest} if not rest:
            return Row(id_, line, "declined", why)
    raise ValueError(f"{book.name}: {id_} needs a line, and either planned or declined")


def ids(groups: Iterable[Group]) -> set[str]:
    """The ids that a test may name."""
    return {row.id for group in groups for row in group.rows}


def function_of(node_id: str) -> str:
    """A test's id without its parameters."""
    return node_id.partition("[")[0]


def proofs(named: Mapping[str, Iterable[str]], outcomes: Mapping[str, str]) -> dict[str, list[str]]:
    """Which test functions prove which row; all runs of a function must have passed.

    Args:
        named: test id -> the rows it names.
        outcomes: test id -> its outcome; a test without one did not run.
    """
    failed = {function_of(test) for test in named if outcomes.get(test) != "passed"}
    proven: dict[str, set[str]] = {}
    for test, rows in named.items():
        function = function_of(test)
        if function not in failed:
            for row in rows:
                proven.setdefault(row, set()).add(function)
    return {row: sorted(tests) for row, tests in proven.items()}


def contradictions(groups: Iterable[Group], proven: Proofs, book: Book = FEATURES) -> list[str]:
    """Rows that are said to be missing though a test proves them."""
    return [
        f"{row.id} is {row.status} in {book.name}, yet proven by a test: take the word {row.status!r} out"
        for group in groups
        for row in group.rows
        if row.status and row.id in proven
    ]


def render(groups: Iterable[Group], proven: Proofs, book: Book = FEATURES) -> str:
    """The text of the page."""
    groups = list(groups)
    lines = [
        f"# {book.title}",
        "",
        f"{book.about} Written by `make parity` from",
        f"[{book.source.name}]({book.source.name}) and the marks of the tests, each of which `make test` wants to",
        "pass: do not edit.",
        "",
        "| group | | proven | planned | declined | open |",
        "|---|---|--:|--:|--:|--:|",
    ]
    total = [0, 0, 0, 0]
    for group in groups:
        counts = _counts(group, proven)
        total = [sum(pair) for pair in zip(total, counts, strict=True)]
        cells = " | ".join(map(str, counts))
        lines.append(f"| [{group.id}](#{_anchor(group)}) | {group.title} | {cells} |")
    cells = " | ".join(f"**{count}**" for count in total)
    lines.append(f"| | **all {sum(total)}** | {cells} |")
    for group in groups:
        lines += ["", f"## {group.id}. {group.title}", "", f"| row | {book.unit} | proven by |", "|---|---|---|"]
        lines += [f"| {row.id} | {_cell(row.line)} | {_proof(row, proven)} |" for row in group.rows]
    return "\n".join(lines) + "\n"


def _counts(group: Group, proven: Proofs) -> list[int]:
    there = [row for row in group.rows if row.id in proven]
    missing = [row.status for row in group.rows if row.id not in proven]
    return [len(there), missing.count("planned"), missing.count("declined"), missing.count(None)]


def _anchor(group: Group) -> str:
    heading = f"{group.id}. {group.title}".lower()
    return "".join(c for c in heading if c.isalnum() or c in " -").replace(" ", "-")


def _proof(row: Row, proven: Proofs) -> str:
    tests = sorted(proven.get(row.id, ()))
    if not tests:
        why = f"{row.status}: {row.why}" if row.status else "no passing test names it"
        return f"not yet: {_cell(why)}" if row.status != "declined" else _cell(why)
    shown = ", ".join(map(_link, tests[:SHOWN]))
    return shown if len(tests) <= SHOWN else f"{shown} and more"


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[`{name}`](../{path})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    mode = "check" if "--check" in sys.argv else "write"
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", f"--parity={mode}", "tests"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    told = [line for line in done.stdout.splitlines() if not _COUNT(line)]
    print("\n".join(told if done.returncode else told[-len(BOOKS) :]))
    sys.exit(done.returncode)
