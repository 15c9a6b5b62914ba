"""Runs ``madang connect`` in a process of its own, as scripts do."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from tests.conformance.wire import before
from tests.hosts import ROOT

END_WITHIN = 15.0

COMMAND = (sys.executable, "-m", "madang", "connect")

#: quicker to start than with polling, for what has nothing to do with transports
WEBSOCKET = ("--transport", "websocket")


@dataclass
class Ran:
    """How a run ended: its exit status and what it wrote."""

    status: int
    out: str
    errors: str

    @property
    def lines(self) -> list[Any]:
        """The lines of its output, which are JSON each."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def events(self) -> list[list[Any]]:
        """The events that it printed: namespace, name and arguments."""
        return [[line["namespace"], line["event"], *line["args"]] for line in self.lines]


async def start(
    *arguments: str, stdin: int | None = asyncio.subprocess.DEVNULL, **env: str
) -> asyncio.subprocess.Process:
    """Start ``madang connect`` with these arguments."""
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": "error"} | env,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def end(process: asyncio.subprocess.Process, said: bytes | None = None) -> Ran:
    """Wait for its end."""
    out, errors = await before(END_WITHIN, process.communicate(said), "the end of the command")
    assert process.returncode is not None
    ran = Ran(process.returncode, (out or b"").decode(), errors.decode())
    assert "Traceback" not in ran.errors, ran.errors
    return ran


async def connect(*arguments: str, said: str | None = None, **env: str) -> Ran:
    """Run ``madang connect`` to its end.

    Args:
        *arguments: those of the command.
        said: what is piped into it.
        **env: variables of its environment.
    """
    stdin = asyncio.subprocess.DEVNULL if said is None else asyncio.subprocess.PIPE
    return await end(await start(*arguments, stdin=stdin, **env), None if said is None else said.encode())
