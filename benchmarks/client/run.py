"""Measure clients: madang's, python-socketio's and Node's, each against the same server that is never waited for.

python benchmarks/client/run.py
python benchmarks/client/run.py --only 'ack-1-*' --clients madang-uvloop,node --rounds 3

The client has one core, the server another, which it keeps busy; so the machine wants two that nothing else uses. The
rounds of the clients are interleaved. What the client's process spends on a core for each echo is noted beside the
rate: it is what is left to compare where something else was running.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import machine  # noqa: E402 (it lies in the folder above)
import wording  # noqa: E402

PEERS: Final = HERE / "peers"
ROOT: Final = HERE.parent.parent
SERVER: Final = HERE.parent / "build" / "client-server"
RESULTS: Final = HERE.parent / "results"
NODE: Final = PEERS / "node"
PYTHON: Final = PEERS / "python"

OURS: Final = str(ROOT / ".venv" / "bin" / "python")
THEIRS: Final = str(PYTHON / ".venv" / "bin" / "python")

CLIENT_CORE, SERVER_CORE = 0, 1
LIMIT: Final = 30.0
"""Seconds that a program may take beyond those that it is given."""

REFERENCE: Final = "node"


@dataclass(frozen=True)
class Client:
    """One program.

    Attributes:
        name: as on the command line and in the results.
        title: as in the table.
        command: the program.
        arguments: that come last.
        environment: that is added.
        blocking: whether it has one event in flight at most.
    """

    name: str
    title: str
    command: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    blocking: bool = False


_MADANG: Final = (OURS, "-P", str(PEERS / "madang_async.py"))
_SOCKETIO: Final = (THEIRS, "-P", str(PYTHON / "asyncio_client.py"))

CLIENTS: Final = (
    Client("madang-uvloop", "madang, uvloop", _MADANG, ("uvloop",)),
    Client("madang-asyncio", "madang, asyncio", _MADANG),
    Client("madang-pure-uvloop", "madang, not compiled, uvloop", _MADANG, ("uvloop",), {"MADANG_PURE": "1"}),
    Client("madang-pure-asyncio", "madang, not compiled, asyncio", _MADANG, (), {"MADANG_PURE": "1"}),
    Client("node", "Node", ("node", str(NODE / "client.mjs"))),
    Client("node-callback", "Node, callbacks", ("node", str(NODE / "client.mjs")), ("callback",)),
    Client("python-socketio-uvloop", "python-socketio, uvloop", _SOCKETIO, ("uvloop",)),
    Client("python-socketio", "python-socketio, asyncio", _SOCKETIO),
    Client("madang-sync", "madang, blocking", (OURS, "-P", str(PEERS / "madang_sync.py")), blocking=True),
    Client(
        "python-socketio-sync",
        "python-socketio, blocking",
        (THEIRS, "-P", str(PYTHON / "blocking_client.py")),
        blocking=True,
    ),
)


@dataclass(frozen=True)
class Case:
    """Echoes of one kind.

    Attributes:
        kind: ``"ack"``, an event and its answer, or ``"event"``, an event that comes back and is emitted anew.
        connections: how many.
        inflight: events of each that are on their way.
        size: bytes of an event's argument.
    """

    kind: str
    connections: int
    inflight: int
    size: int

    @property
    def name(self) -> str:
        """As on the command line and in the results."""
        return f"{self.kind}-{self.connections}-{self.inflight}-{self.size}"


CASES: Final = tuple(
    Case(kind, connections, inflight, size)
    for size in (64, 1024)
    for kind in ("ack", "event")
    for connections, inflight in ((1, 1), (1, 16), (1, 128), (100, 1))
)


# ---------------------------------------------------------------- setting up


def set_up(clients: list[Client]) -> list[Client]:
    """Compile the server, install the peers, each once; those clients that can be run."""
    source = HERE / "server.c"
    if _is_older(SERVER, source):
        SERVER.parent.mkdir(exist_ok=True)
        subprocess.run(["cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-o", str(SERVER), str(source)], check=True)
    failed: set[str] = set()
    commands = {client.command[0] for client in clients}
    if "node" in commands and not _made(
        NODE, "node_modules/.made", "package.json", ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
    ):
        failed.add("node")
    if THEIRS in commands and not _made(
        PYTHON,
        ".venv/.made",
        "requirements.txt",
        [OURS, "-m", "venv", "--clear", ".venv"],
        [".venv/bin/python", "-m", "pip", "-q", "--disable-pip-version-check", "install", "-r", "requirements.txt"],
    ):
        failed.add(THEIRS)
    return [client for client in clients if client.command[0] not in failed]


def _made(folder: Path, stamp: str, made_from: str, *commands: list[str]) -> bool:
    if not _is_older(folder / stamp, folder / made_from):
        return True
    print(f"setting up {folder.name} ...")
    try:
        for command in commands:
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{folder.name} cannot be set up, and is left out: {error}", file=sys.stderr)
        return False
    (folder / stamp).touch()
    return True


def _is_older(path: Path, than: Path) -> bool:
    return not path.exists() or path.stat().st_mtime < than.stat().st_mtime


# ---------------------------------------------------------------- measuring


@contextmanager
def serving() -> Iterator[int]:
    """The server, on its core; gives the port."""
    command = ["taskset", "-c", str(SERVER_CORE), str(SERVER)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield int(server.stdout.readline())
    finally:
        server.terminate()
        server.communicate(timeout=LIMIT)


def measure(client: Client, case: Case, port: int, warm: float, seconds: float) -> dict[str, Any]:
    """One run: the rate, and seconds of CPU time for each echo; or an error."""
    task = [port, case.kind, case.connections, case.inflight, case.size, warm, seconds]
    environment = {**os.environ, "PYTHONPATH": str(PEERS), **client.environment}
    command = ["taskset", "-c", str(CLIENT_CORE), *client.command, *map(str, task), *client.arguments]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT + warm + seconds
        )
        return dict(json.loads(done.stdout.strip().rpartition("\n")[2]))
    except subprocess.TimeoutExpired:
        return {"error": "it did not end"}
    except ValueError:
        return {"error": done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}"}


def measure_all(clients: list[Client], cases: list[Case], wanted: argparse.Namespace) -> list[dict[str, Any]]:
    """All cases; in each the clients take turns, round by round."""
    runs: list[dict[str, Any]] = []
    for case in cases:
        able = [client for client in clients if not client.blocking or (case.connections, case.inflight) == (1, 1)]
        for number in range(wanted.rounds):
            for client in able:
                with serving() as port:
                    figures = measure(client, case, port, wanted.warm, wanted.seconds)
                runs.append({"case": case.name, "client": client.name, "round": number, **figures})
        print(case.name, end=" ", flush=True)
    print()
    return runs


# ---------------------------------------------------------------- telling


def table(runs: list[dict[str, Any]], clients: list[Client], cases: list[Case]) -> str:
    """For each case and client: echoes a second, how many times Node's that is, and the CPU time of an echo."""
    lines = [
        "| " + " | ".join(["", *(client.title for client in clients)]) + " |",
        "|" + "---|" * (len(clients) + 1),
    ]
    for case in cases:
        cells = [_cell(runs, case, client.name) for client in clients]
        lines.append("| " + " | ".join([f"`{case.name}`", *cells]) + " |")
    return "\n".join(lines) + "\n"


def _cell(runs: list[dict[str, Any]], case: Case, client: str) -> str:
    rates, spent = _by_round(runs, case, client, "rate"), _by_round(runs, case, client, "cpu")
    if not rates:
        return wording.MISSING
    reference = _by_round(runs, case, REFERENCE, "rate")
    ratios = [rates[number] / reference[number] for number in rates if reference.get(number)]
    told = [wording.rate(median(rates.values()))]
    if ratios and client != REFERENCE:
        told.append(wording.times(median(ratios)))
    return "<br>".join([*told, wording.seconds(median(spent.values()))])


def _by_round(runs: list[dict[str, Any]], case: Case, client: str, figure: str) -> dict[int, float]:
    return {
        run["round"]: run[figure]
        for run in runs
        if run["case"] == case.name and run["client"] == client and figure in run
    }


def main() -> int:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="cases, by name or pattern, with commas between")
    parser.add_argument("--clients", default="*", help="clients, by name or pattern, with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="for which each run counts")
    parser.add_argument("--warm", type=float, default=0.3, help="seconds before it counts")
    parser.add_argument("--into", type=Path, default=RESULTS / "client.json", help="where the figures go")
    wanted = parser.parse_args()
    cases = [case for case in CASES if any(fnmatch(case.name, name) for name in wanted.only.split(","))]
    clients = [client for client in CLIENTS if any(fnmatch(client.name, name) for name in wanted.clients.split(","))]
    if not cases or not clients:
        parser.error("there is no such case, or no such client")
    clients = set_up(clients)
    runs = measure_all(clients, cases, wanted)
    said = table(runs, clients, cases)
    print(said)
    for error in sorted({f"{run['client']}: {run['error']}" for run in runs if "error" in run}):
        print(error, file=sys.stderr)
    settings = {"rounds": wanted.rounds, "seconds": wanted.seconds, "warm": wanted.warm}
    results = {
        "machine": machine.describe(),
        "date": machine.today(),
        "commit": machine.commit(),
        "load": os.getloadavg(),
        "settings": settings,
        "runs": runs,
    }
    wanted.into.parent.mkdir(parents=True, exist_ok=True)
    wanted.into.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    wanted.into.with_suffix(".md").write_text(said, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
