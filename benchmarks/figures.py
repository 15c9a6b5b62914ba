"""The figures of a run of all, as they are kept in figures.json, and what is made of them: medians and ratios.

Pure: nothing here measures or prints.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from cases import CASES, Case
from contenders import Role


@dataclass(frozen=True, slots=True)
class Run:
    """One case against one server in one round: its figures, or why there are none."""

    case: str
    server: str
    round: int
    figures: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """What several rounds gave."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Entrant:
    """A server, as the results know it; see `contenders.Contender`."""

    name: str
    title: str
    role: Role
    language: str = ""
    settings: str = ""
    version: str = ""


@dataclass(slots=True)
class Results:
    """Everything that was measured.

    Attributes:
        machine: the machine; see `machine.describe`.
        settings: how thoroughly.
        date: when.
        commit: of what.
        entrants: the servers, in the order in which they are shown.
        saturation: the highest rate that each server sustained, and the steps that led there, or an error.
        rates: the rates of the cases that are paced.
        runs: each run, in the order in which they were done.
        again: what was measured anew later, in place of the first figures: its date, commit, settings and cases.
    """

    machine: dict[str, Any]
    settings: dict[str, Any]
    date: str
    commit: str
    entrants: list[Entrant]
    saturation: dict[str, dict[str, Any]] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    again: list[dict[str, Any]] = field(default_factory=list)

    # keeping

    def take_over(self, later: Results) -> None:
        """Put later figures in place of the earlier ones of the same cases, all rounds of all servers."""
        anew = {run.case for run in later.runs}
        self.runs = [run for run in self.runs if run.case not in anew] + later.runs
        self.saturation = later.saturation or self.saturation
        self.rates = later.rates or self.rates
        self.again = [
            {**entry, "cases": kept}
            for entry in self.again
            if (kept := [name for name in entry["cases"] if name not in anew])
        ]
        self.again.append(
            {"date": later.date, "commit": later.commit, "settings": later.settings, "cases": sorted(anew)}
        )

    def save(self, path: Path) -> None:
        """Write them; a reader never sees half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read what `save` wrote."""
        document = json.loads(path.read_text(encoding="utf-8"))
        document["entrants"] = [Entrant(**entrant) for entrant in document["entrants"]]
        document["runs"] = [Run(**run) for run in document["runs"]]
        return cls(**document)

    # asking

    def servers(self, *roles: Role) -> list[str]:
        """The names of the servers in any of these roles, all if none is given."""
        return [entrant.name for entrant in self.entrants if not roles or entrant.role in roles]

    def title(self, server: str) -> str:
        """A server's name for readers."""
        return next(entrant.title for entrant in self.entrants if entrant.name == server)

    def measured(self) -> list[Case]:
        """The cases of which there is any run."""
        named = {run.case for run in self.runs}
        return [case for case in CASES if case.name in named]

    def error(self, case: str, server: str) -> str | None:
        """Why a server has failed a case, if it has in any round."""
        return next((run.error for run in self._runs(case, server) if run.error is not None), None)

    def by_round(self, case: str, server: str, metric: str) -> dict[int, float]:
        """A figure of each round."""
        runs = self._runs(case, server)
        return {run.round: float(run.figures[metric]) for run in runs if run.figures.get(metric) is not None}

    def spread(self, case: str, server: str, metric: str) -> Spread | None:
        """Median, lowest and highest of a figure over the rounds; None if there is none."""
        values = list(self.by_round(case, server, metric).values())
        return Spread(median(values), min(values), max(values)) if values else None

    def ratio(self, case: Case, over: str, under: str, metric: str | None = None) -> float | None:
        """How many times `under`'s figure `over`'s is: by round, then the median, so that a slow moment hits both."""
        above = self.by_round(case.name, over, metric or case.metric)
        below = self.by_round(case.name, under, metric or case.metric)
        ratios = [above[number] / below[number] for number in above if below.get(number)]
        return median(ratios) if ratios else None

    def advantage(self, case: Case, of: str, over: str) -> float | None:
        """The same, turned so that more than 1 is better, whichever way the figure counts."""
        ratio = self.ratio(case, of, over)
        return ratio if not ratio or case.higher_is_better else 1 / ratio

    def best_peer(self, case: Case, rivals: Iterable[str] | None = None) -> str | None:
        """The peer with the best median."""
        medians = self.medians(case, rivals if rivals is not None else self.servers("peer"))
        if not medians:
            return None
        return max(medians, key=lambda name: medians[name] if case.higher_is_better else -medians[name])

    def medians(self, case: Case, servers: Iterable[str]) -> Mapping[str, float]:
        """The medians of those servers that have one."""
        spreads = {server: self.spread(case.name, server, case.metric) for server in servers}
        return {server: spread.median for server, spread in spreads.items() if spread is not None}

    def _runs(self, case: str, server: str) -> list[Run]:
        return [run for run in self.runs if run.case == case and run.server == server]
