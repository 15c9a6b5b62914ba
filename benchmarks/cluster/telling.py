"""What was measured of clusters, for readers: tables, and their place in docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import wording

BEGIN: Final = "<!-- cluster -->"
END: Final = "<!-- /cluster -->"

TITLES: Final = {
    "madang": "madang to madang",
    "node": "Node to Node",
    "madang-node": "madang to Node",
    "node-madang": "Node to madang",
}

MICRO: Final = "µs"


class Runs:
    """The figures of all rounds."""

    def __init__(self, results: dict[str, Any]) -> None:
        self._runs: list[dict[str, Any]] = [run for run in results["runs"] if "error" not in run]

    def by_round(self, case: str, setup: str, *figures: str) -> list[float]:
        """The sum of some figures in each round, in the order of the rounds."""
        found = {
            (run["round"], run["again"]): sum(run[figure] for figure in figures)
            for run in self._runs
            if run["case"] == case and run["setup"] == setup
        }
        return [found[when] for when in sorted(found)]

    def middle(self, case: str, setup: str, *figures: str) -> float:
        """The median of the rounds."""
        return median(self.by_round(case, setup, *figures))

    def ratio(self, case: str, setup: str, other: str, *figures: str) -> float:
        """How many times that of `other` a figure is: by round, then the median."""
        pairs = zip(self.by_round(case, setup, *figures), self.by_round(case, other, *figures), strict=True)
        return median(own / others for own, others in pairs)

    def has(self, case: str, setup: str) -> bool:
        """Whether it was measured."""
        return bool(self.by_round(case, setup, "rate"))


def brief(figures: dict[str, Any]) -> str:
    """One run, for who waits."""
    return ", ".join(
        f"{name} {value * 1e6:.1f} {MICRO}" if name.startswith(("cpu", "p")) else f"{name} {value:.4g}"
        for name, value in figures.items()
        if isinstance(value, float)
    ) or str(figures)


def _spread(values: Sequence[float], write: Any) -> str:
    return f"{write(median(values))}<br><sub>{write(min(values))} to {write(max(values))}</sub>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _redis(runs: Runs, members: int) -> str:
    case = f"redis-{members}"
    rows: list[list[str]] = []
    for setup in ("madang", "node", "madang-node", "node-madang"):
        if not runs.has(case, setup):
            continue
        both = ("cpu_sender", "cpu_receiver")
        cells = [_spread(runs.by_round(case, setup, figure), wording.seconds) for figure in (*both, "cpu_redis")]
        per_second = [1 / spent for spent in runs.by_round(case, setup, *both)]
        told = wording.times(1 / runs.ratio(case, setup, "node", *both)) if runs.has(case, "node") else ""
        rate = _spread(runs.by_round(case, setup, "rate"), wording.rate)
        rows.append([TITLES[setup], *cells, _spread(per_second, wording.rate), told, rate])
    head = ("", "sender", "receiver", "Redis", "messages per CPU second of both servers", "times Node's", "messages/s")
    return _table(head, rows)


def _latency(runs: Runs) -> str:
    rows = [
        [TITLES[setup], *(_spread(runs.by_round("latency", setup, figure), wording.seconds) for figure in figures)]
        for figures in [("p50", "p99", "cpu_sender", "cpu_receiver", "cpu_redis")]
        for setup in ("madang", "node", "madang-node", "node-madang")
        if runs.has("latency", setup)
    ]
    return _table(("500 broadcasts/s, one member", "median", "99 %", "sender", "receiver", "Redis"), rows)


def _beside(runs: Runs) -> str:
    rows: list[list[str]] = []
    for case, title in (("echo-1", "1 in flight"), ("echo-16", "16 in flight")):
        for setup, what in (("one", "one process"), ("two", "two processes")):
            if not runs.by_round(case, setup, "cpu_plain"):
                continue
            plain, workers = (runs.by_round(case, setup, figure) for figure in ("cpu_plain", "cpu_workers"))
            more = [own / other - 1 for own, other in zip(workers, plain, strict=True)]
            cells = [_spread(plain, wording.seconds), _spread(workers, wording.seconds), _spread(more, _more)]
            rows.append([f"{title}, {what}", *cells])
    return _table(("CPU time of an echo", "servers, apart", "workers", "more"), rows)


def _more(share: float) -> str:
    return f"{100 * share:+.1f} %"


def _workers(runs: Runs) -> str:
    rows = [
        [f"{members} members, {title}"]
        + [
            _spread(runs.by_round(f"workers-{members}", setup, figure), write)
            for figure, write in (("cpu_servers", wording.seconds), ("rate", wording.rate))
        ]
        for members in (20, 100)
        for setup, title in (("alone", "one server"), ("workers-2", "two workers"))
        if runs.has(f"workers-{members}", setup)
    ]
    return _table(("CPU time of a broadcast", "all processes", "broadcasts/s"), rows)


TWICE: Final = 2.0
MOST_LOST: Final = 0.05


def _goals(runs: Runs) -> str:
    rows: list[list[str]] = []
    if runs.has("redis-1", "madang") and runs.has("redis-1", "node"):
        reached = 1 / runs.ratio("redis-1", "madang", "node", "cpu_sender", "cpu_receiver")
        wanted = f"≥ {wording.times(TWICE)}"
        rows.append(["Through Redis to one member: messages per CPU second, of Node's", wanted, wording.times(reached)])
        rows[-1].append(_met(reached >= TWICE))
    for case, title in (("echo-1", "1 in flight"), ("echo-16", "16 in flight")):
        for setup, what in (("one", "one worker"), ("two", "two workers")):
            plain, workers = (runs.by_round(case, setup, figure) for figure in ("cpu_plain", "cpu_workers"))
            if plain:
                lost = median(own / other - 1 for own, other in zip(workers, plain, strict=True))
                wanted = f"≤ {_more(MOST_LOST)}"
                rows.append([f"Echo over WebSocket, {title}: CPU time lost to {what}", wanted, _more(lost)])
                rows[-1].append(_met(lost <= MOST_LOST))
    return _table(("Goal", "wanted", "reached", ""), rows)


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


def _again(results: dict[str, Any]) -> str:
    return "".join(
        f"; measured again on {one['date']} at commit `{one['commit']}`, in {one['settings']['rounds']} rounds: "
        + ", ".join(f"`{name}`" for name in one["cases"])
        for one in results.get("again", ())
    )


def tables(results: dict[str, Any]) -> str:
    """All of it."""
    runs = Runs(results)
    settings = results["settings"]
    parts = [
        f"Measured on {results['date']} at commit `{results['commit']}`, on {results['machine']['cores']} cores "
        f"({results['machine']['cpu']}), in {settings['rounds']} rounds of {settings['seconds']:g} s; "
        f"{results['versions']}. The median of the rounds, and their range. The machine was shared with other work"
        f"{_again(results)}.\n"
    ]
    if runs.has("redis-1", "madang") or runs.by_round("echo-1", "one", "cpu_plain"):
        parts += [_goals(runs)]
    for members in (1, 20, 100):
        if runs.has(f"redis-{members}", "madang") or runs.has(f"redis-{members}", "node"):
            where = "one member" if members == 1 else f"{members} members"
            parts += [
                f"Through Redis to {where} on the other server, CPU time of one broadcast:\n",
                _redis(runs, members),
            ]
    if runs.has("latency", "madang") or runs.has("latency", "node"):
        parts += ["From the call of `emit` on one server until a client of the other has it:\n", _latency(runs)]
    if runs.by_round("echo-1", "one", "cpu_plain"):
        parts += ["Workers, beside as many servers that know nothing of each other:\n", _beside(runs)]
    if runs.has("workers-20", "alone"):
        parts += ["A broadcast to a room, by one server and by two workers that have half of the members each:\n"]
        parts += [_workers(runs)]
    return "\n".join(parts)


def write_page(page: Path, said: str) -> None:
    """Put the tables into their place in a page."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{said}\n{END}{after}", encoding="utf-8")
