"""Python values as the JSON that JavaScript writes, and JSON as Python values.

Encoding finds bytes while it goes: each one becomes an attachment and leaves a placeholder (protocol v5, "Sending and
receiving binary data"). Decoding is strict JSON, but takes all that `JSON.stringify` can produce.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any, Final, cast
from uuid import UUID

import msgspec
import orjson

from ..errors import EncodeError, PacketError

OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATETIME
_NATIVE: Final = (bytes, bytearray, memoryview, datetime, date, time, UUID, Decimal, Enum)
_MAX_DEPTH: Final = 1000
_decode: Final = msgspec.json.Decoder().decode


def javascript_date(value: datetime) -> str:
    """`value` as ``Date.prototype.toJSON`` writes it: UTC, milliseconds, ``Z``. A naive value is local time."""
    try:
        return value.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    except (OverflowError, OSError):  # the first and last hours of the calendar, with an offset
        return value.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


class JsonEncoder:
    """Encodes values; bytes-like ones are set aside as attachments.

    Args:
        default: called for a value of a type not known here; returns one that is, or raises TypeError.
    """

    __slots__ = ("_default", "attachments")

    def __init__(self, default: Callable[[Any], Any] | None = None) -> None:
        self._default = default
        self.attachments: list[bytes] = []

    def encode(self, value: Any) -> bytes:
        """Encode `value` as compact JSON text; what it holds of bytes is in `attachments` afterwards.

        Raises:
            EncodeError: a value of unknown type, or one that holds itself.
        """
        try:
            return orjson.dumps(value, self.replace, OPTIONS)
        except orjson.JSONEncodeError as error:
            return self.encode_slowly(value, error)

    def take_attachments(self) -> tuple[bytes, ...]:
        """The attachments of the last `encode`, which are forgotten by this call."""
        attachments = tuple(self.attachments)
        self.attachments.clear()
        return attachments

    def replace(self, value: Any) -> Any:
        """A value that orjson does not know as one that it knows; bytes become a placeholder."""
        if isinstance(value, bytes | bytearray | memoryview):
            self.attachments.append(bytes(cast("bytes", value)))
            return {"_placeholder": True, "num": len(self.attachments) - 1}
        if isinstance(value, datetime):
            return javascript_date(value)
        if isinstance(value, date | time):
            return value.isoformat()
        if isinstance(value, Decimal):
            return str(value)
        if isinstance(value, msgspec.Struct):
            return msgspec.to_builtins(value, builtin_types=_NATIVE, str_keys=False)
        return self._replace_by_shape(value)

    def _replace_by_shape(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        if isinstance(value, Sequence | Set) and not isinstance(value, str):
            return list(cast("Sequence[Any]", value))
        if isinstance(value, timedelta):
            return value.total_seconds()
        for name in ("__json__", "model_dump", "tolist"):  # own form, pydantic, numpy
            method = getattr(value, name, None)
            if callable(method) and not isinstance(value, type):
                return method()
        if self._default is not None:
            return self._default(value)
        raise TypeError(f"no JSON form for {type(value).__name__}")

    def encode_slowly(self, value: Any, error: Exception) -> bytes:
        """The few values that orjson refuses and JavaScript's JSON can carry.

        Lone surrogates, integers beyond 64 bits and keys that are not strings take this way.
        """
        self.attachments.clear()
        try:
            return json.dumps(self._plain(value), separators=(",", ":"), allow_nan=False).encode()
        except BaseException as slow_error:  # whatever the value's own methods raise
            self.attachments.clear()
            if isinstance(slow_error, KeyboardInterrupt | SystemExit):
                raise
            raise EncodeError(f"cannot be sent: {slow_error!r}") from (error.__cause__ or slow_error)

    def plain(self, value: Any) -> Any:
        """`value` in new lists and dicts of strings, numbers, booleans, None, and what `replace` makes of bytes.

        Raises:
            EncodeError: a value of unknown type, or one that holds itself.
        """
        try:
            return self._plain(value)
        except BaseException as error:  # whatever the value's own methods raise
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise EncodeError(f"cannot be sent: {error!r}") from error

    def _plain(self, value: Any) -> Any:
        """`value` in plain lists, dicts and scalars; without recursion, so that depth is no danger here."""
        root: list[Any] = [value]
        todo: list[tuple[Any, Any, Any, int]] = [(root, 0, value, 0)]
        while todo:
            container, key, item, depth = todo.pop()
            if depth > _MAX_DEPTH:
                raise ValueError("it is nested too deeply, or holds itself")
            plain = self._scalar_or_container(item)
            container[key] = plain
            if isinstance(plain, dict):
                todo += [(plain, name, part, depth + 1) for name, part in cast("dict[str, Any]", plain).items()]
            elif isinstance(plain, list):
                todo += [(plain, index, part, depth + 1) for index, part in enumerate(plain)]  # pyright: ignore
        return root[0]

    def _scalar_or_container(self, value: Any) -> Any:
        """`value` as a scalar, or as a new list or dict whose parts are still as they were."""
        while not isinstance(value, bool | NoneType):
            if isinstance(value, Enum):
                value = value.value
            elif isinstance(value, str | int | float | UUID):
                return _scalar(value)
            elif isinstance(value, dict):
                return {property_name(key): part for key, part in cast("dict[Any, Any]", value).items()}  # type: ignore[redundant-cast]
            elif isinstance(value, list | tuple):
                return list(cast("list[Any]", value))
            elif dataclasses.is_dataclass(value) and not isinstance(value, type):
                return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            elif isinstance(value, bytes | bytearray | memoryview):
                return self.replace(value)
            else:
                value = self.replace(value)
        return value


def _scalar(value: str | int | float | UUID) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None  # NaN and infinities are null, as in JSON.stringify
    return int(value) if isinstance(value, int) else str(value)


def property_name(key: Any) -> str:
    """A dictionary's key as a JavaScript property name.

    Raises:
        TypeError: a key of unknown type.
    """
    if isinstance(key, Enum):
        return property_name(key.value)
    if key is None or isinstance(key, bool):
        return json.dumps(key)
    if isinstance(key, datetime):
        return javascript_date(key)
    if isinstance(key, str | int | float | UUID | Decimal | date):
        return str(key)
    raise TypeError(f"no JSON form for a key of type {type(key).__name__}")


def within_javascript(value: Any) -> Any:
    """What JSON can carry and MessagePack cannot, as JavaScript would read it: large numbers, lone surrogates."""
    if isinstance(value, list):
        return [within_javascript(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        parts: Any = value.items()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return {within_javascript(key): within_javascript(item) for key, item in parts}
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value) if abs(value) < 2**1023 else None
    return value


def loads(text: bytes) -> Any:
    """Decode JSON text.

    Raises:
        PacketError: it is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        return _decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _loads_slowly(text)


def _loads_slowly(text: bytes) -> Any:
    """What JavaScript writes and msgspec refuses: lone surrogates, and numbers beyond a double (they read as inf)."""
    try:
        return json.loads(text.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise PacketError("invalid payload: nested too deeply") from None
    except ValueError as error:
        raise PacketError(f"invalid payload: {error}") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
