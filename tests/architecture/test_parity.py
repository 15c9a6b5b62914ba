"""docs/parity.md and the marker `feature` that it is made from."""

from __future__ import annotations

from difflib import unified_diff
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from scripts import parity
from scripts.parity import Group, Row

if TYPE_CHECKING:
    from tests.conftest import FeatureRun

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
    assert (
        "| D1 | a poll waits | [`test_a`](../tests/t.py), [`test_b`](../tests/t.py), [`test_c`](../tests/t.py), +2 |"
        in text
    )
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
        parity.load(file)


def test_parity_is_what_the_tests_prove(request: pytest.FixtureRequest, feature_run: FeatureRun):
    """docs/parity.md is fresh; this test runs last, and only in a run of everything with --parity=check."""
    if request.session.testsfailed:
        pytest.fail("docs/parity.md can be compared only when all other tests pass", pytrace=False)
    written = parity.PARITY.read_text(encoding="utf-8") if parity.PARITY.exists() else ""
    fresh = feature_run.text()
    problems = parity.contradictions(feature_run.groups, feature_run.proven)
    if written != fresh:
        changes = unified_diff(
            written.splitlines(), fresh.splitlines(), "as committed", "as proven now", n=0, lineterm=""
        )
        problems += ["docs/parity.md is stale; run `make parity` and commit it:", *islice(changes, 30)]
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
