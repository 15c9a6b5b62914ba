"""How madang behaves as numbers grow: clients, members of a room, sockets of a namespace, connections gone.

python benchmarks/growth.py
python benchmarks/growth.py --quick --only throughput,memory
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import contenders
import machine
import membership
import processes
from contenders import HERE, MADANG, Contender
from measure import Settings, drive
from processes import Failed, Server

CLIENTS: Final = (10, 100, 1000, 5000, 10_000)
MEMBERS: Final = (10, 30, 100, 300, 1000, 3000, 10_000)
SOCKETS: Final = (10, 100, 1000, 10_000, 100_000)
CHURNED: Final = 10_000
TIMES: Final = 10
ROUNDS: Final = 3

Points = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Extent:
    """How far it goes: the sizes of each part, and how thoroughly each is measured."""

    settings: Settings
    clients: tuple[int, ...] = CLIENTS
    members: tuple[int, ...] = MEMBERS
    sockets: tuple[int, ...] = SOCKETS
    operations: int = 3000
    churned: int = CHURNED
    times: int = TIMES


def throughput(madang: Contender, extent: Extent) -> Points:
    """Echo, one event of each client under way: events a second by the number of clients."""
    return _over(madang, extent, extent.clients, "clients", ("echo", "--clients"), ("rate", "p50", "p99"))


def broadcast(madang: Contender, extent: Extent) -> Points:
    """Broadcasts to all, one under way: how long one takes to reach its last member, by the number of members."""
    return _over(madang, extent, extent.members, "members", ("fanout", "--clients"), ("p50", "p99", "rate"))


def _over(
    madang: Contender,
    extent: Extent,
    sizes: Sequence[int],
    name: str,
    arguments: tuple[str, ...],
    metrics: tuple[str, ...],
) -> Points:
    """Run a case of the load for each size, in rounds; of each figure the median, and of the first its range."""
    found: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for number in range(extent.settings.rounds):
        with Server(madang, extent.settings.server_core) as server:
            for size in sizes:
                seconds = extent.settings.seconds
                figures = drive(server, (*arguments, str(size)), extent.settings, seconds, clients=size)
                found[size].append(figures)
                _say(f"{arguments[0]}, {size} {name}, round {number + 1}: {metrics[0]} {figures[metrics[0]]:.6g}")
    return [{name: size} | _middle(runs, metrics) for size, runs in found.items()]


def _middle(runs: Points, metrics: tuple[str, ...]) -> dict[str, Any]:
    values = [run[metrics[0]] for run in runs]
    return {metric: median(run[metric] for run in runs) for metric in metrics} | {
        "low": min(values),
        "high": max(values),
    }


def membership_costs(_: Contender, extent: Extent) -> Points:
    """Join, leave and disconnect of one socket, in nanoseconds, by the number of sockets; in this process."""
    with processes.on_core(extent.settings.server_core):
        points = membership.measure(extent.sockets, extent.operations)
    for point in points:
        _say(", ".join(f"{name} {value:g}" for name, value in point.items()))
    return points


def memory(madang: Contender, extent: Extent) -> Points:
    """The server's memory before, while and after many connections have come and gone."""
    settings = extent.settings
    arguments = ("churn", "--clients", str(extent.churned), "--inflight", "64")
    with Server(madang, settings.server_core) as server:
        time.sleep(1)
        points: Points = [{"connections": 0, "resident": server.resident()}]
        for number in range(1, extent.times + 1):
            drive(server, arguments, settings, settings.seconds, clients=extent.churned)
            time.sleep(settings.rest / 10)
            points.append({"connections": number * extent.churned, "resident": server.resident()})
            _say(f"{points[-1]['connections']} connections, {points[-1]['resident'] >> 10} KiB")
        time.sleep(settings.rest)
        points.append({"connections": extent.times * extent.churned, "resident": server.resident(), "rested": True})
    return points


PARTS: Final[dict[str, Callable[[Contender, Extent], Points]]] = {
    "throughput": throughput,
    "broadcast": broadcast,
    "membership": membership_costs,
    "memory": memory,
}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure how madang behaves as numbers grow.")
    parser.add_argument("--only", default="", help=f"parts, with commas between: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="once, briefly, and not as far")
    parser.add_argument("--output", type=Path, help="the folder for growth.json (default benchmarks/results)")
    return parser.parse_args(arguments)


def extent_of(asked: argparse.Namespace) -> Extent:
    """How far it goes, as the command line says."""
    server_core, load_core = machine.cores()
    settings = Settings(rounds=ROUNDS, server_core=server_core, load_core=load_core)
    if not asked.quick:
        return Extent(settings)
    brief = replace(settings, rounds=1, seconds=0.5, warmup=0.2, rest=2.0)
    return Extent(brief, sockets=SOCKETS[:-1], operations=500, churned=CHURNED // 10)


def _keep(document: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Measure, and keep the figures."""
    asked = read_arguments()
    folder = asked.output or HERE / "results" / ("partial" if asked.quick or asked.only else "")
    document: dict[str, Any] = {"machine": machine.describe(), "date": machine.today(), "commit": machine.commit()}
    try:
        wanted = [name for name in asked.only.split(",") if name] or list(PARTS)
        parts = {name: PARTS[name] for name in wanted}
        machine.require_descriptors(max(CLIENTS))
        extent = extent_of(asked)
        (madang,) = contenders.load([MADANG])
        processes.build()
        with processes.on_core(extent.settings.load_core):
            for name, measure in parts.items():
                document[name] = measure(madang, extent)
                _keep(document, folder / "growth.json")
    except KeyError as error:
        print(f"growth.py: there is no part {error}", file=sys.stderr)
        return 2
    except (Failed, ValueError, OSError) as error:
        print(f"growth.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
