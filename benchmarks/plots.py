"""The plots of docs/benchmarks: one picture a family, each server with its own colour in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

import wording
from cases import CASES, LATENCY_HIGH, LATENCY_LOW, Case
from contenders import MADANG, MADANG_ASGI
from figures import Results, Spread

# ---------------------------------------------------------------- the look

WIDTH: Final = 8.0
"""Inches; with 100 pixels each a picture is as wide as GitHub's pages."""

BAR: Final = 0.21
"""Inches that one server's line takes."""

INK: Final = "#1f2933"
QUIET: Final = "#6b7785"
RULE: Final = "#d5dae0"
PAPER: Final = "#ffffff"
ALARM: Final = "#b23a48"

COLOURS: Final = {
    MADANG: "#0b7a6f",
    MADANG_ASGI: "#7cc0b6",
    "socketioxide": "#c79a7b",
    "bun": "#d9c08f",
    "node": "#a3ac8c",
    "python_socketio": "#98a6bd",
}
OTHER: Final = "#b5b5b5"

LABELS: Final = {
    MADANG_ASGI: "madang, ASGI",
    "node": "socket.io, Node",
    "bun": "socket.io, Bun",
    "python_socketio": "python-socketio",
    "socketioxide": "socketioxide",
}
"""What stands beside a bar, where the server's title is too long."""

STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": QUIET,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": QUIET,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "madang",
    "svg.fonttype": "path",
}


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a picture as PNG and SVG, the same bytes for the same figures."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=200, metadata={"Software": None})
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


def heading(figure: Figure, title: str, note: str) -> None:
    """A picture's title and, below it, what is to be known of it."""
    height = figure.get_size_inches()[1]
    figure.text(0.012, 1 - 0.08 / height, title, fontsize=12.5, fontweight="bold", va="top")
    figure.text(0.012, 1 - 0.34 / height, note, fontsize=8.5, color=QUIET, va="top")


def label(results: Results, server: str) -> str:
    """A server's name beside a bar."""
    return LABELS.get(server, results.title(server))


def colour(server: str) -> str:
    """A server's colour."""
    return COLOURS.get(server, OTHER)


# ---------------------------------------------------------------- bars

PICTURES: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "echo": (
        "Echo: acknowledged events a second",
        "32 bytes of text, sent again as soon as the answer has come. Longer is better.",
        ("echo-1-1", "echo-1-16", "echo-100-1", "echo-100-16", "echo-1000-1", "echo-1000-16"),
    ),
    "payloads": (
        "Payloads: acknowledged events a second",
        "100 clients. Longer is better.",
        ("text-1k-1", "text-1k-16", "binary-1k-1", "binary-1k-16", "text-64k-1", "binary-64k-1"),
    ),
    "broadcast": (
        "Broadcast: deliveries a second",
        "32 bytes; a message counts once for each member that has got it. Longer is better.",
        ("fanout-500-1", "fanout-500-16", "fanout-5000-1", "fanout-5000-16", "rooms-1", "rooms-16"),
    ),
    "connections": (
        "Connections, long-polling and validation",
        "Connections or acknowledged events a second; events of 100 clients. Longer is better.",
        ("connects", "churn", "polling", "typed-16"),
    ),
}


def draw_bars(results: Results, folder: Path) -> list[str]:
    """A picture for each family of rates; the names of those drawn."""
    by_name = {case.name: case for case in CASES}
    drawn: list[str] = []
    for name, (title, note, wanted) in PICTURES.items():
        measured = {case.name for case in results.measured()}
        shown = [by_name[case] for case in wanted if case in measured]
        if shown:
            save(_bars(results, title, note, shown), folder, name)
            drawn.append(name)
    return drawn


def _bars(results: Results, title: str, note: str, shown: Sequence[Case]) -> Figure:
    servers = results.servers()
    figure, panels = _panels((len(shown) + 1) // 2, len(servers), margin(results))
    heading(figure, title, note)
    for panel in panels[len(shown) :]:
        panel.set_visible(False)
    for place, (panel, case) in enumerate(zip(panels, shown, strict=False)):
        spreads = {server: results.spread(case.name, server, case.metric) for server in servers}
        _panel(panel, results, spreads, case)
        panel.set_title(case.title[0].upper() + case.title[1:])
        _standing(panel, results, case)
        _name_lines(panel, results, servers, named=place % 2 == 0)
    return figure


def _standing(panel: Axes, results: Results, case: Case) -> None:
    """How madang stands to the best peer, at the end of a panel's title."""
    best = results.best_peer(case)
    ratio = results.ratio(case, MADANG, best) if best is not None else None
    if ratio is not None:
        text = f"{wording.times(ratio)} best peer"
        tone = colour(MADANG) if (ratio >= 1) is case.higher_is_better or ratio == 1 else ALARM
        panel.set_title(text, loc="right", fontsize=8.5, fontweight="normal", color=tone)


def margin(results: Results) -> float:
    """Inches that the servers' names take at the left."""
    return 0.25 + 0.068 * max(len(label(results, server)) for server in results.servers())


def _panels(rows: int, lines: int, left: float) -> tuple[Figure, list[Axes]]:
    """Two columns of panels below a heading, with room for the servers' names at the left."""
    panel, gap, top, bottom = lines * BAR, 0.4, 0.88, 0.12
    height = top + rows * panel + (rows - 1) * gap + bottom
    figure, grid = plt.subplots(rows, 2, figsize=(WIDTH, height), squeeze=False)
    figure.subplots_adjust(
        left=left / WIDTH,
        right=1 - 0.1 / WIDTH,
        top=1 - top / height,
        bottom=bottom / height,
        hspace=gap / panel,
        wspace=0.06,
    )
    return figure, list(grid.flat)


def _panel(panel: Axes, results: Results, spreads: dict[str, Spread | None], case: Case) -> None:
    longest = max((spread.high for spread in spreads.values() if spread is not None), default=1.0)
    panel.set_xlim(0, longest * 1.2)
    panel.set_ylim(len(spreads) - 0.45, -0.55)
    panel.xaxis.set_visible(False)
    panel.spines["bottom"].set_visible(False)
    for line, (server, spread) in enumerate(spreads.items()):
        if spread is not None:
            _bar(panel, results, server, line, spread)
        _label(panel, results, case, server, line, spread, longest)


def _bar(panel: Axes, results: Results, server: str, line: int, spread: Spread) -> None:
    if server in results.servers("limit"):
        panel.barh(line, spread.median, height=0.66, facecolor=PAPER, edgecolor=OTHER, hatch="////", linewidth=0.8)
    else:
        panel.barh(line, spread.median, height=0.74, color=colour(server))
    if spread.high > spread.low:
        panel.plot((spread.low, spread.high), (line, line), color=INK, linewidth=0.9, solid_capstyle="butt", alpha=0.7)


def _label(
    panel: Axes, results: Results, case: Case, server: str, line: int, spread: Spread | None, longest: float
) -> None:
    if spread is None:
        failed = results.error(case.name, server) is not None
        text, tone = ("failed", ALARM) if failed else (wording.MISSING, QUIET)
        panel.text(longest * 0.015, line, text, color=tone, va="center")
        return
    weight = "bold" if server == MADANG else "normal"
    panel.text(
        max(spread.high, 0) + longest * 0.015, line, wording.value(case, spread.median), va="center", fontweight=weight
    )


def _name_lines(panel: Axes, results: Results, servers: Sequence[str], *, named: bool) -> None:
    panel.set_yticks(range(len(servers)))
    panel.tick_params(axis="y", length=0)
    panel.set_yticklabels([label(results, server) for server in servers] if named else [""] * len(servers))
    for server, text in zip(servers, panel.get_yticklabels(), strict=True):
        text.set_fontweight("bold" if server == MADANG else "normal")
        text.set_color(QUIET if server in results.servers("limit") else INK)


# ---------------------------------------------------------------- memory


def draw_memory(results: Results, folder: Path) -> list[str]:
    """What a client costs, and what stays when all have gone."""
    case = next(case for case in CASES if case.kind == "memory")
    if case not in results.measured():
        return []
    servers = [server for server in results.servers() if server not in case.not_for]
    figure, panels = _panels(1, len(servers), margin(results))
    note = f"RAM of the server's process for each of {case.clients:,} clients. Shorter is better.".replace(",", " ", 1)
    heading(figure, "Memory for each client", note)
    titles = {"per_client": "While they are connected", "kept": "Kept after all have gone"}
    for place, (panel, (metric, title)) in enumerate(zip(panels, titles.items(), strict=True)):
        _panel(panel, results, {server: results.spread(case.name, server, metric) for server in servers}, case)
        panel.set_title(title)
        _name_lines(panel, results, servers, named=place == 0)
    _standing(panels[0], results, case)
    save(figure, folder, "memory")
    return ["memory"]


# ---------------------------------------------------------------- latency

PERCENTILES: Final = {"p50": "○ median", "p99": "● 99 %", "p999": "| 99.9 %"}
"""Each with the mark that it has in the plot."""

COLUMNS: Final = (0.75, 1.38, 2.03)
"""Where the figures end, in inches to the right of the plot."""


def draw_latency(results: Results, folder: Path) -> list[str]:
    """How long answers take at rates that are the same for all."""
    measured = {case.name: case for case in results.measured()}
    shown = [measured[name] for name in (LATENCY_HIGH, LATENCY_LOW) if name in measured and name in results.rates]
    if not shown:
        return []
    servers = results.servers()
    panel, gap, top, bottom = len(servers) * 0.235, 0.72, 0.98, 0.4
    height = top + len(shown) * panel + (len(shown) - 1) * gap + bottom
    figure, grid = plt.subplots(len(shown), 1, figsize=(WIDTH, height), squeeze=False)
    figure.subplots_adjust(
        left=margin(results) / WIDTH,
        right=1 - 2.13 / WIDTH,
        top=1 - top / height,
        bottom=bottom / height,
        hspace=gap / panel,
    )
    heading(
        figure, "Latency at the same rate for all", "100 clients, 32 bytes, events at random moments. Left is better."
    )
    for axes, case in zip(grid.flat, shown, strict=True):
        _percentiles(axes, results, case, servers)
    save(figure, folder, "latency")
    return ["latency"]


def _percentiles(axes: Axes, results: Results, case: Case, servers: Sequence[str]) -> None:
    axes.set_title(f"{wording.plain(wording.rate(results.rates[case.name]))} events/s, {case.title}")
    axes.set_xscale("log")
    axes.set_ylim(len(servers) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.plain(wording.seconds(value))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
    axes.spines["left"].set_visible(False)
    _name_lines(axes, results, servers, named=True)
    for column, name in zip(COLUMNS, PERCENTILES.values(), strict=True):
        _aside(axes, column, -0.95, name, color=QUIET)
    for line, server in enumerate(servers):
        _percentile_line(axes, results, case, server, line)


def _percentile_line(axes: Axes, results: Results, case: Case, server: str, line: int) -> None:
    spreads = [results.spread(case.name, server, metric) for metric in PERCENTILES]
    found = [spread.median for spread in spreads if spread is not None]
    if len(found) < len(PERCENTILES):
        if results.error(case.name, server) is not None:
            _aside(axes, COLUMNS[-1], line, "failed", color=ALARM)
        return
    limit = server in results.servers("limit")
    tone, weight = (OTHER if limit else colour(server)), ("bold" if server == MADANG else "normal")
    axes.plot((found[0], found[-1]), (line, line), color=tone, linewidth=2.2, linestyle=":" if limit else "-", zorder=2)
    axes.plot(found[0], line, "o", markersize=6, markerfacecolor=PAPER, markeredgecolor=tone, markeredgewidth=1.6)
    axes.plot(found[1], line, "o", markersize=6.5, color=tone, zorder=3)
    axes.plot(found[2], line, "|", markersize=9, color=tone, markeredgewidth=2.2, zorder=3)
    for column, figure in zip(COLUMNS, found, strict=True):
        _aside(axes, column, line, wording.seconds(figure), fontweight=weight)


def _aside(axes: Axes, inches: float, line: float, text: str, **look: Any) -> None:
    """Text on a line, to the right of the plot."""
    where: Any = axes.get_yaxis_transform()
    axes.annotate(
        text,
        (1, line),
        xycoords=where,
        xytext=(inches * 72, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        annotation_clip=False,
        **look,
    )


# ---------------------------------------------------------------- all


def draw(results: Results, folder: Path) -> list[str]:
    """All pictures that the results have figures for; their names, in the order of a page."""
    with mpl.rc_context(STYLE):
        return [*draw_bars(results, folder), *draw_memory(results, folder), *draw_latency(results, folder)]
