"""The arithmetic of docs/planning.md, the tables of clusters in docs/benchmarks.md, the pictures of docs/scaling.md."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

import pytest

import madang
from benchmarks.planning import PAGE, work
from scripts.pictures import FOLDER, PICTURES
from tests.hosts import ROOT


def test_the_plan_is_worked_from_what_was_measured():
    """Each value on the page is what its formula gives with the figures of benchmarks/results."""
    text = PAGE.read_text(encoding="utf-8")
    worked, names = work(text)
    assert worked == text, "docs/planning.md is stale: python benchmarks/planning.py"
    assert len(names) > 40


def test_the_plan_assumes_the_defaults():
    """What the page takes for granted of madang is so."""
    options = madang.Server().engine.options
    names = work(PAGE.read_text(encoding="utf-8"))[1]
    assert names["ping_seconds"] == options.ping_interval
    assert options.outbound_limit == 16 * 2**20


def test_a_formula_that_cannot_be_worked():
    """A row that names something unknown is an error that shows the row."""
    with pytest.raises(ValueError, match="a_bytes = clients"):
        work("| `a_bytes = clients * 2` | | |")


def test_what_a_formula_looks_like():
    """Names are replaced by their values, in their units, with no more parentheses than it takes."""
    page = "| `n = 20` | | |\n| `a_bytes = 6_000` | | |\n| `b_bytes = 2 * (a_bytes + 500 - (a_bytes - n)) / n` | | |\n"
    last = work(page)[0].splitlines()[-1]
    wanted = "2 \N{MULTIPLICATION SIGN} (6 kB + 500 - (6 kB - 20)) / 20 = **52 B**"
    assert last == f"| `b_bytes = 2 * (a_bytes + 500 - (a_bytes - n)) / n` | {wanted} | |"


def test_the_tables_of_clusters_are_what_was_measured():
    """docs/benchmarks.md has the tables that benchmarks/results/cluster.json gives."""
    program = "import json, telling; print(telling.tables(json.load(open('../results/cluster.json'))))"
    folder = ROOT / "benchmarks" / "cluster"
    command = [sys.executable, "-c", f"import sys; sys.path.append('..'); {program}"]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert said in page, "docs/benchmarks.md is stale: python benchmarks/cluster/run.py --tell"


@pytest.mark.parametrize("draw", PICTURES, ids=lambda draw: draw.__name__)
def test_the_pictures_are_what_the_script_draws(draw):
    """Each picture is XML, and the one that scripts/pictures.py draws."""
    picture = draw()
    there = (FOLDER / f"{picture.name}.svg").read_text(encoding="utf-8")
    assert there == picture.svg(), "docs/pictures is stale: python scripts/pictures.py"
    assert ElementTree.fromstring(there).get("aria-label") == picture.says
