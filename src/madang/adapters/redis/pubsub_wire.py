"""What goes over Redis, byte for byte as `@socket.io/redis-adapter` and `@socket.io/redis-emitter` have it.

A broadcast is MessagePack, ``[uid, {type, data, nsp}, {rooms, except, flags}]``, on ``<key>#<nsp>#`` or, if it is for
one room, on ``<key>#<nsp>#<room>#``. A request is JSON on ``<key>-request#<nsp>#``, or MessagePack if it holds a
packet; an answer goes to ``<key>-response#<nsp>#``, or that and ``<uid>#``. What other servers sent is checked here:
nothing but `PacketError` is raised for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ...errors import PacketError
from ...protocol.parser import BINARY_EVENT, EVENT
from ...protocol.values import JsonEncoder
from ...types import Room
from ..adapter import BroadcastOptions
from ..messages import ClusterMessage, Kind, SocketFacts
from ..wire import (
    EMITTER,
    MOST_CLIENTS,
    UNREADABLE,
    WireFlags,
    WireOptions,
    WireRoom,
    as_event,
    as_rooms,
    checked,
    decode_either,
    flags_facts,
    options_facts,
    pack,
    unreadable,
    with_options,
)


class _Packet(msgspec.Struct, gc=False):
    data: list[Any]
    type: int = EVENT
    nsp: str = "/"


class _Request(msgspec.Struct, rename="camel"):
    type: int
    uid: str | None = None
    request_id: str | None = None
    opts: WireOptions | None = None
    rooms: list[WireRoom] | None = None
    sid: str | None = None
    room: WireRoom = None
    close: bool | None = None
    data: list[Any] | None = None
    packet: _Packet | None = None


class _Response(msgspec.Struct, rename="camel"):
    request_id: str
    type: int | None = None
    uid: str | None = None
    sockets: list[Any] | None = None
    rooms: list[WireRoom] | None = None
    client_count: int = 0
    data: Any = None
    packet: Any = None


_decode_broadcast: Final = msgspec.msgpack.Decoder(tuple[str, _Packet, WireOptions]).decode
_request: Final = msgspec.msgpack.Decoder(_Request)
_json_request: Final = msgspec.json.Decoder(_Request)
_response: Final = msgspec.msgpack.Decoder(_Response)
_json_response: Final = msgspec.json.Decoder(_Response)

_REQUESTS: Final = {
    0: Kind.SOCKET_IDS,
    1: Kind.ALL_ROOMS,
    2: Kind.SOCKETS_JOIN,
    3: Kind.SOCKETS_LEAVE,
    4: Kind.DISCONNECT_SOCKETS,
    5: Kind.FETCH_SOCKETS,
    6: Kind.SERVER_SIDE_EMIT,
    7: Kind.BROADCAST,
}
_TYPES: Final = {kind: number for number, kind in _REQUESTS.items()}
_COUNT, _ACK = 8, 9

KEPT: Final = 4096
"""Rooms whose names are kept as they travel; few have messages at a time."""

_ONE_ROOM: Final = b"\x83" + pack("rooms") + b"\x91"
_NO_ROOM: Final = b"\x83" + pack("rooms") + b"\x90"
_NO_FLAGS: Final = WireFlags()
_NO_MORE: Final = pack("except") + b"\x90" + pack("flags") + b"\x80"


class Channels:
    """The names of the channels of one namespace."""

    __slots__ = ("broadcast", "request", "response")

    def __init__(self, key: str, namespace: str) -> None:
        self.broadcast = f"{key}#{namespace}#".encode()
        self.request = f"{key}-request#{namespace}#".encode()
        self.response = f"{key}-response#{namespace}#".encode()

    def room(self, room: Any) -> bytes:
        """Where a broadcast for this room alone goes."""
        name = int(room) if isinstance(room, float) and room.is_integer() else room
        return b"%b%b#" % (self.broadcast, str(name).encode(errors="replace"))

    def answers_to(self, uid: str) -> bytes:
        """Where only one server listens."""
        return b"%b%b#" % (self.response, uid.encode())

    def for_options(self, options: BroadcastOptions) -> bytes:
        """Where a broadcast goes."""
        if len(options.rooms) != 1:
            return self.broadcast
        (room,) = options.rooms
        return self.room(room)


# ------------------------------------------------------------------------------------------------------------ outgoing


def encode_broadcast(namespace: str, message: ClusterMessage) -> bytes:
    """A broadcast without acks."""
    packet = {"type": EVENT, "data": message.args, "nsp": namespace}
    options, flags = options_facts(message.options), flags_facts(message)
    if message.uid == EMITTER:  # which has its keys in another order
        return pack([EMITTER, packet, {"rooms": options["rooms"], "flags": flags, "except": options["except"]}])
    return pack([message.uid, packet, {**options, "flags": flags}])


def encode_request(namespace: str, message: ClusterMessage, json: JsonEncoder) -> bytes:
    """Any other message to all servers."""
    facts: dict[str, Any] = {}
    if message.uid != EMITTER or message.kind is Kind.SERVER_SIDE_EMIT:
        facts["uid"] = message.uid
    if message.request is not None:
        facts["requestId"] = message.request
    facts["type"] = _TYPES[message.kind]
    match message.kind:
        case Kind.BROADCAST:
            facts["packet"] = {"type": EVENT, "data": message.args, "nsp": namespace}
            facts["opts"] = {**options_facts(message.options), "flags": flags_facts(message)}
            return pack(facts)
        case Kind.SERVER_SIDE_EMIT:
            facts["data"] = message.args
        case Kind.DISCONNECT_SOCKETS:
            facts |= {"opts": options_facts(message.options), "close": message.close}
        case Kind.SOCKETS_JOIN | Kind.SOCKETS_LEAVE:
            facts |= {"opts": options_facts(message.options), "rooms": list(message.rooms)}
        case Kind.FETCH_SOCKETS:
            facts["opts"] = options_facts(message.options)
        case _:
            pass
    return json.encode(facts)


def encode_answer(message: ClusterMessage, json: JsonEncoder) -> bytes:
    """An answer. It has the name of who answers, which Node's have not, and Node does not mind."""
    facts: dict[str, Any] = {}
    match message.kind:
        case Kind.FETCH_SOCKETS_RESPONSE:
            facts["sockets"] = [msgspec.structs.asdict(socket) for socket in message.sockets]
        case Kind.SOCKET_IDS_RESPONSE:
            facts["sockets"] = list(message.rooms)
        case Kind.ALL_ROOMS_RESPONSE:
            facts["rooms"] = list(message.rooms)
        case Kind.SERVER_SIDE_EMIT_RESPONSE:
            head = {"type": _TYPES[Kind.SERVER_SIDE_EMIT], "requestId": message.request}
            return json.encode({**head, "data": message.value, "uid": message.uid})
        case Kind.BROADCAST_CLIENT_COUNT:
            head = {"type": _COUNT, "requestId": message.request}
            return json.encode({**head, "clientCount": message.count, "uid": message.uid})
        case Kind.BROADCAST_ACK:
            head = {"type": _ACK, "requestId": message.request}
            return pack({**head, "packet": message.value, "uid": message.uid})
        case _:
            pass
    return json.encode({"requestId": message.request, **facts, "uid": message.uid})


class BroadcastPacker:
    """Packs a server's broadcasts, of which little changes from one to the next.

    Args:
        uid: the server's name.
        namespace: the namespace.
        channels: its channels.
    """

    __slots__ = ("_channels", "_end", "_everyone", "_head", "_nsp", "_rooms", "_uid")

    def __init__(self, uid: str, namespace: str, channels: Channels) -> None:
        self._uid = uid
        self._nsp = namespace
        self._channels = channels
        self._head = b"\x93" + pack(uid) + b"\x83" + pack("type") + pack(EVENT) + pack("data")
        self._end = pack("nsp") + pack(namespace)
        self._everyone = channels.broadcast, b"".join((self._end, _NO_ROOM, _NO_MORE))
        self._rooms: dict[str, tuple[bytes, bytes]] = {}

    def pack(self, args: Sequence[Any], options: BroadcastOptions, compress: bool) -> tuple[bytes, bytes]:
        """A broadcast without acks: its channel, and the same bytes as those of `encode_broadcast`."""
        rooms = options.rooms
        if len(rooms) > 1 or options.except_ or options.volatile or not compress:
            message = ClusterMessage(
                kind=Kind.BROADCAST, uid=self._uid, args=list(args), options=options, compress=compress
            )
            return self._channels.for_options(options), encode_broadcast(self._nsp, message)
        if rooms:
            (room,) = rooms
            channel, tail = (self._rooms.get(room) if type(room) is str else None) or self._for_room(room)
        else:
            channel, tail = self._everyone
        return channel, b"".join((self._head, pack(args), tail))

    def _for_room(self, room: Room) -> tuple[bytes, bytes]:
        """The channel, and what follows the arguments, of what is for one room."""
        found = self._channels.room(room), b"".join((self._end, _ONE_ROOM, pack(room), _NO_MORE))
        if type(room) is str:
            if len(self._rooms) >= KEPT:
                self._rooms.clear()
            self._rooms[room] = found
        return found


# ------------------------------------------------------------------------------------------------------------ incoming


def _event(packet: _Packet, namespace: str) -> list[Any]:
    data = packet.data
    if packet.nsp != namespace or packet.type not in (EVENT, BINARY_EVENT):
        raise PacketError("a packet for another namespace, or no event")
    return as_event(data)


def decode_broadcast(payload: bytes, namespace: str) -> ClusterMessage:
    """A broadcast without acks.

    Raises:
        PacketError: it is none.
    """
    try:
        uid, packet, options = _decode_broadcast(payload)
    except UNREADABLE as error:
        raise unreadable(error) from None
    args, rooms = _event(packet, namespace), options.rooms
    if len(rooms) == 1 and type(rooms[0]) is str and not options.except_ and options.flags == _NO_FLAGS:
        one: Any = frozenset(rooms)  # as nearly always, so without detours
        return ClusterMessage(kind=Kind.BROADCAST, uid=uid, args=args, options=BroadcastOptions(one))
    return with_options(ClusterMessage(kind=Kind.BROADCAST, uid=uid, args=args), options)


def decode_request(payload: bytes, namespace: str) -> ClusterMessage | None:
    """Any other message to all servers; None if it is of a kind that is not known here.

    Raises:
        PacketError: it is none.
    """
    request = decode_either(payload, _json_request, _request)
    kind = _REQUESTS.get(request.type)
    if kind is None:
        return None
    message = ClusterMessage(kind=kind, uid=request.uid, request=request.request_id, close=bool(request.close))
    message.rooms = tuple(as_rooms(request.rooms or ()))
    if kind is Kind.SOCKET_IDS:  # the oldest of the forms, where `rooms` tells whom
        message.options = BroadcastOptions(frozenset(message.rooms))
    elif request.opts is not None:
        with_options(message, request.opts)
    elif kind in (Kind.SOCKETS_JOIN, Kind.SOCKETS_LEAVE, Kind.DISCONNECT_SOCKETS):
        _name_one(message, request)
    if kind is Kind.BROADCAST:
        if request.packet is None or request.opts is None or request.request_id is None:
            raise PacketError("a broadcast without a packet")
        message.args = _event(request.packet, namespace)
    elif kind is Kind.SERVER_SIDE_EMIT:
        if not request.data or not isinstance(request.data[0], str):
            raise PacketError("an event between servers without a name")
        message.args = request.data
    elif message.request is None and kind in (Kind.FETCH_SOCKETS, Kind.ALL_ROOMS, Kind.SOCKET_IDS):
        raise PacketError("a question that cannot be answered")
    return message


def _name_one(message: ClusterMessage, request: _Request) -> None:
    """The old forms name one socket, and one room."""
    if request.sid is None:
        raise PacketError("a command for nobody")
    message.options = BroadcastOptions(frozenset((request.sid,)))
    message.rooms = tuple(as_rooms((request.room,))) if request.room is not None else ()


def decode_answer(payload: bytes, namespace: str) -> ClusterMessage | None:
    """An answer; None if it is of a kind that is not known here.

    Raises:
        PacketError: it is none.
    """
    answer = decode_either(payload, _json_response, _response)
    message = ClusterMessage(kind=Kind.DONE, uid=answer.uid, request=answer.request_id)
    if answer.type == _COUNT:
        if not 0 <= answer.client_count <= MOST_CLIENTS:
            raise PacketError("more clients than a server can have")
        message.kind, message.count = Kind.BROADCAST_CLIENT_COUNT, answer.client_count
    elif answer.type == _ACK:
        message.kind, message.value = Kind.BROADCAST_ACK, answer.packet
    elif answer.type == _TYPES[Kind.SERVER_SIDE_EMIT]:
        message.kind, message.value = Kind.SERVER_SIDE_EMIT_RESPONSE, answer.data
    elif answer.sockets is not None:
        message.kind = Kind.FETCH_SOCKETS_RESPONSE
        message.sockets = checked(lambda _: msgspec.convert(answer.sockets, list[SocketFacts]), payload)
    elif answer.rooms is not None:
        message.kind, message.rooms = Kind.ALL_ROOMS_RESPONSE, tuple(as_rooms(answer.rooms))
    else:
        return None
    return message
