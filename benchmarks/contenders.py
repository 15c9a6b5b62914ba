"""Who is measured: the servers that servers/servers.toml lists, and the limit that the kernel sets."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from cases import KERNEL

HERE: Final = Path(__file__).resolve().parent
SERVERS: Final = HERE / "servers"

MADANG: Final = "madang"
MADANG_ASGI: Final = "madang_asgi"
PYTHON_SOCKETIO: Final = "python_socketio"

Role = Literal["madang", "peer", "limit"]


@dataclass(frozen=True, slots=True)
class Contender:
    """One server program.

    Attributes:
        name: as on the command line and in the results.
        title: as in tables and plots.
        command: the program and its arguments, the port excepted; run in the folder `servers`.
        role: whether it is ours, a peer, or the limit that the kernel sets.
        language: what it is written in.
        version: a command that prints its versions in one line.
        settings: how it is set up, for readers.
    """

    name: str
    title: str
    command: tuple[str, ...]
    role: Role
    language: str = ""
    version: tuple[str, ...] = ()
    settings: str = ""


LIMIT: Final = Contender(
    name=KERNEL,
    title="kernel limit",
    command=("../build/kernel",),
    role="limit",
    language="C",
    settings="Only moves bytes: one write for one read, and for broadcasts one for each message and member.",
)


def load(wanted: Iterable[str] = ()) -> list[Contender]:
    """The servers that `wanted` names, all if none, in the order of the file; the limit comes last.

    Raises:
        ValueError: a name fits no server.
    """
    document = tomllib.loads((SERVERS / "servers.toml").read_text(encoding="utf-8"))
    every = [*(_contender(table) for table in document["server"] if table["name"] != KERNEL), LIMIT]
    names = list(wanted)
    known = [contender.name for contender in every]
    for name in names:
        if name not in known:
            raise ValueError(f"no server is called {name!r}; there are: {', '.join(known)}")
    return [contender for contender in every if not names or contender.name in names]


def _contender(table: dict[str, Any]) -> Contender:
    return Contender(
        name=table["name"],
        title=table["title"],
        command=tuple(table["command"]),
        role="madang" if table["name"] in (MADANG, MADANG_ASGI) else "peer",
        language=table.get("language", ""),
        version=tuple(table.get("version", ())),
        settings=table.get("settings", ""),
    )


def program(command: Sequence[str]) -> list[str]:
    """A command whose program, if it lies among the servers, is named by its whole path.

    The path is not resolved: a virtual environment is known by the path of its own link to Python.
    """
    found = SERVERS / command[0]
    return [str(found) if found.is_file() else command[0], *command[1:]]


def version(contender: Contender) -> str:
    """What a server says of its versions; empty if it does not."""
    if not contender.version:
        return ""
    try:
        said = subprocess.run(
            program(contender.version), cwd=SERVERS, capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    first = said.stdout.strip().partition("\n")[0]
    return first.partition(" (")[0] if said.returncode == 0 else ""
