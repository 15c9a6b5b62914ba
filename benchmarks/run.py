"""Measure all servers in all cases, in rounds, and keep every figure.

python benchmarks/run.py
python benchmarks/run.py --only echo-100-1,memory --servers madang,node --rounds 3
python benchmarks/run.py --quick
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cases
import contenders
import goals
import machine
import processes
import wording
from cases import LATENCY_HIGH, LATENCY_LOW, Case
from contenders import HERE, Contender
from figures import Entrant, Results, Run
from measure import Settings, find_saturation, measure
from processes import Failed, Server

QUICK: Final = Settings(rounds=1, seconds=0.5, warmup=0.2, rest=1.0, step=0.4)

SECONDS_PER_START: Final = 0.5
SECONDS_PER_RUN: Final = 0.2
SECONDS_PER_CLIENT: Final = 1 / 2500
STEPS_PER_CLIMB: Final = 14
"""Guesses, for the time left: the last is how many rates are tried until one is too high."""

COLUMN: Final = 16


@dataclass(frozen=True, slots=True)
class Visit:
    """One life of a server: the cases it is put through in one round."""

    round: int
    contender: Contender
    cases: tuple[Case, ...]

    def estimate(self, settings: Settings) -> float:
        """About how many seconds it will take."""
        return SECONDS_PER_START + sum(_estimate(case, settings) for case in self.cases)


def _estimate(case: Case, settings: Settings) -> float:
    connecting = case.clients * SECONDS_PER_CLIENT
    if case.kind == "memory":
        return connecting + 2 * settings.rest + 2.0
    if case.unit == "connections/s":
        return connecting + SECONDS_PER_RUN
    return connecting + settings.warmup_of(case) + settings.seconds_of(case) + SECONDS_PER_RUN


def plan(chosen: Sequence[Case], who: Sequence[Contender], settings: Settings) -> list[Visit]:
    """Every visit in its order: round by round, group by group, and in each round another server first."""
    groups = dict.fromkeys(case.group for case in chosen)
    visits: list[Visit] = []
    for number in range(settings.rounds):
        order = [*who[number % len(who) :], *who[: number % len(who)]]
        for group in groups:
            due = [case for case in chosen if case.group == group and number < settings.rounds_of(case)]
            for contender in order:
                able = tuple(case for case in due if contender.name not in case.not_for)
                if able:
                    visits.append(Visit(number + 1, contender, able))
    return visits


class Progress:
    """Lines on stderr: what has been measured, and how long the rest will take."""

    def __init__(self, expected: float) -> None:
        self._began = time.monotonic()
        self._expected = expected
        self._done = 0.0

    def say(self, text: str) -> None:
        """One line."""
        spent = time.monotonic() - self._began
        pace = (spent + 30) / (self._done + 30)  # the guess counts for its first half minute
        left = max(self._expected - self._done, 0) * pace
        print(f"[{_clock(spent)}, {_clock(left)} left] {text}", file=sys.stderr, flush=True)

    def passed(self, expected: float) -> None:
        """What was expected to take so long is done."""
        self._done += expected


def _clock(span: float) -> str:
    return f"{int(span) // 60}:{int(span) % 60:02}"


class Benchmark:
    """A run of all.

    Args:
        chosen: the cases.
        who: the servers.
        settings: how thoroughly.
        results: where the figures go.
        path: where they are kept, after every visit.
    """

    def __init__(
        self, chosen: Sequence[Case], who: Sequence[Contender], settings: Settings, results: Results, path: Path
    ) -> None:
        self.who = who
        self.settings = settings
        self.results = results
        self.path = path
        self.visits = plan(chosen, who, settings)
        self.paced = next((case for case in chosen if case.kind == "paced"), None)
        self._climb = SECONDS_PER_START + STEPS_PER_CLIMB * (settings.step + settings.warmup + SECONDS_PER_RUN)
        expected = sum(visit.estimate(settings) for visit in self.visits)
        self.progress = Progress(expected + len(self._climbers()) * self._climb)

    def run(self) -> None:
        """Measure everything."""
        if self.paced is not None:
            self._find_rates(self.paced)
        for visit in self.visits:
            self._carry_out(visit)
            self.progress.passed(visit.estimate(self.settings))
            self.results.save(self.path)

    def _climbers(self) -> list[Contender]:
        """Who says which rates are fair: the peers, or if there are none whoever is there."""
        if self.paced is None:
            return []
        peers = [contender for contender in self.who if contender.role == "peer"]
        return peers or [contender for contender in self.who if contender.role != "limit"]

    def _find_rates(self, case: Case) -> None:
        for contender in self._climbers():
            try:
                found = find_saturation(contender, case, self.settings)
                self.progress.say(f"{contender.name} sustains {found['rate']} events/s")
            except Failed as error:
                found = {"error": str(error)}
                self.progress.say(f"{contender.name}, rates: FAILED, {error}")
            self.results.saturation[contender.name] = found
            self.progress.passed(self._climb)
        rates = [found["rate"] for found in self.results.saturation.values() if "rate" in found]
        if rates:
            self.results.rates = {LATENCY_HIGH: max(rates) / 2, LATENCY_LOW: min(rates) / 2}

    def _carry_out(self, visit: Visit) -> None:
        todo = list(visit.cases)
        while todo:  # one round of this loop, unless the server has to be started again after a failure
            try:
                with Server(visit.contender, self.settings.server_core) as server:
                    server.settle()
                    while todo and server.alive:
                        self._note(self._measure(visit, todo.pop(0), server))
            except Failed as error:
                for case in todo:
                    self._note(Run(case.name, visit.contender.name, visit.round, error=str(error)))
                return

    def _measure(self, visit: Visit, case: Case, server: Server) -> Run:
        try:
            if case.kind == "paced" and case.name not in self.results.rates:
                raise Failed("no rate was found that any server sustains")
            found = measure(case, server, self.settings, self.results.rates.get(case.name))
        except Failed as error:
            return Run(case.name, visit.contender.name, visit.round, error=str(error))
        return Run(case.name, visit.contender.name, visit.round, found)

    def _note(self, run: Run) -> None:
        self.results.runs.append(run)
        case = next(case for case in cases.CASES if case.name == run.case)
        said = f"FAILED, {run.error}" if run.error is not None else _told(case, run)
        self.progress.say(f"round {run.round}/{self.settings.rounds_of(case)}, {run.case}, {run.server}: {said}")


def _told(case: Case, run: Run) -> str:
    said = f"{wording.value(case, run.figures[case.metric])} {case.unit if case.unit != 's' else case.metric}"
    if "server_busy" in run.figures:
        said += f", server {wording.percent(run.figures['server_busy'])}"
        said += f", load {wording.percent(run.figures['load_busy'])}"
    return said


# ---------------------------------------------------------------- what is printed in the end


def summary(results: Results) -> Iterator[str]:
    """Medians of all, and the goals that were measured."""
    names = results.servers()
    yield "".join(["case".ljust(COLUMN), *(name.rjust(COLUMN) for name in names)])
    for case in results.measured():
        yield "".join([case.name.ljust(COLUMN), *(_cell(results, case, name).rjust(COLUMN) for name in names)])
    yield ""
    for verdict in goals.check(results):
        if verdict.met is not None:
            mark = "met   " if verdict.met else "MISSED"
            yield f"{mark} {verdict.what}: wanted {verdict.wanted}, found {verdict.found}"


def _cell(results: Results, case: Case, server: str) -> str:
    spread = results.spread(case.name, server, case.metric)
    if results.error(case.name, server) is not None:
        return "failed" if spread is None else f"{wording.value(case, spread.median)} (!)"
    return wording.value(case, spread.median if spread is not None else None)


# ---------------------------------------------------------------- the command line


def read_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure all servers in all cases, in rounds.")
    parser.add_argument("--rounds", type=int, help="how often everything is measured (default 5)")
    parser.add_argument("--seconds", type=float, help="how long each measurement takes (default 2)")
    parser.add_argument("--only", default="", help="cases, families or patterns such as 'echo-*', with commas between")
    parser.add_argument("--servers", default="", help="names of servers, with commas between")
    parser.add_argument(
        "--again", action="store_true", help="with --only: put the figures in place of those that are kept of all cases"
    )
    parser.add_argument("--quick", action="store_true", help="once, and briefly: to see that everything works")
    parser.add_argument(
        "--output",
        type=Path,
        help="the folder for figures.json (default benchmarks/results; for a part of it all, or a quick run, "
        "benchmarks/results/partial)",
    )
    return parser.parse_args(arguments)


def settings_of(asked: argparse.Namespace) -> Settings:
    """How thoroughly, as the command line says."""
    values = asdict(QUICK if asked.quick else Settings())
    values |= {name: getattr(asked, name) for name in ("rounds", "seconds") if getattr(asked, name) is not None}
    values["server_core"], values["load_core"] = machine.cores()
    return Settings(**values)


def output_of(asked: argparse.Namespace) -> Path:
    """Where the figures go."""
    partial = asked.only or asked.servers or asked.quick
    folder: Path = asked.output or HERE / "results" / ("partial" if partial else "")
    return folder / "figures.json"


def prepare(asked: argparse.Namespace) -> Benchmark:
    """Everything up to the first measurement."""
    chosen = cases.select(_names(asked.only))
    who = contenders.load(_names(asked.servers))
    settings = settings_of(asked)
    machine.require_descriptors(max(case.clients for case in chosen))
    processes.build()
    results = Results(
        machine=machine.describe(),
        settings=asdict(settings),
        date=machine.today(),
        commit=machine.commit(),
        entrants=[_entrant(contender) for contender in who],
    )
    return Benchmark(chosen, who, settings, results, output_of(asked))


def _entrant(contender: Contender) -> Entrant:
    version = contenders.version(contender)
    return Entrant(contender.name, contender.title, contender.role, contender.language, contender.settings, version)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def main() -> int:
    """Run what the command line asks for."""
    for number in (signal.SIGINT, signal.SIGTERM):  # so that everything is ended in order
        signal.signal(number, signal.default_int_handler)
    asked = read_arguments()
    try:
        benchmark = prepare(asked)
    except (Failed, ValueError, OSError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    try:
        with processes.on_core(benchmark.settings.load_core):
            benchmark.run()
    except KeyboardInterrupt:
        print("run.py: stopped; what was measured is kept", file=sys.stderr)
        return 130
    finally:
        benchmark.results.save(benchmark.path)
        for line in summary(benchmark.results):
            print(line)
    if asked.again:
        kept = Results.read(HERE / "results" / "figures.json")
        kept.take_over(benchmark.results)
        kept.save(HERE / "results" / "figures.json")
    failed = sum(run.error is not None for run in benchmark.results.runs)
    if failed:
        print(f"{failed} of {len(benchmark.results.runs)} runs failed", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
