"""``madang run``: serve a server, engine or ASGI app on the native host."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import Any

from ..engine.host import Hosted, Running
from ..errors import MadangError
from ..hosting.asgi import ASGIApp
from ..hosting.native import load


def add_parser(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    run: argparse.ArgumentParser = commands.add_parser("run", help="serve a server on the native host")
    run.set_defaults(command=serve)
    run.add_argument("target", metavar="MODULE:IO", help="where the server is, such as app:io")
    run.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    run.add_argument("--port", type=int, default=3000, help="port to listen on, 0 for any free one (default 3000)")
    run.add_argument("--uds", metavar="PATH", help="listen at this path, a Unix socket, in place of host and port")
    run.add_argument("--app-dir", default=".", help="folder to import the module from (default: this one)")
    run.add_argument("--log-level", default="info", choices=("critical", "error", "warning", "info", "debug"))
    run.add_argument("--ssl-certfile", help="certificate, for https and wss")
    run.add_argument("--ssl-keyfile", help="its key")
    run.add_argument("--workers", type=int, help="serve with so many processes (default: one, this one)")
    run.add_argument(
        "--reload", action="store_true", help="begin anew whenever a Python file below this folder changes"
    )
    run.add_argument("--drain", type=float, default=0.0, metavar="SECONDS", help="when it ends, send clients away over")
    run.add_argument("--forwarded-allow-ips", help="proxies whose X-Forwarded-For is believed (default: this host)")


def serve(options: argparse.Namespace) -> int:
    """Serve until the process is asked to end; the exit status."""
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.path.insert(0, os.path.abspath(options.app_dir))
    try:
        hosted, other = _load(options.target)
        settings: dict[str, Any] = {"host": options.host, "port": options.port, "log_level": options.log_level}
        settings |= {"app": other, "on_start": _announce}
        if options.ssl_certfile:
            settings |= {"ssl_certfile": options.ssl_certfile, "ssl_keyfile": options.ssl_keyfile}
        if options.workers is not None:
            settings["workers"] = options.workers
        settings |= {"reload": options.reload, "drain": options.drain}
        if options.uds:
            settings["uds"] = options.uds
        if options.forwarded_allow_ips:
            settings["forwarded_allow_ips"] = options.forwarded_allow_ips
        hosted.run(**settings)
    except (MadangError, OSError) as error:
        sys.stderr.write(f"madang: {error}\n")
        return 1
    return 0


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
