"""Draw the plots, and write goals, tables and losses into docs/benchmarks.md, between its two marks.

python benchmarks/report.py
python benchmarks/report.py --results benchmarks/results/partial --page page.md
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import goals
import growth_plots
import plots
import wording
from cases import FAMILIES, Case
from contenders import HERE, MADANG
from figures import Results
from growth_plots import slope
from plots import PERCENTILES

PAGE: Final = HERE.parent / "docs" / "benchmarks.md"
BEGIN: Final = "<!-- figures -->"
END: Final = "<!-- /figures -->"

PICTURED: Final = {
    "Echo": "echo",
    "Payloads": "payloads",
    "Broadcast": "broadcast",
    "Connections": "connections",
    "Memory": "memory",
    "Latency": "latency",
}
"""Which picture stands under which heading."""

ALT: Final = {
    "echo": "Bars: acknowledged events a second of each server",
    "payloads": "Bars: acknowledged events a second of each server, with larger payloads",
    "broadcast": "Bars: deliveries a second of each server",
    "connections": "Bars: connections, and events over long-polling and with validation, of each server",
    "memory": "Bars: memory for each client, and what is kept of it",
    "latency": "Ranges: median, 99 % and 99.9 % of the waiting times at two rates",
    "growth": "Curves: throughput, time of a broadcast, time of operations and memory as numbers grow",
}

Rows = Iterable[Sequence[str]]


def table(head: Sequence[str], rows: Rows) -> Iterator[str]:
    """A table in Markdown: the first column to the left, the others to the right."""
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


# ---------------------------------------------------------------- what was measured, on what


def facts(results: Results) -> Iterator[str]:
    """Machine, date, commit, versions."""
    machine, settings = results.machine, results.settings
    kind = "a virtual machine" if machine["virtual"] else "a machine"
    yield (
        f"Measured on {results.date} at commit `{results.commit}`, on {kind} with {machine['cores']} cores "
        f"({machine['cpu']}), {machine['memory_gib']} GiB and {machine['kernel']}, the load compiled by "
        f"{machine['compiler']}: {_rounds(settings)}. "
        "Each figure is the median of its rounds; below it stand the lowest and the highest."
    )
    for later in results.again:
        names = ", ".join(f"`{name}`" for name in later["cases"])
        yield (
            f"Measured again on {later['date']} at commit `{later['commit']}`, {_rounds(later['settings'])}, "
            f"in place of their first figures: {names}."
        )
    yield ""
    entrants = [(entrant.title, entrant.language, entrant.version, entrant.settings) for entrant in results.entrants]
    yield "| Server | Language | Versions | How it is set up |"
    yield "|---|---|---|---|"
    for row in entrants:
        yield f"| {' | '.join(row)} |"
    yield ""


def _rounds(settings: dict[str, Any]) -> str:
    rounds = f"{settings['rounds']} rounds" if settings["rounds"] > 1 else "one round"
    return f"{rounds} of {settings['seconds']:g} seconds"


def verdicts(results: Results) -> Iterator[str]:
    """The goals, and whether they are met."""
    yield "### Goals"
    yield ""
    yield "What madang is meant to reach: its figure divided by another's, round by round, then the median."
    yield ""
    marks = {True: "met", False: "**missed**", None: wording.MISSING}
    rows = [(verdict.what, verdict.wanted, verdict.found, marks[verdict.met]) for verdict in goals.check(results)]
    yield from table(("Goal", "Wanted", "Found", ""), rows)


# ---------------------------------------------------------------- families


def family(results: Results, name: str, pictures: Sequence[str], link: str) -> Iterator[str]:
    """One heading: its picture and its table."""
    shown = [case for case in results.measured() if case.family == name]
    if not shown:
        return
    yield f"### {name}"
    yield ""
    yield from picture(PICTURED[name], pictures, link)
    if name == "Memory":
        yield from memory(results, shown[0])
    elif name == "Latency":
        yield from latency(results, shown)
    else:
        yield from rates(results, shown)


def picture(name: str, drawn: Sequence[str], link: str) -> Iterator[str]:
    """A picture, if it was drawn."""
    if name in drawn:
        yield f"![{ALT[name]}]({link}/{name}.svg)"
        yield ""


def rates(results: Results, shown: Sequence[Case]) -> Iterator[str]:
    """Rates of all servers, and how madang stands to the best peer and to the limit."""
    names = results.servers()
    limit = next(iter(results.servers("limit")), None)
    units = " or ".join(dict.fromkeys(case.unit for case in shown))
    head = [units, *map(results.title, names), "madang / best peer", "madang / limit"]
    rows = [
        [
            case.title,
            *(_cell(results, case, server, case.metric) for server in names),
            _ratio(results, case, results.best_peer(case)),
            _ratio(results, case, limit if case.compares_kernel else None),
        ]
        for case in shown
    ]
    yield from table(head, rows)


def _ratio(results: Results, case: Case, rival: str | None) -> str:
    ratio = results.ratio(case, MADANG, rival) if rival is not None else None
    return wording.MISSING if ratio is None else wording.digits(ratio)


def _cell(results: Results, case: Case, server: str, metric: str) -> str:
    spread = results.spread(case.name, server, metric)
    failed = results.error(case.name, server) is not None
    if spread is None:
        return "failed" if failed else wording.MISSING
    text = wording.value(case, spread.median)
    text = f"**{text}**" if server == MADANG else text
    if spread.high > spread.low:
        text += f"<br><sub>{wording.value(case, spread.low)} to {wording.value(case, spread.high)}</sub>"
    return f"{text}<br>failed in a round" if failed else text


def memory(results: Results, case: Case) -> Iterator[str]:
    """What a client costs, what stays, and what the server has without clients."""
    head = ["", "of each client", "kept when all have gone", "server without clients", "madang / it"]
    rows = []
    for server in results.servers():
        before = results.spread(case.name, server, "before")
        if server in case.not_for:
            continue
        rows.append(
            [
                results.title(server),
                _cell(results, case, server, "per_client"),
                _cell(results, case, server, "kept"),
                wording.mebibytes(before.median) if before is not None else wording.MISSING,
                _ratio(results, case, server) if server != MADANG else "",
            ]
        )
    yield from table(head, rows)


def latency(results: Results, shown: Sequence[Case]) -> Iterator[str]:
    """Waiting times at each rate, and the rates that were found."""
    for case in shown:
        if case.name not in results.rates:
            continue
        yield f"{wording.rate(results.rates[case.name])} events/s, {case.title}:"
        yield ""
        rows = []
        for server in results.servers():
            cells = [_cell(results, case, server, metric) for metric in PERCENTILES]
            rows.append([results.title(server), *cells, _answered(results, case, server)])
        yield from table(("", "median", "99 %", "99.9 %", "answered"), rows)
    yield "The highest rate that each sustains; half of the highest and half of the lowest are the rates above:"
    yield ""
    rows = [
        [results.title(server), wording.rate(found["rate"]) if "rate" in found else f"failed: {found['error']}"]
        for server, found in results.saturation.items()
    ]
    yield from table(("", "events/s"), rows)


def _answered(results: Results, case: Case, server: str) -> str:
    """The share of the offered events that was answered while it was measured."""
    rate, offered = (results.spread(case.name, server, metric) for metric in ("rate", "offered"))
    if rate is None or offered is None or not offered.median:
        return wording.MISSING
    return wording.percent(min(rate.median / offered.median, 1.0))


# ---------------------------------------------------------------- where madang loses


def losses(results: Results) -> Iterator[str]:
    """Every figure in which a peer's median is better than madang's."""
    yield "### Where madang loses"
    yield ""
    found = list(_losses(results))
    yield "Every figure in which a peer's median is better than madang's:" if found else "In none of these cases."
    yield ""
    yield from found
    if found:
        yield ""


def _losses(results: Results) -> Iterator[str]:
    for case in results.measured():
        for metric, what in _compared(case).items():
            own = results.spread(case.name, MADANG, metric)
            if own is None:
                if results.error(case.name, MADANG) is not None:
                    yield f"- {case.family}, {case.title}{what}: madang failed."
                continue
            better = [
                f"{results.title(peer)} {wording.value(case, spread.median)}"
                for peer in results.servers("peer")
                if (spread := results.spread(case.name, peer, metric)) is not None
                and (spread.median > own.median if case.higher_is_better else spread.median < own.median)
            ]
            if better:
                told = f"{', '.join(better)}; madang {wording.value(case, own.median)}"
                yield f"- {case.family}, {case.title}{what}: {told}."


def _compared(case: Case) -> dict[str, str]:
    """The figures of a case that are compared, and how each is called after the case's title."""
    if case.kind == "paced":
        return {metric: f", {name[2:]}" for metric, name in PERCENTILES.items()}
    if case.kind == "memory":
        return {"per_client": "", "kept": ", kept when all have gone"}
    return {case.metric: ""}


def failures(results: Results) -> Iterator[str]:
    """Every server that has failed a case."""
    found = []
    for case in results.measured():
        for server in results.servers():
            failed = [run for run in results.runs if run.case == case.name and run.server == server and run.error]
            if failed:
                found.append(
                    f"- {case.family}, {case.title}: {results.title(server)}, in {len(failed)} of its rounds: "
                    f"{failed[0].error}."
                )
    if found:
        yield "### What failed"
        yield ""
        yield from found
        yield ""


def order(results: Results) -> Iterator[str]:
    """Whether every answer and every broadcast came in its turn."""
    swapped = []
    for case in results.measured():
        for server in results.servers():
            most = max(results.by_round(case.name, server, "reordered").values(), default=0)
            if most:
                swapped.append(f"- {case.family}, {case.title}: {results.title(server)}, {most:.0f} in a round.")
    yield "### Order"
    yield ""
    if swapped:
        yield "Answers and broadcasts that came before others that had been asked for earlier:"
        yield ""
        yield from swapped
    else:
        yield "In all of this, every client got its answers and its broadcasts in the order in which they were sent."
    yield ""


def busy(results: Results) -> Iterator[str]:
    """How busy server and load were: whose limit a figure is."""
    names = results.servers()
    yield "### How busy both cores were"
    yield ""
    yield (
        "The server's share of its core and the load's share of its own, while it was measured. Where the load's is "
        "near 100 %, the server could have done more; at fixed rates the load never sleeps."
    )
    yield ""
    cases = [case for case in results.measured() if case.kind != "memory"]
    rows = [[f"{case.family}: {case.title}", *(_shares(results, case, name) for name in names)] for case in cases]
    yield "<details><summary>The shares</summary>"
    yield ""
    yield from table(["server / load", *map(results.title, names)], rows)
    yield "</details>"
    yield ""


def _shares(results: Results, case: Case, server: str) -> str:
    shares = [results.spread(case.name, server, metric) for metric in ("server_busy", "load_busy")]
    return " / ".join(wording.percent(share.median) if share is not None else wording.MISSING for share in shares)


# ---------------------------------------------------------------- growth


def growth_section(growth: dict[str, Any], pictures: Sequence[str], link: str) -> Iterator[str]:
    """How madang behaves as numbers grow."""
    yield "### As numbers grow"
    yield ""
    yield from picture("growth", pictures, link)
    yield f"Measured on {growth['date']} at commit `{growth['commit']}`, madang on its native host."
    yield ""
    yield from (f"- {line}" for line in _growth_lines(growth))
    yield ""


def _growth_lines(growth: dict[str, Any]) -> Iterator[str]:
    if points := growth.get("throughput"):
        told = ", ".join(f"{wording.rate(point['rate'])} with {_count(point['clients'])}" for point in points)
        yield f"Echo, one event of each client in flight, events a second by clients: {told}."
    if points := growth.get("broadcast"):
        told = ", ".join(f"{wording.seconds(point['p50'])} to {_count(point['members'])}" for point in points)
        yield f"Broadcast, until the last member has it, median: {told}; {wording.seconds(slope(points))} for each."
    if points := growth.get("membership"):
        first, last = points[0], points[-1]
        told = ", ".join(
            f"{name} {wording.nanoseconds(first[name])} and {wording.nanoseconds(last[name])}"
            for name in ("join", "leave", "disconnect")
        )
        yield f"One socket of {_count(first['sockets'])} and of {_count(last['sockets'])} in one room: {told}."
    if points := growth.get("memory"):
        first, last = points[0]["resident"], points[-1]["resident"]
        told = f"{first / 2**20:.1f} MiB before, {last / 2**20:.1f} MiB after"
        yield f"Memory of the server, {_count(points[-1]['connections'])} connections that came and went: {told}."


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


# ---------------------------------------------------------------- the page


def section(results: Results | None, growth: dict[str, Any] | None, pictures: Sequence[str], link: str) -> str:
    """All that stands between the marks."""
    lines: list[str] = []
    if results is not None:
        lines += [*facts(results), *verdicts(results)]
        for name in FAMILIES:
            lines += family(results, name, pictures, link)
        lines += [*losses(results), *failures(results), *order(results), *busy(results)]
    if growth is not None:
        lines += growth_section(growth, pictures, link)
    return "\n".join(lines).strip()


def replaced(page: str, text: str) -> str:
    """A page with other text between its marks.

    Raises:
        ValueError: it has no marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def read_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Draw the plots and write the tables of docs/benchmarks.md.")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where figures.json and growth.json lie")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page (default docs/benchmarks.md)")
    return parser.parse_args(arguments)


def main() -> int:
    """Draw and write."""
    asked = read_arguments()
    folder: Path = asked.page.parent / asked.page.stem
    figures_file, growth_file = asked.results / "figures.json", asked.results / "growth.json"
    results = Results.read(figures_file) if figures_file.exists() else None
    growth = json.loads(growth_file.read_text(encoding="utf-8")) if growth_file.exists() else None
    if results is None and growth is None:
        print("report.py: nothing was measured; run benchmarks/run.py first", file=sys.stderr)
        return 1
    pictures = plots.draw(results, folder) if results is not None else []
    pictures += growth_plots.draw(growth, folder) if growth is not None else []
    link = os.path.relpath(folder, asked.page.parent)
    try:
        page = replaced(asked.page.read_text(encoding="utf-8"), section(results, growth, pictures, link))
    except (OSError, ValueError) as error:
        print(f"report.py: {asked.page.name}: {error}", file=sys.stderr)
        return 1
    asked.page.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
