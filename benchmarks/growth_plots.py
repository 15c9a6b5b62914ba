"""The picture of how madang behaves as numbers grow: four panels, one for each part of growth.json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MultipleLocator, NullLocator

import plots
import wording
from contenders import MADANG
from plots import INK, OTHER, QUIET, RULE, STYLE, WIDTH

Points = list[dict[str, Any]]

HEIGHT: Final = 5.9
LABEL: Final[dict[str, Any]] = {"boxstyle": "square,pad=0.15", "facecolor": plots.PAPER, "edgecolor": "none"}
ACCENT: Final = plots.COLOURS[MADANG]


def draw(growth: dict[str, Any], folder: Path) -> list[str]:
    """The picture; its name, or none if nothing was measured."""
    shown = [(name, draw_part) for name, draw_part in PARTS.items() if growth.get(name)]
    if not shown:
        return []
    with mpl.rc_context(STYLE):
        figure, grid = plt.subplots(2, 2, figsize=(WIDTH, HEIGHT), squeeze=False)
        figure.subplots_adjust(
            left=0.085, right=0.965, top=1 - 0.85 / HEIGHT, bottom=0.45 / HEIGHT, hspace=0.48, wspace=0.3
        )
        plots.heading(figure, "As numbers grow", "madang on its native host; both cores, one for the load.")
        panels = list(grid.flat)
        for panel, (name, draw_part) in zip(panels, shown, strict=False):
            draw_part(panel, growth[name])
            _bare(panel)
        for panel in panels[len(shown) :]:
            panel.set_visible(False)
        plots.save(figure, folder, "growth")
    return ["growth"]


def _bare(panel: Axes) -> None:
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_minor_locator(NullLocator())
    panel.grid(axis="y", color=RULE, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(length=0, labelcolor=QUIET)
    panel.spines["left"].set_visible(False)


def _counts(panel: Axes, sizes: list[int], label: str) -> None:
    """A horizontal axis of numbers that grow tenfold."""
    panel.set_xscale("log")
    tens = _tens(sizes)
    panel.set_xticks(tens, [f"{size:,}".replace(",", " ") for size in tens])
    panel.set_xlabel(label)


def _tens(sizes: list[int]) -> list[int]:
    """Those that are powers of ten, which are enough to read the others by."""
    return [size for size in sizes if str(size).strip("0") == "1"] or sizes


def _throughput(panel: Axes, points: Points) -> None:
    sizes, rates = [point["clients"] for point in points], [point["rate"] for point in points]
    panel.set_title("Echo: events/s, 1 in flight")
    _counts(panel, sizes, "clients")
    panel.vlines(
        sizes,
        [point["low"] for point in points],
        [point["high"] for point in points],
        color=INK,
        linewidth=0.9,
        alpha=0.6,
    )
    panel.plot(sizes, rates, "o-", color=ACCENT, markersize=5)
    panel.set_ylim(0, max(point["high"] for point in points) * 1.18)
    panel.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: wording.plain(wording.rate(value)) if value else "0")
    )
    for point in points:
        if point["clients"] in _tens(sizes):
            _write(panel, point["clients"], point["high"], wording.rate(point["rate"]))


def _broadcast(panel: Axes, points: Points) -> None:
    sizes, spans = [point["members"] for point in points], [point["p50"] for point in points]
    panel.set_title("Broadcast: time until all have it")
    _counts(panel, sizes, "members of the room")
    panel.set_yscale("log")
    each = slope(points)
    panel.plot(sizes, [each * size for size in sizes], color=OTHER, linewidth=1.1, linestyle="--", zorder=1)
    panel.plot(sizes, spans, "o", color=ACCENT, markersize=5)
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.plain(wording.seconds(value))))
    text = f"dashed: {wording.seconds(each)} for each member"
    panel.text(0.03, 0.9, text, transform=panel.transAxes, color=QUIET, bbox=LABEL)


def slope(points: Points) -> float:
    """Seconds for each member, of the line through the origin that lies nearest to the larger sizes."""
    large = points[len(points) // 2 :]
    ratios = sorted(point["p50"] / point["members"] for point in large)
    return float(ratios[len(ratios) // 2])


def _membership(panel: Axes, points: Points) -> None:
    sizes = [point["sockets"] for point in points]
    panel.set_title("One socket's operation, median")
    _counts(panel, sizes, "sockets in the namespace, all in one room")
    first, last = points[0], points[-1]
    tones = {"disconnect": ACCENT, "leave": "#5a6b7b", "join": "#8494b0"}
    for place, (name, tone) in enumerate(tones.items()):
        panel.plot(sizes, [point[name] for point in points], "o-", color=tone, markersize=4.5)
        text = f"{name}: {wording.nanoseconds(first[name])} to {wording.nanoseconds(last[name])}"
        panel.text(0.045, 0.92 - 0.08 * place, text, transform=panel.transAxes, color=tone, bbox=LABEL)
    panel.set_ylim(0, max(point["disconnect"] for point in points) * 1.6)
    panel.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: wording.plain(wording.nanoseconds(value)) if value else "0")
    )


def _memory(panel: Axes, points: Points) -> None:
    counts, sizes = [point["connections"] for point in points], [point["resident"] for point in points]
    panel.set_title("Memory of the server")
    panel.set_xlabel("connections that have come and gone")
    panel.plot(counts, sizes, "o-", color=ACCENT, markersize=4.5)
    panel.set_ylim(0, max(sizes) * 1.25)
    step = 10 * 2**20 * max(1, round(max(sizes) / (50 * 2**20)))
    panel.yaxis.set_major_locator(MultipleLocator(step))
    panel.set_xticks([counts[0], counts[len(counts) // 2 - 1], counts[-1]])
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", " ")))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.mebibytes(value) if value else "0"))
    _write(panel, counts[0], sizes[0], f"{sizes[0] / 2**20:.1f} MiB", "left")
    _write(panel, counts[-1], sizes[-1], f"{sizes[-1] / 2**20:.1f} MiB", "right")


def _write(panel: Axes, x: float, y: float, text: str, align: str = "center", tone: str = INK, above: int = 6) -> None:
    panel.annotate(
        text, (x, y), xytext=(0, above), textcoords="offset points", ha=align, color=INK, zorder=1.5, bbox=LABEL
    )


PARTS: Final[dict[str, Callable[[Axes, Points], None]]] = {
    "throughput": _throughput,
    "broadcast": _broadcast,
    "membership": _membership,
    "memory": _memory,
}
