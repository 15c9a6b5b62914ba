"""Measure clusters: madang's servers over Redis beside Node's and among them, and workers beside servers without.

python benchmarks/cluster/run.py
python benchmarks/cluster/run.py --only 'redis-*' --rounds 3
python benchmarks/cluster/run.py --only latency --setups madang,node

What counts is the time that each process spends on a core for each message. Both servers of a cluster share one core,
Redis and the load the other; workers have both.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import machine  # noqa: E402 (they lie in the folder above)
import processes  # noqa: E402
from contenders import Contender  # noqa: E402
from processes import BusyMeter, Failed, Figures, Load, Server  # noqa: E402

sys.path.insert(0, str(HERE))

import telling  # noqa: E402
from broker import FIND_REDIS, Redis  # noqa: E402

ROOT: Final = HERE.parent.parent
RESULTS: Final = HERE.parent / "results"
PAGE: Final = ROOT / "docs" / "benchmarks.md"

PYTHON: Final = str(ROOT / ".venv" / "bin" / "python")
MADANG: Final = (PYTHON, "-P", str(HERE / "servers" / "madang_server.py"))
NODE: Final = ("node", str(HERE / "servers" / "node_server.mjs"))

PATIENCE: Final = 30.0
"""Seconds that a run may take beyond those that it is given."""

BURST, INFLIGHT = 10, 16
"""Broadcasts that one event asks for, and such events under way."""


@dataclass(frozen=True)
class Case:
    """What is measured, and in which setups.

    Attributes:
        name: as on the command line and in the results.
        setups: `REDIS`, `WORKERS` or `BESIDE`.
        arguments: of the load.
        members: of the room; 0 if there is none.
        times: how often it is measured in each round; where little is looked for, often.
    """

    name: str
    setups: tuple[str, ...]
    arguments: tuple[str, ...]
    members: int = 0
    times: int = 1


REDIS: Final = ("madang", "node", "madang-node", "node-madang")
"""The sender's kind and the receiver's; one name is both."""

BESIDE: Final = ("one", "two")
"""Servers without workers, that know nothing of each other, and as many workers, at the same time on the same cores."""

WORKERS: Final = ("alone", "workers-2")
"""One server, and two workers."""

_CROSS: Final = ("across", "--size", "64")
_CLOSED: Final = (*_CROSS, "--burst", str(BURST), "--inflight", str(INFLIGHT))

CASES: Final = (
    *(Case(f"redis-{members}", REDIS, (*_CLOSED, "--clients", str(members)), members) for members in (1, 20, 100)),
    Case("latency", REDIS, (*_CROSS, "--clients", "1", "--paced", "--rate", "500"), 1),
    *(
        Case(
            f"echo-{inflight}",
            BESIDE,
            ("echo", "--size", "64", "--clients", "100", "--inflight", str(inflight)),
            times=3,
        )
        for inflight in (1, 16)
    ),
    *(Case(f"workers-{members}", WORKERS, (*_CLOSED, "--clients", str(members)), members) for members in (20, 100)),
)


# ---------------------------------------------------------------- what runs


def contender(name: str, *command: str) -> Contender:
    """A server program, for `Server`."""
    return Contender(name=name, title=name, command=command, role="peer")


def measure_redis(case: Case, setup: str, wanted: argparse.Namespace) -> Figures:
    """Broadcasts from one server to clients of another."""
    sender, _, receiver = setup.partition("-")
    server_core, load_core = machine.cores()
    with ExitStack() as stack:
        redis = stack.enter_context(Redis(load_core))
        programs = {"madang": (*MADANG, "--redis", redis.url), "node": (*NODE, redis.url)}
        first, second = (
            stack.enter_context(Server(contender(kind, *programs[kind]), server_core))
            for kind in (sender, receiver or sender)
        )
        groups = {"sender": first.pids, "receiver": second.pids, "redis": [redis.pid]}
        arguments = (*case.arguments, "--other", str(second.port))
        figures = drive(first, arguments, groups, wanted, load_core)
    return _each_message(figures, max(case.members, 1))


def measure_workers(case: Case, setup: str, wanted: argparse.Namespace) -> Figures:
    """Broadcasts to a room by one server, and by two workers."""
    several = setup != "alone"
    server_core, load_core = machine.cores()
    cores = (server_core, load_core) if several else (server_core,)
    extra = ("--workers", "2") if several else ()
    with Server(contender(setup, *MADANG, *extra), *cores) as server:
        figures = drive(server, case.arguments, {"servers": server.pids}, wanted, *(cores if several else (load_core,)))
    return _each_message(figures, case.members)


def measure_beside(case: Case, setup: str, wanted: argparse.Namespace) -> Figures:
    """Echoes by workers and by servers without, half of the clients each, all at the same time on the same cores."""
    count = BESIDE.index(setup) + 1
    server_core, load_core = machine.cores()
    cores = (server_core,) if count == 1 else (server_core, load_core)
    with ExitStack() as stack:
        workers = stack.enter_context(Server(contender(setup, *MADANG, "--workers", str(count)), *cores))
        plain = [stack.enter_context(Server(contender(setup, *MADANG), *cores)) for _ in range(count)]
        ports = ("--other", str(plain[0].port), "--third", str(plain[-1].port), "--first", "50")
        groups = {"workers": workers.pids, "plain": [pid for server in plain for pid in server.pids]}
        figures = drive(workers, (*case.arguments, *ports), groups, wanted, *((load_core,) if count == 1 else cores))
    share = figures["first"] / figures["done"]
    rates = {"workers": figures["rate"] * share, "plain": figures["rate"] * (1 - share)}
    return {f"rate_{name}": rate for name, rate in rates.items()} | {
        f"cpu_{name}": figures[f"busy_{name}"] / rate for name, rate in rates.items()
    }


def drive(
    server: Server, arguments: Sequence[str], groups: dict[str, list[int]], wanted: argparse.Namespace, *cores: int
) -> Figures:
    """Run the load; its figures, and the share of a core that each group of processes took meanwhile."""
    timed = (*arguments, "--seconds", str(wanted.seconds), "--warmup", str(wanted.warm))
    meters = {name: BusyMeter(pids, wanted.seconds, processes.exact_cpu_seconds) for name, pids in groups.items()}
    with Load(server, timed, *cores) as load:
        figures = load.line(PATIENCE + wanted.seconds + wanted.warm, *meters.values())
    return figures | {f"busy_{name}": meter.share for name, meter in meters.items()}


def _each_message(figures: Figures, members: int) -> Figures:
    """Messages, however many got them, and the seconds that each process spent on one."""
    rate = figures["rate"] / members
    spent = {f"cpu_{name[5:]}": figures[name] / rate for name in figures if name.startswith("busy_")}
    kept = {name: figures[name] for name in ("p50", "p99", "load_busy") if name in figures}
    return {"rate": rate, **spent, **kept}


MEASURES: Final = {REDIS: measure_redis, WORKERS: measure_workers, BESIDE: measure_beside}


def measure_all(cases: Sequence[Case], setups: Sequence[str], wanted: argparse.Namespace) -> list[dict[str, Any]]:
    """All cases; in each the setups take turns, round by round, and another one begins each time."""
    runs: list[dict[str, Any]] = []
    for number in range(wanted.rounds):
        for case, again in [(one, again) for one in cases for again in range(one.times)]:
            able = [setup for setup in case.setups if setup in setups]
            turn = (number + again) % max(len(able), 1)
            for setup in able[turn:] + able[:turn]:
                measure = MEASURES[case.setups]
                try:
                    figures = measure(case, setup, wanted)
                except Failed as error:
                    figures = {"error": str(error)}
                runs.append({"case": case.name, "setup": setup, "round": number, "again": again, **figures})
                print(number + 1, case.name, setup, telling.brief(figures), file=sys.stderr, flush=True)
    return runs


# ---------------------------------------------------------------- the command


def versions() -> str:
    """What was measured beside madang."""
    modules = ROOT / "tests" / "js" / "node_modules"
    names = ("socket.io", "@socket.io/redis-adapter", "redis", "ws")
    found = [json.loads((modules / name / "package.json").read_text(encoding="utf-8"))["version"] for name in names]
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    redis = subprocess.run(FIND_REDIS, capture_output=True, text=True, check=True)
    server = subprocess.run([redis.stdout.strip(), "--version"], capture_output=True, text=True, check=True).stdout
    listed = ", ".join(f"{name} {version}" for name, version in zip(names, found, strict=True))
    number = re.search(r"v=([\d.]+)", server)
    return f"{listed}, Node {node.removeprefix('v')}, Redis {number.group(1) if number else 'unknown'}"


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="cases, by name or pattern, with commas between")
    parser.add_argument("--setups", default="*", help="setups, by name or pattern, with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="for which each run counts")
    parser.add_argument("--warm", type=float, default=1.0, help="seconds before it counts")
    parser.add_argument("--into", type=Path, help="where the figures go (default benchmarks/results/cluster.json)")
    parser.add_argument("--again", action="store_true", help="in place of these cases in the figures that there are")
    parser.add_argument("--tell", action="store_true", help="measure nothing; write table and page anew")
    return parser.parse_args()


def measured(wanted: argparse.Namespace, known: dict[str, Any]) -> dict[str, Any]:
    """What the command line wants, in place of the same cases among those that are known."""
    cases = [case for case in CASES if any(fnmatch(case.name, name) for name in wanted.only.split(","))]
    every = dict.fromkeys(setup for case in cases for setup in case.setups)
    setups = [setup for setup in every if any(fnmatch(setup, name) for name in wanted.setups.split(","))]
    processes.build()
    results = {
        "machine": machine.describe(),
        "versions": versions(),
        "date": machine.today(),
        "commit": machine.commit(),
        "load": os.getloadavg(),
        "settings": {"rounds": wanted.rounds, "seconds": wanted.seconds, "warm": wanted.warm},
        "runs": measure_all(cases, setups, wanted),
    }
    if not known:
        return results
    names = [case.name for case in cases]
    runs = [run for run in known["runs"] if run["case"] not in names] + results.pop("runs")
    return known | {"runs": runs, "again": [*known.get("again", ()), results | {"cases": names}]}


def main() -> int:
    """Measure what the command line says."""
    wanted = read_arguments()
    whole = wanted.only == wanted.setups == "*" or wanted.again
    into: Path = wanted.into or RESULTS / ("" if whole else "partial") / "cluster.json"
    known: dict[str, Any] = json.loads(into.read_text(encoding="utf-8")) if wanted.tell or wanted.again else {}
    results = known if wanted.tell else measured(wanted, known)
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    said = telling.tables(results)
    print(said)
    into.with_suffix(".md").write_text(said, encoding="utf-8")
    if whole and wanted.into is None:
        telling.write_page(PAGE, said)
    errors = {f"{run['setup']}, {run['case']}: {run['error']}" for run in results["runs"] if "error" in run}
    for error in sorted(errors):
        print(error, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
