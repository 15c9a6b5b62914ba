"""``madang connect URL``: a Socket.IO client in the terminal, for people and for scripts."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

from ..errors import MadangError
from . import interactive, script
from .outcome import INTERRUPTED, STATUSES, USAGE, told

_ABOUT: Final = """\
A Socket.IO client in the terminal. On its own it is a prompt: type an event's name and its arguments, see what the
server sends, .help shows the rest. With --emit and --listen it is a tool for scripts.

The path of the URL is the namespace, its query that of the handshake. ":3000" is http://localhost:3000; another host
without a scheme is spoken to over https.
"""

_ARGUMENTS: Final = """\
arguments of events:
  Each is JSON if it is JSON, else text: 1, true, '{"a": 1}', hello. '"1"' is the text 1.
  @photo.png is the content of a file, as bytes; @@x is the text @x. Inside JSON: {"$file": "photo.png"}
  and {"$bytes": "<base64>"}, which is also how bytes are printed.
"""

_EXAMPLES: Final = """\
examples:
  madang connect :3000                                 talk to the server on this machine
  madang connect https://example.com/chat --auth token=secret
                                                       the namespace /chat, presenting {"token": "secret"}
  madang connect :3000 --emit 'chat message' '{"text": "hi"}'
                                                       emit, and end when it has been sent
  madang connect :3000 --emit add 1 2 --ack            print the answer as JSON: 3
  madang connect :3000 --listen | jq .args             each event as a line of JSON, until Ctrl-C
  madang connect :3000 --emit job 7 --listen done failed --count 1 --for 60
                                                       start something, and wait a minute for how it ends
  madang connect :3000 --emit upload photo.png @photo.png --ack
                                                       send a file
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "connect",
        help="talk to a server: a prompt, or --emit and --listen for scripts",
        description=_ABOUT,
        epilog="\n".join((_ARGUMENTS, _EXAMPLES, STATUSES)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=connect)
    parser.add_argument("url", metavar="URL", help="the server, before the options that take several words")
    _add_scripts(parser.add_argument_group("for scripts"))
    _add_presenting(parser.add_argument_group("what the server is shown"))
    _add_ways(parser.add_argument_group("the way to the server"))


def _add_scripts(group: Any) -> None:
    add = group.add_argument
    add(
        "--emit",
        nargs="+",
        action="append",
        default=[],
        metavar=("EVENT", "ARG"),
        help="emit an event; may be repeated",
    )
    add("--ack", action="store_true", help="ask for an answer to each --emit, and print it as a line of JSON: "
        "null if it has no value, the value if it has one, a list if it has several")  # fmt: skip
    add("--listen", nargs="*", metavar="EVENT", help="print events as lines of JSON; all, or those that are named")
    add("--answer", nargs="*", metavar="VALUE", help="with --listen: answer every event that asks, with these values")
    add("--count", type=_count, metavar="N", help="with --listen: end after so many events")
    add("--for", type=_seconds, dest="seconds", metavar="SECONDS", help="with --listen: end after this time")


def _add_presenting(group: Any) -> None:
    add = group.add_argument
    add("--auth", action="append", default=[], metavar="AUTH",
        help="key=value, a JSON object or @file.json; may be repeated. Default: what the variable MADANG_AUTH says, "
        "which neither the shell's history nor other users see")  # fmt: skip
    add("-H", "--header", action="append", default=[], metavar="'NAME: VALUE'", help="a header; may be repeated")
    add("--query", action="append", default=[], metavar="KEY=VALUE", help="instead of the URL's query; may be repeated")
    add("--cookies", action="store_true", help="keep the server's cookies and send them again, for sticky sessions")
    add("--of", action="append", default=[], metavar="/NAMESPACE", help="join this namespace too; may be repeated")


def _add_ways(group: Any) -> None:
    add = group.add_argument
    add("--path", metavar="/PATH", help="where the server has its Socket.IO (default /socket.io/)")
    add("--transport", action="append", default=[], choices=("polling", "websocket"),
        help="use this one; repeated: these, in this order (default: polling, then websocket)")  # fmt: skip
    add("--proxy", metavar="URL", help="an HTTP or SOCKS proxy, such as socks5://localhost:1080")
    add("--cacert", metavar="FILE", help="trust the authority in this file")
    add("--cert", metavar="FILE", help="a client's certificate")
    add("--key", metavar="FILE", help="its key, if it is not in the same file")
    add("--insecure", action="store_true", help="trust any certificate; for tests alone")
    add("--timeout", type=_seconds, default=10.0, metavar="SECONDS",
        help="for connecting, all attempts together, and for each answer (default 10)")  # fmt: skip
    add("--no-reconnect", action="store_true", help="end at the first failure, and when the connection is lost")
    add(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="each packet on standard error; -vv: what the library logs too",
    )


def _count(said: str) -> int:
    number = int(said)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _seconds(said: str) -> float:
    number = float(said)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be a number of seconds above 0")
    return number


def connect(options: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    logging.basicConfig(
        level=logging.DEBUG if options.verbose > 1 else logging.WARNING,
        format="madang: %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    work = script.run if options.emit or options.listen is not None else interactive.run
    try:
        _check(options)
        return asyncio.run(_interruptible(work(options)))
    except MadangError as error:
        sys.stderr.write(f"madang: {told(error)}\n")
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED + signal.SIGINT


def _check(options: argparse.Namespace) -> None:
    """See that the options go together.

    Raises:
        MadangError: they do not.
    """
    if options.ack and not options.emit:
        raise MadangError("--ack goes with --emit EVENT")
    for option, value in (("--count", options.count), ("--for", options.seconds), ("--answer", options.answer)):
        if value is not None and options.listen is None:
            raise MadangError(f"{option} goes with --listen")


async def _interruptible(work: Coroutine[Any, Any, int]) -> int:
    """Let `work` close its connection on Ctrl-C and SIGTERM; a second one ends it at once."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    got: list[int] = []

    def stop(number: int) -> None:
        got.append(number)
        loop.remove_signal_handler(number)
        task.cancel()

    with suppress(NotImplementedError):  # Windows: asyncio.run does it for Ctrl-C
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not got:
            raise
        return INTERRUPTED + got[0]
