"""The client's options, beyond those of its engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from ..engine.client_options import ClientEngineKeywords
from ..engine.options import require_positive
from ..errors import OptionError
from ..protocol.parser import Parser

Auth: TypeAlias = "Mapping[str, Any] | Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any] | None] | None]"
"""What a client presents to the server: a dict, or a function or coroutine function that gives one."""


class ClientKeywords(ClientEngineKeywords, total=False):
    """What `Client` takes by name; see `ClientOptions` and `ClientEngineOptions`."""

    auto_connect: bool
    multiplex: bool
    force_new: bool
    timeout: float | None
    reconnection: bool
    reconnection_attempts: float
    reconnection_delay: float
    reconnection_delay_max: float
    randomization_factor: float
    ack_timeout: float | None
    retries: int
    concurrent: bool
    max_attachments: int
    parser: Parser | None
    json_default: Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """The options of a client.

    Attributes:
        auto_connect: whether a client that is made in a running loop begins to connect at once. Default True.
        multiplex: whether clients of one loop, with the same server and options, but different namespaces, share one
            connection. Default True.
        force_new: whether to use a connection of its own in any case. Default False.
        timeout: seconds for one attempt to connect, and for waiting until a namespace is joined; None waits as long as
            it takes. Default 20.
        reconnection: whether to connect again after a failure. Default True.
        reconnection_attempts: how often, before it is given up. Default infinite.
        reconnection_delay: seconds before the first attempt; doubled for each further one. Default 1.
        reconnection_delay_max: seconds that a delay has at most. Default 5.
        randomization_factor: the share of a delay, 0 to 1, that is added or taken away at random. Default 0.5.
        ack_timeout: seconds that `emit_with_ack` waits unless told otherwise; None waits until the connection ends.
            Default 60.
        retries: how often an event is sent again if its answer does not come within `ack_timeout`; above 0, events go
            one after the other. Default 0.
        concurrent: whether handlers may overlap. Default False: in order, one at a time.
        max_attachments: how many binary attachments a packet may have. Default 10.
        parser: `MsgpackParser()`, or one of your own, the same as the server's. Default: what every server speaks.
        json_default: turns values of unknown types into known ones, or raises TypeError.
    """

    auto_connect: bool = True
    multiplex: bool = True
    force_new: bool = False
    timeout: float | None = 20.0
    reconnection: bool = True
    reconnection_attempts: float = float("inf")
    reconnection_delay: float = 1.0
    reconnection_delay_max: float = 5.0
    randomization_factor: float = 0.5
    ack_timeout: float | None = 60.0
    retries: int = 0
    concurrent: bool = False
    max_attachments: int = 10
    parser: Parser | None = None
    json_default: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range.
        """
        timeout: Any = self.timeout
        if timeout is False:  # as JavaScript has it
            object.__setattr__(self, "timeout", None)
        for name in ("timeout", "ack_timeout"):
            if getattr(self, name) is not None:
                require_positive(self, name)
        require_positive(self, "reconnection_delay", "reconnection_delay_max", "max_attachments")
        for name in ("reconnection_attempts", "retries", "randomization_factor"):
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise OptionError(f"{name} must be a number, 0 or above, not {value!r}")
        if self.randomization_factor > 1:
            raise OptionError(f"randomization_factor must be a share between 0 and 1, not {self.randomization_factor}")
        if self.json_default is not None and not callable(self.json_default):
            raise OptionError(f"json_default must be callable, not {self.json_default!r}")


def check_auth(auth: Any) -> Auth | None:
    """What may be given as `auth`.

    Raises:
        OptionError: it is neither a dict nor something to call.
    """
    if auth is None or isinstance(auth, Mapping) or callable(auth):
        return cast("Auth | None", auth)
    raise OptionError(f"auth must be a dict, or a function that gives one, not {auth!r}")
