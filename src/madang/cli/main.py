"""The `madang` command.

``madang run module:io`` serves a server on the native host; ``madang connect URL`` is a client in the terminal;
``madang emit URL EVENT`` sends to the clients of a cluster; ``madang doctor URL`` examines a deployment.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version

from ..compiled import COMPILED
from . import connect, emit, run
from .doctor import command as doctor


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the program's name. Default: that of the process.

    Returns:
        The exit status.
    """
    options = command_line().parse_args(arguments)
    status: int = options.command(options)
    return status


def command_line() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(prog="madang", description="A complete Socket.IO v4 for Python.")
    kind = "compiled" if COMPILED else "pure Python"
    parser.add_argument("--version", action="version", version=f"madang {version('madang')} ({kind})")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    run.add_parser(commands)
    connect.add_parser(commands)
    emit.add_parser(commands)
    doctor.add_parser(commands)
    return parser
