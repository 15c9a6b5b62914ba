"""What is measured: the table of cases. To add one, add a row; everything else follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Final, Literal

KERNEL: Final = "kernel"
"""The bare server in C, which shows what the kernel's sockets allow."""

LATENCY_HIGH: Final = "latency-high"
LATENCY_LOW: Final = "latency-low"
CONNECT_LIMIT: Final = 120.0
"""Seconds that all clients of a case may take to connect."""

IDLE_CLIENTS: Final = 10_000

Kind = Literal["load", "memory", "paced"]
Unit = Literal["events/s", "deliveries/s", "connections/s", "bytes/client", "s"]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    Attributes:
        name: as on the command line and in the results.
        title: as in tables and plots, under its family.
        family: the heading it stands under.
        group: cases of one group are run, one after the other, against one life of a server.
        load: arguments of the load generator; those of time and port are added.
        unit: of `metric`.
        kind: how it is measured: one run of the load, resting clients, or at a rate that is found first.
        metric: the figure that is compared.
        higher_is_better: which way it is compared.
        main: measured in every round; others in some of them.
        share: how much of the time of a measurement it takes.
        clients: Socket.IO clients that are connected at once, which decides how long it takes to begin.
        compares_kernel: whether the bare server does the same work, so that a share of its figure says something.
        not_for: servers that cannot run it.
    """

    name: str
    title: str
    family: str
    group: str
    load: tuple[str, ...]
    unit: Unit
    kind: Kind = "load"
    metric: str = "rate"
    higher_is_better: bool = True
    main: bool = False
    share: float = 0.5
    clients: int = 100
    compares_kernel: bool = True
    not_for: frozenset[str] = frozenset()


def _load(case: str, **values: int | bool) -> tuple[str, ...]:
    """Arguments for the load generator: `clients=1` is ``--clients 1``, `binary=True` is ``--binary``."""
    arguments = [case]
    for name, value in values.items():
        arguments += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return tuple(arguments)


def _clients(count: int) -> str:
    return "1 client" if count == 1 else f"{count:,} clients".replace(",", " ")


def _echo(clients: int, inflight: int) -> Case:
    """Acked events of 32 bytes of text."""
    return Case(
        name=f"echo-{clients}-{inflight}",
        title=f"{_clients(clients)}, {inflight} in flight",
        family="Echo",
        group="echo",
        load=_load("echo", clients=clients, inflight=inflight),
        unit="events/s",
        main=clients == 100,
        share=1.0 if clients == 100 else 0.5,
        clients=clients,
    )


def _payload(size: int, label: str, inflight: int, *, binary: bool = False) -> Case:
    """Acked events with larger payloads, or with payloads that are attachments."""
    short = label.replace(" ", "").replace("iB", "").lower().removesuffix("b")
    kind = "binary" if binary else "text"
    return Case(
        name=f"{kind}-{short}-{inflight}",
        title=f"{label} {kind}, {inflight} in flight",
        family="Payloads",
        group="echo",
        load=_load("echo", inflight=inflight, size=size, **({"binary": True} if binary else {})),
        unit="events/s",
    )


def _typed(inflight: int) -> Case:
    """Orders, which the server validates and adds up."""
    return Case(
        name=f"typed-{inflight}",
        title=f"validated order, {inflight} in flight",
        family="Payloads",
        group="echo",
        load=_load("echo", inflight=inflight, typed=True),
        unit="events/s",
        not_for=frozenset({KERNEL}),
    )


def _fanout(clients: int, inflight: int) -> Case:
    """Broadcasts to all."""
    return Case(
        name=f"fanout-{clients}-{inflight}",
        title=f"to {_clients(clients)}, {inflight} in flight",
        family="Broadcast",
        group=f"fanout-{clients}",
        load=_load("fanout", clients=clients, inflight=inflight),
        unit="deliveries/s",
        main=clients == 500,
        share=1.0,  # a slow server takes half a second for a message to 5000
        clients=clients,
    )


def _rooms(inflight: int) -> Case:
    """Broadcasts to rooms of twenty."""
    return Case(
        name=f"rooms-{inflight}",
        title=f"100 rooms of 20, {inflight} in flight",
        family="Broadcast",
        group="rooms",
        load=_load("fanout", clients=2000, groups=100, inflight=inflight),
        unit="deliveries/s",
        clients=2000,
    )


def _latency(name: str, title: str) -> Case:
    """Acked events at a rate that is the same for all."""
    return Case(
        name=name,
        title=title,
        family="Latency",
        group=name,
        load=_load("paced"),
        unit="s",
        kind="paced",
        metric="p99",
        higher_is_better=False,
        main=True,
        share=1.5,  # the last per mille wants many events
    )


CASES: Final[tuple[Case, ...]] = (
    *(_echo(clients, inflight) for clients in (1, 100, 1000) for inflight in (1, 16)),
    *(_payload(1024, "1 KiB", inflight) for inflight in (1, 16)),
    _payload(65536, "64 KiB", 1),
    *(_payload(32, "32 B", inflight, binary=True) for inflight in (1, 16)),
    *(_payload(1024, "1 KiB", inflight, binary=True) for inflight in (1, 16)),
    _payload(65536, "64 KiB", 1, binary=True),
    *(_typed(inflight) for inflight in (1, 16)),
    *(_fanout(clients, inflight) for clients in (500, 5000) for inflight in (1, 16)),
    *(_rooms(inflight) for inflight in (1, 16)),
    Case(
        name="connects",
        title="clients come and stay",
        family="Connections",
        group="connects",
        load=_load("connects", clients=8000, inflight=64),
        unit="connections/s",
        main=True,
        share=1.0,
        clients=8000,
        compares_kernel=False,
    ),
    Case(
        name="churn",
        title="clients come and go",
        family="Connections",
        group="churn",
        load=_load("churn", clients=5000, inflight=64),
        unit="connections/s",
        clients=5000,
        compares_kernel=False,
    ),
    Case(
        name="polling",
        title="echo by long-polling",
        family="Connections",
        group="polling",
        load=_load("polling"),
        unit="events/s",
        main=True,
        share=1.0,
        not_for=frozenset({KERNEL}),
    ),
    Case(
        name="memory",
        title="a client that is connected",
        family="Memory",
        group="memory",
        load=_load("idle", clients=IDLE_CLIENTS),
        unit="bytes/client",
        kind="memory",
        metric="per_client",
        higher_is_better=False,
        clients=IDLE_CLIENTS,
        not_for=frozenset({KERNEL}),
    ),
    _latency(LATENCY_HIGH, "at half of what the fastest peer sustains"),
    _latency(LATENCY_LOW, "at half of what the slowest peer sustains"),
)

FAMILIES: Final = tuple(dict.fromkeys(case.family for case in CASES))


def select(wanted: Iterable[str]) -> list[Case]:
    """The cases that any of `wanted` names: a case, a family, a group, or a pattern such as ``echo-*``; all if none.

    Raises:
        ValueError: a name fits no case.
    """
    names = list(wanted)
    for name in names:
        if not any(_fits(case, name) for case in CASES):
            raise ValueError(f"no case, family or group is called {name!r}; there are: {', '.join(_names())}")
    return [case for case in CASES if not names or any(_fits(case, name) for name in names)]


def _fits(case: Case, name: str) -> bool:
    return fnmatch(case.name, name) or name.lower() in (case.family.lower(), case.group)


def _names() -> list[str]:
    return [case.name for case in CASES]
