"""The message of Node's cluster adapter, ``{type, data, uid, nsp}``: for sharded Redis, streams, PostgreSQL, NATS.

It is JSON, or MessagePack if it holds bytes; the first byte tells. An event that clients are to get stays the JSON that
its sender has made of it: nobody between sender and client takes it apart, unless it holds bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from ..errors import PacketError
from ..protocol.encoded import Encoded
from ..protocol.parser import BINARY_EVENT, EVENT, RESERVED_EVENTS
from ..protocol.plain import whole
from ..protocol.values import JsonEncoder, loads
from .adapter import AdapterContext, BroadcastOptions
from .messages import ClusterMessage, Kind, SocketFacts
from .wire import (
    EMITTER,
    MOST_CLIENTS,
    WireOptions,
    WireRoom,
    as_event,
    as_rooms,
    checked,
    flags_facts,
    options_facts,
    pack,
    with_options,
)

ROOMS: Final = "rooms"
"""What a FETCH_SOCKETS of ours has as `only` if rooms are wanted: Node's servers, which know no question for them,
answer with their sockets, and ours with rooms alone."""

_RESERVED: Final = frozenset(b'"%b"' % name.encode() for name in RESERVED_EVENTS)

TYPES: Final = {kind: int(kind) for kind in Kind if kind <= Kind.ADAPTER_CLOSE} | {
    Kind.ALL_ROOMS: int(Kind.FETCH_SOCKETS),
    Kind.ALL_ROOMS_RESPONSE: int(Kind.FETCH_SOCKETS_RESPONSE),
}
"""The numbers of the kinds that exist on this wire."""


class ClusterPayload(NamedTuple):
    """A message without its envelope.

    Attributes:
        type: its number.
        data: JSON if it begins as an object of it does, else MessagePack.
    """

    type: int
    data: bytes

    @property
    def binary(self) -> bool:
        """Whether it is MessagePack."""
        return not self.data.startswith(b"{")


class ClusterEncoder:
    """Encodes what one server says in one namespace.

    Args:
        uid: the server's name.
        namespace: the namespace.
        json_default: the server's option of this name.
    """

    __slots__ = ("_json", "_json_tail", "_packed_tail", "_packet")

    def __init__(self, uid: str, namespace: str, json_default: Callable[[Any], Any] | None = None) -> None:
        self._json = JsonEncoder(json_default)
        # only an emitter's packets name their namespace
        self._packet: dict[str, Any] = {"nsp": namespace} if uid == EMITTER else {}
        self._json_tail = b',"uid":%b,"nsp":%b}' % (self._json.encode(uid), self._json.encode(namespace))
        self._packed_tail = pack("uid") + pack(uid) + pack("nsp") + pack(namespace)

    @property
    def own(self) -> tuple[bytes, bytes]:
        """What the bytes of this server's own messages end with: those in JSON, and those in MessagePack."""
        return self._json_tail, self._packed_tail

    def broadcast(self, context: AdapterContext, encoded: Encoded, options: BroadcastOptions) -> ClusterPayload:
        """An event for clients that wants no answer."""
        array = context.array_of(encoded)
        if array is None:
            message = ClusterMessage(kind=Kind.BROADCAST, args=context.values_of(encoded), options=options)
            message.compress = encoded.compress
            return self.payload(message)
        if encoded.compress and not options.rooms and not options.except_ and not options.volatile:
            whom = b'{"rooms":[],"except":[],"flags":{}}'
        else:
            message = ClusterMessage(kind=Kind.BROADCAST, options=options, compress=encoded.compress)
            whom = self._json.encode(options_facts(options) | {"flags": flags_facts(message)})
        return ClusterPayload(EVENT_TYPE, b'{"packet":{"type":2,"data":%b},"opts":%b}' % (array, whom))

    def payload(self, message: ClusterMessage) -> ClusterPayload:
        """Any message.

        Raises:
            EncodeError: it holds what cannot be sent.
        """
        text = self._json.encode(self._data(message))
        attachments = self._json.take_attachments()
        if attachments:
            text = pack(whole([loads(text)], attachments)[0])
        return ClusterPayload(TYPES[message.kind], text)

    def envelope(self, payload: ClusterPayload) -> bytes:
        """The whole message."""
        if payload.binary:
            return b"".join((_PACKED_HEAD, pack(payload.type), _PACKED_DATA, payload.data, self._packed_tail))
        return b'{"type":%d,"data":%b%b' % (payload.type, payload.data, self._json_tail)

    def _data(self, message: ClusterMessage) -> dict[str, Any]:
        asked = {"requestId": message.request} if message.request is not None else {}
        whom = {"opts": options_facts(message.options) | {"flags": flags_facts(message)}}
        match message.kind:
            case Kind.BROADCAST:
                return {"packet": {"type": EVENT, "data": message.args, **self._packet}, **asked, **whom}
            case Kind.SOCKETS_JOIN | Kind.SOCKETS_LEAVE:
                return {**whom, "rooms": list(message.rooms)}
            case Kind.DISCONNECT_SOCKETS:
                return {**whom, "close": message.close}
            case Kind.FETCH_SOCKETS:
                return {**whom, **asked}
            case Kind.ALL_ROOMS:
                return {**whom, **asked, "only": ROOMS}
            case Kind.SERVER_SIDE_EMIT:
                return {**asked, "packet": message.args}
            case _:
                return {**asked, **self._answer(message)}

    @staticmethod
    def _answer(message: ClusterMessage) -> dict[str, Any]:
        match message.kind:
            case Kind.FETCH_SOCKETS_RESPONSE:
                return {"sockets": [msgspec.structs.asdict(socket) for socket in message.sockets]}
            case Kind.ALL_ROOMS_RESPONSE:
                return {"sockets": [], "rooms": list(message.rooms)}
            case Kind.BROADCAST_CLIENT_COUNT:
                return {"clientCount": message.count}
            case Kind.SERVER_SIDE_EMIT_RESPONSE | Kind.BROADCAST_ACK:
                return {"packet": message.value}
            case _:
                return {}


EVENT_TYPE: Final = int(Kind.BROADCAST)
_PACKED_HEAD: Final = b"\x84" + pack("type")
_PACKED_DATA: Final = pack("data")

# ------------------------------------------------------------------------------------------------------------ incoming


class _Message(msgspec.Struct):
    type: int
    uid: str
    data: msgspec.Raw = msgspec.Raw(b"")
    nsp: str | None = None


class _Packet(msgspec.Struct):
    data: msgspec.Raw
    type: int = EVENT
    nsp: str | None = None


class _Broadcast(msgspec.Struct, rename="camel"):
    packet: _Packet
    opts: WireOptions
    request_id: str | None = None


class _Command(msgspec.Struct):
    opts: WireOptions
    rooms: list[WireRoom] = []
    close: bool | None = None


class _Fetch(msgspec.Struct, rename="camel"):
    request_id: str
    opts: WireOptions
    only: str | None = None


class _Fetched(msgspec.Struct, rename="camel"):
    request_id: str
    sockets: list[SocketFacts]
    rooms: list[WireRoom] | None = None


class _ServerSide(msgspec.Struct, rename="camel"):
    packet: list[Any]
    request_id: str | None = None


class _Answer(msgspec.Struct, rename="camel"):
    request_id: str
    packet: Any = None


class _Count(msgspec.Struct, rename="camel"):
    request_id: str
    client_count: int


class _Json:
    """Decodes JSON; what only JavaScript writes goes the longer way."""

    @staticmethod
    def decode(data: Any, kind: type[Any]) -> Any:
        try:
            return _JSON[kind](data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return checked(lambda text: msgspec.convert(loads(bytes(text)), kind), data)

    @staticmethod
    def event(message: ClusterMessage, array: Any) -> None:
        """Name and arguments stay as they are, once it is clear that clients can be given them."""
        parts: list[Any] = checked(_raws, array)
        if not parts or bytes(parts[0]) in _RESERVED or bytes(parts[0])[:1] not in b'"-0123456789':
            raise PacketError("a packet without a name that events may have")
        message.array = bytes(array)
        checked(bytes.decode, message.array)


class _Packed:
    """Decodes MessagePack."""

    @staticmethod
    def decode(data: Any, kind: type[Any]) -> Any:
        return checked(_PACKED[kind], data)

    @staticmethod
    def event(message: ClusterMessage, array: Any) -> None:
        """Bytes are in their places."""
        message.args = as_event(checked(_list, array))


_KINDS: Final[tuple[type[Any], ...]] = (_Message, _Broadcast, _Command, _Fetch, _Fetched, _ServerSide, _Answer, _Count)
_JSON: Final = {kind: msgspec.json.Decoder(kind).decode for kind in _KINDS}
_PACKED: Final = {kind: msgspec.msgpack.Decoder(kind).decode for kind in _KINDS}
_raws: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_list: Final = msgspec.msgpack.Decoder(list[Any]).decode

_Reader = type[_Json] | type[_Packed]


def _broadcast(message: ClusterMessage, namespace: str, reader: _Reader, data: Any) -> None:
    content: _Broadcast = reader.decode(data, _Broadcast)
    packet = content.packet
    if packet.type not in (EVENT, BINARY_EVENT) or packet.nsp not in (None, namespace):
        raise PacketError("a packet for another namespace, or no event")
    reader.event(message, packet.data)
    message.request = content.request_id
    with_options(message, content.opts)


def _command(message: ClusterMessage, _: str, reader: _Reader, data: Any) -> None:
    content: _Command = reader.decode(data, _Command)
    with_options(message, content.opts)
    message.rooms = tuple(as_rooms(content.rooms))
    message.close = bool(content.close)


def _fetch(message: ClusterMessage, _: str, reader: _Reader, data: Any) -> None:
    content: _Fetch = reader.decode(data, _Fetch)
    with_options(message, content.opts)
    message.request = content.request_id
    if content.only == ROOMS:
        message.kind = Kind.ALL_ROOMS


def _fetched(message: ClusterMessage, _: str, reader: _Reader, data: Any) -> None:
    content: _Fetched = reader.decode(data, _Fetched)
    message.request, message.sockets = content.request_id, content.sockets
    if content.rooms is not None:
        message.kind, message.rooms = Kind.ALL_ROOMS_RESPONSE, tuple(as_rooms(content.rooms))


def _server_side(message: ClusterMessage, _: str, reader: _Reader, data: Any) -> None:
    content: _ServerSide = reader.decode(data, _ServerSide)
    if not content.packet or not isinstance(content.packet[0], str):
        raise PacketError("an event between servers without a name")
    message.args, message.request = content.packet, content.request_id


def _answer(message: ClusterMessage, _: str, reader: _Reader, data: Any) -> None:
    content: _Answer = reader.decode(data, _Answer)
    message.request, message.value = content.request_id, content.packet


def _count(message: ClusterMessage, _: str, reader: _Reader, data: Any) -> None:
    content: _Count = reader.decode(data, _Count)
    if not 0 <= content.client_count <= MOST_CLIENTS:
        raise PacketError("more clients than a server can have")
    message.request, message.count = content.request_id, content.client_count


def _bare(message: ClusterMessage, namespace: str, reader: _Reader, data: Any) -> None:
    """A heartbeat says nothing but who lives."""


_READ: Final[dict[int, Callable[[ClusterMessage, str, _Reader, Any], None]]] = {
    Kind.INITIAL_HEARTBEAT: _bare,
    Kind.HEARTBEAT: _bare,
    Kind.BROADCAST: _broadcast,
    Kind.SOCKETS_JOIN: _command,
    Kind.SOCKETS_LEAVE: _command,
    Kind.DISCONNECT_SOCKETS: _command,
    Kind.FETCH_SOCKETS: _fetch,
    Kind.FETCH_SOCKETS_RESPONSE: _fetched,
    Kind.SERVER_SIDE_EMIT: _server_side,
    Kind.SERVER_SIDE_EMIT_RESPONSE: _answer,
    Kind.BROADCAST_CLIENT_COUNT: _count,
    Kind.BROADCAST_ACK: _answer,
    Kind.ADAPTER_CLOSE: _bare,
}


def decode_payload(uid: str, number: int, data: Any, namespace: str, binary: bool) -> ClusterMessage | None:
    """A message from its parts; None if it is of a kind that is not known here.

    Args:
        uid: who has sent it.
        number: its type.
        data: JSON, or MessagePack if it is `binary`.
        namespace: the namespace that it came for.
        binary: see `data`.

    Raises:
        PacketError: it is none.
    """
    read = _READ.get(number)
    if read is None:
        return None
    message = ClusterMessage(kind=Kind(number), uid=uid)
    read(message, namespace, _Packed if binary else _Json, data)
    return message


def decode_message(payload: bytes, namespace: str) -> ClusterMessage | None:
    """A message; None if it is of a kind that is not known here, or for another namespace.

    Args:
        payload: its bytes.
        namespace: the namespace that it came for; counts as its own if it names none.

    Raises:
        PacketError: it is none.
    """
    binary = not payload.startswith(b"{")
    reader: _Reader = _Packed if binary else _Json
    message: _Message = reader.decode(payload, _Message)
    if message.nsp not in (None, namespace):
        return None
    return decode_payload(message.uid, message.type, message.data, namespace, binary)


__all__ = [
    "EMITTER",
    "TYPES",
    "ClusterEncoder",
    "ClusterPayload",
    "decode_message",
    "decode_payload",
]
