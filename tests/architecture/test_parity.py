"""docs/parity.md and docs/node.md, and the markers that they are made from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scripts import parity
from scripts.parity import Group, Row
from tests.hosts import ROOT

pytest_plugins = ["pytester"]

GROUPS = [
    Group(
        "D",
        "Polling, and so on",
        (
            Row("D1", "a poll waits"),
            Row("D9", "JSONP", "planned", "later"),
            Row("D17", "odd | end", "declined", "no use"),
        ),
    )
]


def test_a_row_is_proven_by_the_functions_that_pass():
    """Parameters are left out, and the tests are sorted."""
    named = {"t.py::b[x]": ["D1"], "t.py::b[y]": ["D1"], "t.py::a": ["D1", "D9"]}
    outcomes = dict.fromkeys(named, "passed")
    assert parity.proofs(named, outcomes) == {"D1": ["t.py::a", "t.py::b"], "D9": ["t.py::a"]}


@pytest.mark.parametrize("outcome", ["failed", "skipped", None])
def test_a_function_proves_nothing_unless_all_its_runs_pass(outcome):
    """One parameter that fails, is skipped or does not run takes the whole function out."""
    outcomes = {"t.py::a[x]": "passed"} | ({"t.py::a[y]": outcome} if outcome else {})
    assert parity.proofs({"t.py::a[x]": ["D1"], "t.py::a[y]": ["D1"]}, outcomes) == {}


def test_the_table_tells_what_is_proven_and_why_the_rest_is_not():
    """A row shows three tests and the number of the others, or why it has none."""
    text = parity.render(GROUPS, {"D1": [f"tests/t.py::test_{n}" for n in "abcde"]})
    shown = ", ".join(f"[`test_{n}`](../tests/t.py)" for n in "abc")
    assert f"| D1 | a poll waits | {shown} and more |" in text
    assert "| D9 | JSONP | not yet: planned: later |" in text
    assert "| D17 | odd \\| end | declined: no use |" in text
    assert "| [D](#d-polling-and-so-on) | Polling, and so on | 1 | 1 | 1 | 0 |" in text
    assert "not yet: no passing test names it" in parity.render([Group("D", "x", (Row("D1", "y"),))], {})


def test_a_proven_row_must_not_be_said_to_be_missing():
    """`planned` and `declined` are taken out when a test proves the row."""
    assert parity.contradictions(GROUPS, {"D1": ["t"]}) == []
    assert parity.contradictions(GROUPS, {"D9": ["t"]}) == [
        "D9 is planned in docs/features.toml, yet proven by a test: take the word 'planned' out"
    ]


@pytest.mark.parametrize("row", ["E1 = 'x'", "D1 = {line = 'x'}", "D1 = {line = 'x', planned = 'y', more = 'z'}"])
def test_a_malformed_row_is_refused(tmp_path, row):
    """A row stands in its own group, and has a line and at most one reason."""
    file = tmp_path / "features.toml"
    file.write_text(f"[D]\ntitle = 'Polling'\n{row}\n")
    with pytest.raises(ValueError, match="features"):
        parity.load(replace(parity.FEATURES, source=file))


def test_rows_that_are_numbered(tmp_path):
    """A row whose key is a number is called after its group as well."""
    file = tmp_path / "node.toml"
    file.write_text("[close]\ntitle = 'x'\n1 = 'a'\n2 = {line = 'b', declined = 'c'}\n")
    (group,) = parity.load(replace(parity.NODE, source=file))
    assert [(row.id, row.line, row.status) for row in group.rows] == [
        ("close.1", "a", None),
        ("close.2", "b", "declined"),
    ]


@pytest.mark.parametrize("state", ["fresh", "stale", "failed"])
def test_the_check_of_the_table(pytester: pytest.Pytester, state: str):
    """A run with ``--parity=check`` fails if the table is not what the run proves, and if a test fails."""
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text())
    features, table = pytester.path / "features.toml", pytester.path / "parity.md"
    features.write_text("[D]\ntitle = 'Polling'\nD1 = 'x'\n")
    pytester.makepyfile(
        test_it=f"""
        import pytest

        @pytest.mark.feature("D1")
        def test_it():
            assert {state != "failed"}
        """
    )
    head = f"""
        from pathlib import Path
        from scripts import parity
        from dataclasses import replace
        parity.BOOKS = (replace(parity.FEATURES, source=Path({str(features)!r}), page=Path({str(table)!r})),)
    """
    pytester.makepyfile(told=head)
    options = ("-p", "told", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), "--rootdir", pytester.path)
    assert pytester.runpytest_subprocess(*options, "--collect-only", "--parity=write", "test_it.py").ret == 0
    assert "test_it" in table.read_text()
    if state == "stale":
        table.write_text(table.read_text().replace("test_it", "test_that"))
    run = pytester.runpytest_subprocess(*options, "--parity=check", "test_it.py")
    assert run.ret == (0 if state == "fresh" else 1), run.stdout.str()
    words = {
        "stale": "stale",
        "missing": "stale",
        "contradicted": "take the word",
        "failed": "only when all tests pass",
    }
    assert words.get(state, "1 passed") in run.stdout.str()
