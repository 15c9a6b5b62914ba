"""Work the arithmetic of docs/planning.md, from what was measured: benchmarks/results.

python benchmarks/planning.py           # write the worked values into the page
python benchmarks/planning.py --check   # fail if that changes it

A table of the page is worked if its rows begin with a formula in code, such as ``memory_bytes = clients * one_bytes``;
the cell that follows is written here. A formula knows the names of all rows above it, the results of measurements, and
`math`. The end of a name is its unit: ``_bytes``, ``_seconds``, ``_rate`` (a second), ``_share`` and ``_cores``.
"""

from __future__ import annotations

import ast
import json
import math
import re
import sys
from pathlib import Path
from statistics import median
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "planning.md"
RESULTS: Final = ROOT / "benchmarks" / "results"

_ROW: Final = re.compile(r"^\| `(\w+) = ([^`]+)` \|[^|]*\|", re.MULTILINE)
_DECIMAL: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_SIGNS: Final = {ast.Mult: "×", ast.Div: "/", ast.Add: "+", ast.Sub: "-", ast.Pow: "^"}  # noqa: RUF001


# ---------------------------------------------------------------- what was measured


def _read(name: str) -> dict[str, Any]:
    return dict(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))


def idle(setup: str, figure: str) -> float:
    """A figure of `cluster/idle.py`."""
    return float(_read("idle")[setup][figure])


def cluster(case: str, setup: str, figure: str) -> float:
    """The median of a figure of `cluster/run.py`."""
    runs = _read("cluster")["runs"]
    return median(run[figure] for run in runs if (run["case"], run["setup"]) == (case, setup) and figure in run)


def server(case: str, figure: str) -> float:
    """The median of a figure of `run.py`, for madang; ``cpu`` is the time on a core for each unit."""
    every = [run["figures"] for run in _read("figures")["runs"] if (run["case"], run["server"]) == (case, "madang")]
    known = [figures for figures in every if figures]
    if figure == "cpu":
        return median(figures["server_busy"] / figures["rate"] for figures in known)
    return median(figures[figure] for figures in known)


MEASURED: Final = {"idle": idle, "cluster": cluster, "server": server}


# ---------------------------------------------------------------- how it is written


def written(name: str, value: float) -> str:
    """A value with the unit that its name ends with."""
    unit = name.rpartition("_")[2]
    if unit == "seconds":
        return _seconds(value)
    if unit == "share":
        return f"{100 * value:.3g} %"
    if unit == "bytes":
        return _scaled(value, "B")
    if unit == "rate":
        return _scaled(value, "/s")
    if unit == "cores":
        return f"{value:.2g}"
    return _plain(value)


def _seconds(value: float) -> str:
    if value >= 120:
        return f"{value / 60:.3g} min"
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def _scaled(value: float, unit: str) -> str:
    """Three digits that count, with G, M or k for thousands."""
    for size, letter in _DECIMAL:
        if value >= 0.9995 * size:
            return f"{_plain(value / size)} {letter}{unit}"
    return f"{_plain(value)} {unit}"


def _plain(value: float) -> str:
    """Three digits that count; whole numbers as they are, in groups."""
    if value >= 1000 or value == int(value):
        return f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}")
    return f"{value:.3g}"


def _substituted(node: ast.expr, names: dict[str, float]) -> str:
    """A formula with numbers in the place of names."""
    match node:
        case ast.BinOp(left, op, right):
            order = _order(node)
            before, after = _substituted(left, names), _substituted(right, names)
            if _order(left) < order:
                before = f"({before})"
            if _order(right) < order + isinstance(op, ast.Sub | ast.Div):
                after = f"({after})"
            return f"{before} {_SIGNS[type(op)]} {after}"
        case ast.Name(name):
            return written(name, names[name])
        case ast.Call(ast.Attribute(_, function), arguments):
            return f"{function}({', '.join(_substituted(argument, names) for argument in arguments)})"
        case ast.Constant(value):
            return _plain(float(str(value)))
    raise ValueError(f"a formula cannot have {ast.unparse(node)}")


def _order(node: ast.expr) -> int:
    """How firmly it holds together."""
    match node:
        case ast.BinOp(_, ast.Add() | ast.Sub(), _):
            return 1
        case ast.BinOp(_, ast.Mult() | ast.Div(), _):
            return 2
    return 3


# ---------------------------------------------------------------- the page


def work(text: str) -> tuple[str, dict[str, float]]:
    """The page with its values worked, and the values by name.

    Raises:
        ValueError: a formula cannot be worked.
    """
    names: dict[str, float] = {}

    def one(match: re.Match[str]) -> str:
        name, formula = match.groups()
        tree = ast.parse(formula, mode="eval").body
        try:
            value = float(eval(formula, {"math": math, **MEASURED, **names}))
        except (NameError, KeyError, ArithmeticError) as error:
            raise ValueError(f"{name} = {formula}: {error!r}") from None
        given = isinstance(tree, ast.Constant) or (isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name))
        told = f"**{written(name, value)}**" if not given else written(name, value)
        if not given:
            told = f"{_substituted(tree, names)} = {told}"
        names[name] = value
        return f"| `{name} = {formula}` | {told} |"

    return _ROW.sub(one, text), names


def main() -> int:
    """Write the page, or see that there is nothing to write."""
    before = PAGE.read_text(encoding="utf-8")
    after, _ = work(before)
    if "--check" in sys.argv[1:]:
        return int(before != after)
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
