"""What can be said of a cluster over Redis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, TypeVar, get_args, get_type_hints

from ...engine.options import require_positive
from ...errors import OptionError
from ..settings import settings_in
from .location import split_url


class LinkKeywords(TypedDict, total=False):
    """See `LinkOptions`."""

    key: str
    requests_timeout: float
    queue_limit: int
    queue_bytes: int
    max_message: int
    timeout: float


class StreamsKeywords(TypedDict, total=False):
    """What `RedisStreamsAdapter` takes by name; see `StreamsOptions`."""

    stream_name: str
    stream_count: int
    max_len: int
    read_count: int
    channel_prefix: str
    use_sharded_pub_sub: bool
    session_key_prefix: str
    requests_timeout: float
    queue_limit: int
    queue_bytes: int
    max_message: int
    timeout: float


class RedisKeywords(LinkKeywords, total=False):
    """What `RedisAdapter` takes by name; see `RedisOptions`."""

    publish_on_specific_response_channel: bool
    routing: Literal["room", "pattern"]


class ShardedKeywords(LinkKeywords, total=False):
    """What `ShardedRedisAdapter` takes by name; see `ShardedOptions`."""

    subscription_mode: Literal["static", "dynamic", "dynamic-private"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """What is the same for all ways of using Redis.

    Attributes:
        requests_timeout: seconds for which the answers of other servers are awaited. Default 5.
        queue_limit: messages that may wait while Redis is slow or away. Default 100 000.
        queue_bytes: bytes that they may have. Default 64 MiB.
        max_message: bytes that one message between servers may have. Default 16 MiB.
        timeout: seconds in which Redis must answer; then the connection is made anew. Default 5.
    """

    requests_timeout: float = 5.0
    queue_limit: int = 100_000
    queue_bytes: int = 67_108_864
    max_message: int = 16_777_216
    timeout: float = 5.0

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range.
        """
        require_positive(self, "requests_timeout", "queue_limit", "queue_bytes", "max_message", "timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions(QueueOptions):
    """What is the same for all ways of using pub/sub.

    Attributes:
        key: what the names of all channels begin with; the same on all servers. Default ``"socket.io"``, as in Node.
    """

    key: str = "socket.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions(LinkOptions):
    """The options of a cluster over Redis pub/sub.

    Attributes:
        publish_on_specific_response_channel: whether answers go to the server that has asked alone. Default False, as
            in Node: servers older than its version 8 would not hear them.
        routing: ``"room"``: a server subscribes to the rooms that have members here; ``"pattern"``: to all, as Node
            does, and drops what is for others by the channel's name. Default ``"room"``.
    """

    publish_on_specific_response_channel: bool = False
    routing: Literal["room", "pattern"] = "room"

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range.
        """
        LinkOptions.__post_init__(self)
        _one_of(self.routing, "routing", RedisKeywords)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardedOptions(LinkOptions):
    """The options of a cluster over sharded Redis pub/sub.

    Attributes:
        subscription_mode: which channels there are; the same on all servers, as it says where messages go.
            ``"dynamic"``: one for each room but those of single sockets; ``"dynamic-private"``: for these as well;
            ``"static"``: for no room. Default ``"dynamic"``, as in Node.
    """

    subscription_mode: Literal["static", "dynamic", "dynamic-private"] = "dynamic"

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range.
        """
        LinkOptions.__post_init__(self)
        _one_of(self.subscription_mode, "subscription_mode", ShardedKeywords)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamsOptions(QueueOptions):
    """The options of a cluster over Redis streams, with the names that Node's adapter has for them.

    Attributes:
        stream_name: the stream, or what the names of all streams begin with; the same on all servers. Default
            ``"socket.io"``.
        stream_count: over how many streams the namespaces are spread; the same on all servers. Default 1.
        max_len: entries that a stream holds, roughly; the oldest make room. Default 10 000.
        read_count: entries that are read at once. Default 100.
        channel_prefix: what the names of the channels begin with; the same on all servers. Default ``"socket.io"``.
        use_sharded_pub_sub: whether the channels are those of sharded pub/sub; the same on all servers. Default False.
        session_key_prefix: what the keys of sessions begin with that may be recovered. Default ``"sio:session:"``.
    """

    stream_name: str = "socket.io"
    stream_count: int = 1
    max_len: int = 10_000
    read_count: int = 100
    channel_prefix: str = "socket.io"
    use_sharded_pub_sub: bool = False
    session_key_prefix: str = "sio:session:"

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            OptionError: a value is out of range.
        """
        QueueOptions.__post_init__(self)
        for name in ("stream_count", "max_len", "read_count"):
            require_positive(self, name)
            if not isinstance(getattr(self, name), int):
                raise OptionError(f"{name} must be a whole number")
        for name in ("stream_name", "channel_prefix", "session_key_prefix"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise OptionError(f"{name} must be a text that is not empty")


def _one_of(value: str, name: str, keywords: type) -> None:
    allowed = get_args(get_type_hints(keywords)[name])
    if value not in allowed:
        raise OptionError(f"{name} is one of {', '.join(map(repr, allowed))}, not {value!r}")


Chosen = TypeVar("Chosen", bound=QueueOptions)


def options_from(url: str, given: Mapping[str, Any], kind: type[Chosen]) -> tuple[str, Chosen]:
    """The URL for `RedisConnector`, and our options, which may stand in the URL's query; `given` goes before that.

    Raises:
        OptionError: an unknown option, or a value out of range.
    """
    plain, query = split_url(url)
    rest, options = settings_in(query.items(), given, kind)
    return f"{plain}?{rest}" if rest else plain, options
