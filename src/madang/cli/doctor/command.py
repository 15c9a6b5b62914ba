"""The command: its options, and how it ends."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import ssl
import sys
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlencode

from ...client.url import parse
from ...errors import MadangError, OptionError
from ..outcome import INTERRUPTED, USAGE, told
from ..target import auth_of, header_of, tls_of, url_of
from .examination import Wanted, examine
from .findings import Findings
from .wire import Site

_ABOUT: Final = """\
Examines a server of Socket.IO 3 or 4 from outside, as it was deployed: name, port, certificate, path, handshake, CORS,
polling, sticky sessions, WebSocket, the upgrade, a large message, an idle minute; and says in words what was seen, and
what to change where something does not work.

The path of the URL is the namespace, as with madang connect; if Socket.IO is not at --path, it is looked for below it.
A URL that ends with socket.io says the path itself. ":3000" is http://localhost:3000.
"""

_STATUSES: Final = """\
exit statuses:
  0    all is well; there may be notes
  1    something does not work
  2    wrong usage
  130  Ctrl-C
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor",
        help="examine a deployment: what proxies do to handshake, polling, upgrade, large and idle connections",
        description=_ABOUT,
        epilog=_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run)
    add = parser.add_argument
    add("url", metavar="URL", help="the server, as clients are given it")
    add("--path", metavar="/PATH", help="where the server has its Socket.IO (default /socket.io/)")
    add("--namespace", metavar="/NAME", help="what is joined (default: the URL's path)")
    add("--auth", action="append", default=[], metavar="AUTH",
        help="key=value, a JSON object or @file.json; may be repeated. Default: what MADANG_AUTH says")  # fmt: skip
    add("--origin", metavar="ORIGIN", help="where pages come from, such as https://app.example.com")
    add("-H", "--header", action="append", default=[], metavar="'NAME: VALUE'", help="a header; may be repeated")
    add("--large", type=_bytes, default=Wanted.large, metavar="BYTES", help=f"a large message (default {Wanted.large})")
    add("--echo", metavar="EVENT", help="an event that the application answers with what it was sent: "
        "a large one is sent and has to come back")  # fmt: skip
    add("--idle", type=_idle, default=Wanted.idle, metavar="SECONDS", help="say nothing so long (default 60; 0: not)")
    add("--sessions", type=_bytes, default=Wanted.sessions, metavar="N",
        help=f"sessions that have to find their server again (default {Wanted.sessions})")  # fmt: skip
    add("--timeout", type=_seconds, default=10.0, metavar="SECONDS", help="for each answer (default 10)")
    add("--cacert", metavar="FILE", help="trust the authority in this file")
    add("--cert", metavar="FILE", help="a client's certificate")
    add("--key", metavar="FILE", help="its key, if it is not in the same file")
    add("--insecure", action="store_true", help="do not look at the certificate")
    add("--json", action="store_true", help="a line of JSON for each finding, and one for the whole")


def _bytes(said: str) -> int:
    number = int(said)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _seconds(said: str) -> float:
    number = _idle(said)
    if number == 0:
        raise argparse.ArgumentTypeError("must be a number of seconds above 0")
    return number


def _idle(said: str) -> float:
    number = float(said)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError("must be a number of seconds")
    return number


def run(options: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    try:
        wanted = wanted_by(options)
        findings = Findings(sys.stdout, as_json=options.json)
        asyncio.run(examine(wanted, findings))
        findings.finish()
    except MadangError as error:
        sys.stderr.write(f"madang: {told(error)}\n")
        return USAGE
    except BrokenPipeError:  # nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED + signal.SIGINT
    return 1 if findings.count("failed") else 0


def wanted_by(options: argparse.Namespace) -> Wanted:
    """What the options want.

    Raises:
        OptionError: an option has no sense.
    """
    target = parse(url_of(options.url))
    origin: str | None = options.origin
    if origin is not None and "://" not in origin:
        raise OptionError(f"--origin is to be given with its scheme, such as https://{origin}")
    path, url_path = options.path, target.namespace
    if path is None and url_path.rstrip("/").endswith("socket.io"):
        path, url_path = url_path, "/"
    path = quote(f"/{(path or 'socket.io').strip('/')}/".replace("//", "/"), safe="/%:@!$&'()*+,;=~")
    headers = [header_of(said) for said in options.header]
    context = tls_of(options)
    if context is None and target.address.secure:
        context = ssl.create_default_context()
    if context is not None and options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    site = Site(target.address, path, options.timeout, urlencode(target.query), headers)
    namespace = options.namespace
    return Wanted(
        replace(site, tls=context if target.address.secure else None),
        url_path,
        namespace if namespace is None or namespace.startswith("/") else f"/{namespace}",
        auth_of(options.auth),
        origin.rstrip("/") if origin is not None else None,
        options.large,
        options.echo,
        options.idle,
        options.sessions,
    )
