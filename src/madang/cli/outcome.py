"""How ``madang connect`` ends: the exit statuses, and what a failure means to whoever reads it."""

from __future__ import annotations

from typing import Final

from ..errors import (
    AckTimeout,
    ConnectError,
    ConnectionFailed,
    MadangError,
    SocketClosed,
    UsageError,
    WaitTimeout,
)
from .showing import line_of, name

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
LATE: Final = 4
INTERRUPTED: Final = 128
"""Added to the number of the signal."""

STATUSES: Final = f"""\
exit statuses:
  {DONE}    done; of --listen also: its time is over, or nobody reads its output any more
  {REFUSED}    the server's application refused: the connection, or by an answer {{"error": …}};
       or it ended the connection
  {USAGE}    wrong usage: an option, a file, an event that cannot be sent; nothing was sent
  {UNREACHABLE}    no connection, or it was lost
  {LATE}    no answer within --timeout, or not so many events within --for
  130  Ctrl-C (143 SIGTERM)
"""

IO_SERVER: Final = "io server disconnect"
IO_CLIENT: Final = "io client disconnect"


class Ended(Exception):
    """The command ends otherwise than well.

    Args:
        status: the exit status.
        message: what is told on standard error.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def status_of(error: BaseException) -> int:
    """The exit status for an error."""
    match error:
        case Ended():
            return error.status
        case ConnectError():
            return REFUSED
        case AckTimeout() | WaitTimeout():
            return LATE
        case SocketClosed(reason=reason):
            return REFUSED if reason == IO_SERVER else UNREACHABLE
        case ConnectionFailed():
            return UNREACHABLE
        case _:
            return USAGE


def told(error: BaseException, url: str = "") -> str:
    """An error, with what can be done about it; safe to display."""
    match error:
        case ConnectError():
            return _refusal(error)
        case ConnectionFailed():
            advice = _advice(error)
            return f"cannot connect{' to ' + name(url) if url else ''}: {name(error)}" + (
                f"\n  {advice}" if advice else ""
            )
        case AckTimeout():
            return "no answer in time; it may have been handled all the same (--timeout SECONDS waits longer)"
        case SocketClosed(reason=reason) if reason == IO_SERVER:
            return "the server has ended the connection (io server disconnect)"
        case SocketClosed():
            return f"the connection was lost ({name(error.reason)}); whether what was sent has arrived is not known"
        case UsageError() | MadangError() | Ended():
            return name(error) if not isinstance(error, Ended) else str(error)
        case _:
            return f"{type(error).__name__}: {name(error)}"


def _refusal(error: ConnectError) -> str:
    data = "" if error.data is None else f" {name(line_of(error.data))}"
    advice = "what it wants to see is given by --auth or --header (at the prompt: .auth, then .connect)"
    if error.message == "Invalid namespace":
        advice = "the server has no such namespace; the URL's path names one, and --path says where Socket.IO is"
    return f"the server refused: {name(error.message)}{data}\n  {advice}"


_ADVICE: Final = (
    (("Connect call failed", "refused"), "is the server running, and on this port?"),
    (("Name or service not known", "getaddrinfo", "nodename"), "there is no host of this name"),
    (("WRONG_VERSION_NUMBER",), "the server speaks no TLS here: begin the URL with http://"),
    (
        ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed"),
        "--cacert FILE trusts an authority of your own; --insecure trusts anybody, for tests",
    ),
    (("answered 404",), "where the server has Socket.IO is given by --path"),
    (("answered 401", "answered 403"), "who is asking? --auth, --header or --cookies; or --path is wrong"),
    (("timeout",), "--timeout SECONDS waits longer"),
)


def _advice(error: ConnectionFailed) -> str:
    text = str(error)
    return next((advice for signs, advice in _ADVICE if any(sign in text for sign in signs)), "")
