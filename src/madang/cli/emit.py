"""``madang emit``: send an event to the clients of a cluster from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..errors import MadangError


def add_parser(commands: Any) -> None:
    """Add the command to the others."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "emit",
        help="send an event to the clients of a cluster",
        description="Send an event to the clients of all servers of a cluster, madang's and Node's.",
    )
    parser.add_argument(
        "url", metavar="URL", help="the cluster, as its servers have it: such as redis://localhost:6379"
    )
    parser.add_argument("event", metavar="EVENT", help="the event's name")
    parser.add_argument("args", metavar="ARG", nargs="*", help="arguments: JSON, or else text as it stands")
    parser.add_argument("--namespace", default="/", help="the namespace (default /)")
    parser.add_argument("--to", action="append", default=[], metavar="ROOM", help="only members; may be repeated")
    parser.add_argument("--except", action="append", default=[], metavar="ROOM", dest="except_", help="but for members")
    parser.add_argument("--key", help="what the channels' names begin with (default socket.io)")
    parser.set_defaults(command=emit)


def emit(options: argparse.Namespace) -> int:
    """Send the event, and say how many servers listened.

    Returns:
        The exit status.
    """
    try:
        from ..adapters.emitter import SyncEmitter

        with SyncEmitter(options.url, **({} if options.key is None else {"key": options.key})) as emitter:
            chosen = emitter.of(options.namespace).to(options.to).except_(options.except_)
            chosen.emit(options.event, *map(_value, options.args))
            servers = emitter.receivers
    except MadangError as error:
        sys.stderr.write(f"madang: {error}\n")
        return 1
    if servers is None:
        sys.stdout.write("sent\n")
    else:
        sys.stdout.write(f"{servers} {'server' if servers == 1 else 'servers'} listened\n")
    return 0


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
