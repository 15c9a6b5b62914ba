"""What the programs in Python share: their arguments, and counting for a while; `run.py` has it in their path."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, process_time, sleep
from typing import Any


@dataclass(frozen=True)
class Task:
    """What a program is asked to do.

    Attributes:
        url: the server.
        kind: ``"ack"``, to emit and wait for the answer, or ``"event"``, to emit anew when the event comes back.
        connections: how many.
        inflight: how many events of each are on their way.
        payload: the argument.
        warm: seconds before it counts.
        seconds: for how long.
    """

    url: str
    kind: str
    connections: int
    inflight: int
    payload: str
    warm: float
    seconds: float

    @classmethod
    def given(cls) -> Task:
        """The task that the command line names."""
        port, kind, connections, inflight, size, warm, seconds = sys.argv[1:8]
        return cls(
            f"http://127.0.0.1:{port}",
            kind,
            int(connections),
            int(inflight),
            "x" * int(size),
            float(warm),
            float(seconds),
        )


class Count:
    """How many echoes have come, and what that has cost.

    Attributes:
        echoes: how many.
        over: whether no more are to be asked for.
    """

    def __init__(self) -> None:
        self.echoes = 0
        self.over = False
        self._start = (0, 0.0, 0.0)

    def begin(self) -> None:
        """Count from now on."""
        self._start = (self.echoes, perf_counter(), process_time())

    def end(self) -> None:
        """Count no more, and print what came of it."""
        echoes, began, cpu = self._start
        seconds = perf_counter() - began
        echoes = self.echoes - echoes
        figures = {"rate": echoes / seconds, "cpu": (process_time() - cpu) / max(echoes, 1)}
        self.over = True
        print(json.dumps(figures), flush=True)


def ask_for_a_while(ask: Callable[[str, str], object], task: Task, count: Count) -> None:
    """For blocking clients: ask, wait for the answer, and so on."""
    for seconds, told in ((task.warm, count.begin), (task.seconds, count.end)):
        end = perf_counter() + seconds
        while perf_counter() < end:
            ask("echo", task.payload)
            count.echoes += 1
        told()


def echo_for_a_while(client: Any, task: Task, count: Count) -> None:
    """For blocking clients: emit, while a handler emits what comes back."""
    for _ in range(task.inflight):
        client.emit("echo", task.payload)
    sleep(task.warm)
    count.begin()
    sleep(task.seconds)
    count.end()
