"""One case against one server that runs: what is asked of the load, and which figures come of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from cases import CONNECT_LIMIT, IDLE_CLIENTS, Case
from contenders import Contender
from processes import BusyMeter, Failed, Figures, Load, Server

PATIENCE: Final = 30.0
"""Seconds that a run of the load may take beyond what it was asked for and what its clients need to connect."""

SIDE_ROUNDS: Final = 3
"""Rounds in which a case that is not a main one is measured, at most."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How thoroughly.

    Attributes:
        rounds: how often everything is measured.
        seconds: how long a case is measured each time, if it takes its whole share.
        warmup: how long the load drives a server before it measures.
        rest: how long idle clients rest before memory is read.
        step: how long each rate is tried when the highest is looked for.
        server_core: where servers run.
        load_core: where the load runs.
    """

    rounds: int = 5
    seconds: float = 2.0
    warmup: float = 0.5
    rest: float = 5.0
    step: float = 1.5
    server_core: int = 0
    load_core: int = 1

    def seconds_of(self, case: Case) -> float:
        """How long a case is measured."""
        return self.seconds * case.share

    def warmup_of(self, case: Case) -> float:
        """How long a case is driven before it is measured: at a fixed rate a cold start would still be felt later."""
        return self.warmup * (3 if case.kind == "paced" else 1)

    def rounds_of(self, case: Case) -> int:
        """In how many rounds a case is measured."""
        return self.rounds if case.main else min(self.rounds, SIDE_ROUNDS)


def measure(case: Case, server: Server, settings: Settings, rate: float | None = None) -> Figures:
    """Run one case.

    Args:
        case: the case.
        server: the server, which runs.
        settings: how thoroughly.
        rate: events a second, for a case that is paced.

    Raises:
        Failed: the server did not do what was asked; the text says what.
    """
    server.require_alive()
    if case.kind == "memory":
        figures = _measure_memory(case, server, settings)
    else:
        paced = ("--rate", f"{rate:.0f}") if rate is not None else ()
        warmed = replace(settings, warmup=settings.warmup_of(case))
        figures = drive(server, (*case.load, *paced), warmed, settings.seconds_of(case), clients=case.clients)
    server.require_alive()
    return figures


def drive(
    server: Server, arguments: tuple[str, ...], settings: Settings, seconds: float, *, clients: int = 100
) -> Figures:
    """Run the load once; its own figures, how busy the server was while it measured, and the server's memory after."""
    timed = (*arguments, "--seconds", str(seconds), "--warmup", str(settings.warmup))
    meter = BusyMeter(server.pids, seconds)
    limit = PATIENCE + settings.warmup + seconds + CONNECT_LIMIT * clients / IDLE_CLIENTS
    with Load(server, timed, settings.load_core) as load:
        meter.sample()
        figures = load.line(limit, meter)
        figures["server_busy"] = round(meter.share, 3)
    figures["resident"] = server.resident()
    server.settle()
    return figures


def _measure_memory(case: Case, server: Server, settings: Settings) -> Figures:
    """What each of many clients costs while it says nothing, and what stays of it when all have gone."""
    time.sleep(min(settings.rest, 1.0))
    before = server.resident()
    started = time.monotonic()
    with Load(server, case.load, settings.load_core) as load:
        load.line(CONNECT_LIMIT)
        seconds = time.monotonic() - started
        at_ready = server.resident()
        time.sleep(settings.rest)
        server.require_alive()
        connected = server.resident()
        load.finish()
    time.sleep(settings.rest)
    after = server.resident()
    return {
        "before": before,
        "at_ready": at_ready,
        "connected": connected,
        "after": after,
        "per_client": round((connected - before) / case.clients),
        "kept": round((after - before) / case.clients),
        "seconds": round(seconds, 3),
    }


# ---------------------------------------------------------------- how much a server sustains

FIRST_RATE: Final = 5000.0
STEP: Final = 1.3
LOWEST_RATE: Final = 200.0
HIGHEST_RATE: Final = 1_000_000.0

KEPT_UP: Final = 0.97
"""The share of the offered events that must be answered."""

SLOWEST: Final = 0.050
"""Seconds that 99 of 100 may wait at most."""


def sustained(figures: Figures) -> bool:
    """Whether a server kept up with a rate."""
    kept_up = figures["rate"] >= KEPT_UP * figures["offered"]
    return bool(kept_up and figures["p99"] <= SLOWEST and figures["overflowed"] == 0)


def find_saturation(contender: Contender, case: Case, settings: Settings) -> Figures:
    """The highest rate that a server sustains: up step by step until it does not, or down until it does."""
    steps: list[Figures] = []
    with Server(contender, settings.server_core) as server:

        def holds(rate: float) -> bool:
            for _ in range(2):  # one hiccup of the machine is not the server's limit
                arguments = (*case.load, "--rate", f"{rate:.0f}")
                figures = drive(server, arguments, settings, settings.step)
                steps.append(figures)
                if sustained(figures):
                    return True
            return False

        rate = _climb(holds) if holds(FIRST_RATE) else _descend(holds)
    return {"rate": round(rate), "steps": steps}


def _climb(holds: Callable[[float], bool]) -> float:
    rate = FIRST_RATE
    while rate < HIGHEST_RATE and holds(rate * STEP):
        rate *= STEP
    return rate


def _descend(holds: Callable[[float], bool]) -> float:
    rate = FIRST_RATE / STEP
    while not holds(rate):
        rate /= STEP
        if rate < LOWEST_RATE:
            raise Failed(f"did not sustain {LOWEST_RATE:.0f} events a second")
    return rate
