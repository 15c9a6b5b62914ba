"""What madang is meant to reach, and whether a run of all says that it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from cases import CASES, KERNEL, LATENCY_HIGH, Case
from contenders import MADANG, MADANG_ASGI, PYTHON_SOCKETIO
from figures import Results

Against = Literal["best peer", "node", "kernel"]


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on madang's figure divided by another's."""

    case: str
    against: Against
    bound: float
    at_least: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a goal.

    Attributes:
        what: the goal, in words.
        wanted: its bound, in words.
        found: the figure, in words, or why there is none.
        met: whether the goal is met; None if it was not measured.
    """

    what: str
    wanted: str
    found: str
    met: bool | None


GOALS: Final = (
    Goal("echo-100-1", "best peer", 1.2),
    Goal("echo-100-1", "kernel", 0.65),
    Goal("echo-100-16", "best peer", 1.3),
    Goal("echo-100-16", "kernel", 0.3),
    Goal("fanout-500-1", "best peer", 1.2),
    Goal("fanout-500-1", "kernel", 0.9),
    Goal("fanout-500-16", "best peer", 10),
    Goal("fanout-500-16", "kernel", 5),
    Goal("connects", "best peer", 1.0),
    Goal("memory", "best peer", 0.8, at_least=False),
    Goal("polling", "node", 1.2),
    Goal(LATENCY_HIGH, "best peer", 1.0, at_least=False),
)

ASGI_LEAD: Final = 3.0
"""How many times python-socketio's rate madang is to reach as a plain ASGI application."""


def check(results: Results) -> list[Verdict]:
    """Each goal's verdict."""
    by_name = {case.name: case for case in CASES}
    verdicts = [_check(results, goal, by_name[goal.case]) for goal in GOALS]
    return [*verdicts, _asgi_lead(results), _asgi_never_below(results)]


def _check(results: Results, goal: Goal, case: Case) -> Verdict:
    rival = _rival(results, goal, case)
    sign = "≥" if goal.at_least else "≤"
    if rival is None:
        return Verdict(f"{_what(case)}, against {goal.against}", f"{sign} {goal.bound:g}", "not measured", None)
    what = f"{_what(case)}, against {_the(results, goal, rival)}"
    ratio = results.ratio(case, MADANG, rival) if MADANG in results.servers() else None
    if ratio is None:
        return Verdict(what, f"{sign} {goal.bound:g}", "not measured", None)
    met = ratio >= goal.bound if goal.at_least else ratio <= goal.bound
    return Verdict(what, f"{sign} {goal.bound:g}", f"{ratio:.2f}", met)


def _what(case: Case) -> str:
    figure = f", {case.metric}" if case.kind == "paced" else ""
    return f"{case.family}: {case.title}{figure}"


def _the(results: Results, goal: Goal, rival: str) -> str:
    if goal.against == "kernel":
        return "the kernel's limit"
    return f"the best peer, {results.title(rival)}" if goal.against == "best peer" else results.title(rival)


def _rival(results: Results, goal: Goal, case: Case) -> str | None:
    if goal.against == "best peer":
        return results.best_peer(case)
    rival = KERNEL if goal.against == "kernel" else goal.against
    return rival if rival in results.servers() else None


# ---------------------------------------------------------------- as a plain ASGI application


def _leads(results: Results) -> Iterator[tuple[Case, float]]:
    """How madang as a plain ASGI application stands to python-socketio, case by case; more than 1 is better."""
    for case in results.measured():
        lead = results.advantage(case, MADANG_ASGI, PYTHON_SOCKETIO)
        if lead is not None:
            yield case, lead


def _asgi_lead(results: Results) -> Verdict:
    leads = [(case, lead) for case, lead in _leads(results) if case.higher_is_better]
    return _worst("As a plain ASGI application, each rate against python-socketio's", ASGI_LEAD, leads)


def _asgi_never_below(results: Results) -> Verdict:
    return _worst("As a plain ASGI application, never behind python-socketio", 1.0, list(_leads(results)))


def _worst(what: str, bound: float, leads: list[tuple[Case, float]]) -> Verdict:
    if not leads:
        return Verdict(what, f"≥ {bound:g}", "not measured", None)
    case, lowest = min(leads, key=lambda found: found[1])
    missed = sum(lead < bound for _, lead in leads)
    share = f"; {missed} of {len(leads)} cases are below {bound:g}" if missed else ""
    return Verdict(what, f"≥ {bound:g}", f"{lowest:.2f} ({_what(case)}){share}", missed == 0)
