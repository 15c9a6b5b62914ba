"""The default parser's packets with JSON functions of the program's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from ..errors import EncodeError, OptionError, PacketError
from .encoded import Encoded
from .parser import ACK, CONNECT, CONNECT_ERROR, EVENT, Packet, is_valid
from .socketio import DefaultParser

Dumps = Callable[[Any], str | bytes]
Loads = Callable[[str], Any]


class JsonParser(DefaultParser):
    """The parser that every client speaks, with JSON functions of your own in place of madang's.

    They serve whom this parser is given to, a server or a client, and nobody else. Handlers get what `loads` has made,
    and annotations are checked against that. It is slower than the default parser, which makes no value that no handler
    asks for.

    Args:
        dumps: from a value to JSON, as text or UTF-8. Dicts, lists and tuples reach it with placeholders where bytes
            were; all else is its own business. Default: madang's, see `values`.
        loads: from JSON text to a value; arrays must become lists, and objects dicts. Default: madang's.
        max_attachments: how many attachments a received packet may announce; the option of this name is for the default
            parser alone.

    Raises:
        OptionError: something that cannot be called.
    """

    __slots__ = ("_dumps", "_loads")

    def __init__(self, dumps: Dumps | None = None, loads: Loads | None = None, max_attachments: int = 10) -> None:
        for name, function in (("dumps", dumps), ("loads", loads)):
            if function is not None and not callable(function):
                raise OptionError(f"JsonParser: {name} must be callable, not {function!r}")
        super().__init__(max_attachments)
        self.ack_encoder = None
        self._dumps = dumps
        self._loads = loads

    def copy(self) -> JsonParser:
        """See `DefaultParser.copy`."""
        return JsonParser(self._dumps, self._loads, self.max_attachments)

    # out

    def encode_event(
        self, namespace: str, args: Sequence[Any], ack_id: int | None = None, compress: bool = True
    ) -> Encoded:
        """An EVENT packet, or a BINARY_EVENT with its attachments; see `Parser.encode_event`.

        Raises:
            EncodeError: `dumps` has raised, or given no text.
        """
        if self._dumps is None:
            return super().encode_event(namespace, args, ack_id, compress)
        return self._joined(EVENT, namespace, ack_id, list(args), compress)

    def encode_ack(self, namespace: str, args: Sequence[Any], ack_id: int) -> Encoded:
        """An ACK packet, or a BINARY_ACK with its attachments; see `encode_event`."""
        if self._dumps is None:
            return super().encode_ack(namespace, args, ack_id)
        return self._joined(ACK, namespace, ack_id, list(args), True)

    def encode_control(self, packet_type: int, namespace: str, data: Any = None) -> Encoded:
        """A CONNECT, DISCONNECT or CONNECT_ERROR packet; see `encode_event`."""
        if self._dumps is None or data is None:
            return super().encode_control(packet_type, namespace, data)
        encoded = self._joined(packet_type, namespace, None, data, True)
        if encoded.attachments:
            raise EncodeError("bytes cannot be part of a CONNECT or CONNECT_ERROR packet")
        return encoded

    def _text(self, value: Any) -> bytes:
        assert self._dumps is not None
        try:
            text: Any = self._dumps(value)
        except EncodeError:
            raise
        except Exception as error:
            raise EncodeError(f"cannot be sent: the parser's dumps has raised {error!r}") from error
        try:
            made: bytes = text.encode() if isinstance(text, str) else bytes(memoryview(text))
        except (TypeError, UnicodeEncodeError) as error:
            raise EncodeError(f"cannot be sent: the parser's dumps has given no JSON text, but {text!r:.80}") from error
        return made

    def _joined(self, kind: int, namespace: str, ack_id: int | None, data: Any, compress: bool) -> Encoded:
        attachments: list[bytes] = []
        try:
            plain = _without_bytes(data, attachments)
        except RecursionError:
            raise EncodeError("cannot be sent: it is nested too deeply, or holds itself") from None
        text = self._text(plain)
        return Encoded(self.head(kind, namespace, ack_id, len(attachments)) + text, tuple(attachments), compress)

    # in

    def decode(self, text: bytes) -> Packet:
        """Read a packet whole, since handlers must not read its JSON by themselves; see `Parser.decode`."""
        packet = super().decode(text)
        if self._loads is None:
            return packet
        payload, packet.payload = packet.payload, b""
        if not payload:
            return packet
        try:
            packet.args = self._loads(payload.decode())
        except PacketError:
            raise
        except Exception as error:
            raise PacketError(f"invalid payload: the parser's loads has raised {error!r:.200}") from error
        if packet.args is None and packet.type in (CONNECT, CONNECT_ERROR):
            raise PacketError("invalid payload")  # what says null is not what says nothing
        return packet

    def decode_args(self, packet: Packet) -> Any:
        """See `Parser.decode_args`."""
        if self._loads is None:
            return super().decode_args(packet)
        if not is_valid(packet.type, packet.args, packet.args is not None):
            raise PacketError("invalid payload")
        return packet.args


def _without_bytes(value: Any, attachments: list[bytes]) -> Any:
    """A value with placeholders for the bytes in it."""
    if isinstance(value, bytes | bytearray | memoryview):
        attachments.append(bytes(cast("Any", value)))
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, dict):
        return {key: _without_bytes(one, attachments) for key, one in cast("Any", value).items()}
    if isinstance(value, list | tuple):
        return [_without_bytes(one, attachments) for one in cast("list[Any]", value)]
    return value
