"""The `madang` command: ``madang run module:io`` serves a server, engine or ASGI app; ``madang emit`` tells clients."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from importlib.metadata import version
from typing import Any

from ..compiled import COMPILED
from ..engine.host import Hosted, Running
from ..errors import MadangError
from ..hosting.asgi import ASGIApp
from ..hosting.native import load
from .emit import add_parser as add_emit


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the program's name. Default: that of the process.

    Returns:
        The exit status.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if options.run is not None:
            options.run(options)
            return 0
        sys.path.insert(0, os.path.abspath(options.app_dir))
        hosted, other = _load(options.target)
        settings: dict[str, Any] = {"host": options.host, "port": options.port, "log_level": options.log_level}
        settings |= {"app": other, "on_start": _announce}
        if options.ssl_certfile:
            settings |= {"ssl_certfile": options.ssl_certfile, "ssl_keyfile": options.ssl_keyfile}
        if options.forwarded_allow_ips:
            settings["forwarded_allow_ips"] = options.forwarded_allow_ips
        hosted.run(**settings)
    except (MadangError, OSError) as error:
        sys.stderr.write(f"madang: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="madang", description="A complete Socket.IO v4 for Python.")
    kind = "compiled" if COMPILED else "pure Python"
    parser.add_argument("--version", action="version", version=f"madang {version('madang')} ({kind})")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve a server on the native host")
    run.set_defaults(run=None)
    run.add_argument("target", metavar="MODULE:IO", help="where the server is, such as app:io")
    run.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    run.add_argument("--port", type=int, default=3000, help="port to listen on, 0 for any free one (default 3000)")
    run.add_argument("--app-dir", default=".", help="folder to import the module from (default: this one)")
    run.add_argument("--log-level", default="info", choices=("critical", "error", "warning", "info", "debug"))
    run.add_argument("--ssl-certfile", help="certificate, for https and wss")
    run.add_argument("--ssl-keyfile", help="its key")
    run.add_argument("--forwarded-allow-ips", help="proxies whose X-Forwarded-For is believed (default: this host)")
    add_emit(commands)
    return parser


def _load(target: str) -> tuple[Hosted, Any]:
    """The server that `target` names, and the application around which it stands."""
    found = load(target)
    if isinstance(found, ASGIApp):
        return found.io, found.app
    if isinstance(found, Hosted):
        return found, None
    raise MadangError(
        f"{target} is a {type(found).__name__}; a madang.Server, madang.Engine or madang.ASGIApp is needed. "
        "For an application that mounts one, name madang.ASGIApp(io, app) instead"
    )


def _announce(running: Running) -> None:
    sys.stdout.write(f"madang on {running.url} (Ctrl-C ends it)\n")
    sys.stdout.flush()
