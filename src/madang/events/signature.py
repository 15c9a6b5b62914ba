"""What a handler takes: its signature, read once, made into a decoder for what clients send.

Arguments that need no check are decoded as they are. Annotated ones are decoded straight from JSON into their types by
msgspec, as one array-like struct for the whole event; what fails there is looked at again argument by argument, so that
the client is told which one is wrong and why. Arguments that may hold bytes, and pydantic models, are decoded first and
checked then.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final, cast

import msgspec
import msgspec.inspect

from ..errors import EventInvalid, HandlerError, PacketError
from ..protocol.values import loads
from .acks import Ack

_BINARY: Final = (bytes, bytearray, memoryview)
_decode: Final = msgspec.json.Decoder().decode
_astuple: Final = msgspec.structs.astuple
_PAYLOADS: Final = frozenset((str, int, float, bool, bytes, list, dict, tuple, set))
_CACHE_LIMIT: Final = 1024
_EXACT_LIMIT: Final = 8  # more arguments than that take the longer way
_cache: dict[Any, Signature] = {}


class Parameter:
    """One argument that a client sends."""

    __slots__ = ("adapter", "name", "type")

    def __init__(self, name: str, kind: Any) -> None:
        self.name = name
        self.type = kind
        self.adapter: Any = None

    def convert(self, value: Any) -> Any:
        """Check `value` and convert it to the parameter's type.

        Raises:
            EventInvalid: it does not fit.
        """
        if self.type is Any:
            return value
        try:
            if self.adapter is not None:
                return self._convert_by_pydantic(value)
            return msgspec.convert(value, self.type, builtin_types=_BINARY)
        except (msgspec.ValidationError, ValueError, RecursionError) as error:
            raise self._invalid(error) from None

    def _convert_by_pydantic(self, value: Any) -> Any:
        try:
            return self.adapter.validate_python(value)
        except ValueError as error:
            try:  # a strict model takes dates and the like from JSON only
                return self.adapter.validate_json(msgspec.json.encode(value))
            except (TypeError, ValueError, msgspec.MsgspecError):
                raise error from None

    def _invalid(self, error: Exception) -> EventInvalid:
        if self.adapter is not None and hasattr(error, "errors"):
            first = cast("Any", error).errors(include_url=False, include_context=False, include_input=False)[0]
            reason, path = str(first["msg"]), "".join(f".{part}" for part in first["loc"])
        else:
            reason, _, where = str(error).partition(" - at `$")
            path = where.removesuffix("`")
        at = f" at {self.name}{path}" if path else ""
        data = {"argument": self.name, "path": path, "reason": reason}
        return EventInvalid(f'invalid argument "{self.name}": {reason}{at}', data)


class Signature:
    """How to call a handler with what a client sent.

    Attributes:
        required: how many arguments must come.
        maximum: how many it takes; more are ignored, as in JavaScript. None for any number.
        ack_at: where the parameter for an `Ack` stands, or None.
        decode, whole, exact: see `Route`.
    """

    __slots__ = (
        "_decode",
        "_parameters",
        "_rest",
        "_typed",
        "ack_at",
        "decode",
        "exact",
        "maximum",
        "required",
        "whole",
    )

    def __init__(
        self, parameters: list[Parameter], required: int, rest: Parameter | None, ack_at: int | None, *, typed: bool
    ) -> None:
        self._parameters = parameters
        self._rest = rest
        self._typed = typed
        self.required = required
        self.maximum = None if rest is not None else len(parameters)
        self.ack_at = ack_at
        self._decode: Any = self._make_decoder() if typed and rest is None else None
        self.whole = self._decode is not None
        decode: Any = self._decode if self.whole else _decode
        self.decode: Callable[[bytes], Any] = decode
        is_exact = ack_at is None and rest is None and len(parameters) <= _EXACT_LIMIT and (self.whole or not typed)
        self.exact = len(parameters) if is_exact else -1

    def _make_decoder(self) -> Any:
        if any(parameter.adapter is not None or _may_hold_bytes(parameter.type) for parameter in self._parameters):
            return None
        fields: list[Any] = [("event", Any)]
        for index, parameter in enumerate(self._parameters):
            if index < self.required:
                fields.append((f"a{index}", parameter.type))
            else:
                kind = parameter.type if parameter.type is Any else parameter.type | msgspec.UnsetType
                fields.append((f"a{index}", kind, msgspec.UNSET))
        struct = msgspec.defstruct("Arguments", fields, array_like=True, gc=False)
        return msgspec.json.Decoder(struct).decode

    @property
    def bind(self) -> Callable[[bytes], Sequence[Any]]:
        """From an event's JSON text to the handler's arguments; see `bind_args` for what it raises."""
        return self._bind_plain if self._decode is None else self._bind_typed

    def _bind_plain(self, payload: bytes) -> Sequence[Any]:
        try:
            args: Any = _decode(payload)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            args = loads(payload)
        if type(args) is not list or not args:
            raise PacketError("invalid payload: an event is an array that begins with its name")
        values: list[Any] = args  # pyright: ignore[reportUnknownVariableType]
        del values[0]
        if len(values) == self.maximum and not self._typed:
            return values
        return self.bind_args(values)

    def _bind_typed(self, payload: bytes) -> Sequence[Any]:
        try:
            values = _astuple(self._decode(payload))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return self._bind_plain(payload)
        if values[-1] is msgspec.UNSET:
            return [value for value in values[1:] if value is not msgspec.UNSET]
        return values[1:]

    def bind_args(self, args: list[Any]) -> Sequence[Any]:
        """From decoded arguments, without the event's name, to those that the handler is called with.

        Raises:
            EventInvalid: one is missing or does not fit its annotation.
        """
        parameters = self._parameters
        if len(args) < self.required:
            name = parameters[len(args)].name
            data = {"argument": name, "path": "", "reason": "missing"}
            raise EventInvalid(f'missing argument "{name}": {self.required} expected, got {len(args)}', data)
        if self.maximum is not None and len(args) > self.maximum:
            args = args[: self.maximum]
        if not self._typed:
            return args
        rest = self._rest
        converted = [parameter.convert(value) for parameter, value in zip(parameters, args, strict=False)]
        if rest is not None:
            converted += [rest.convert(value) for value in args[len(parameters) :]]
        return converted


def signature_of(
    function: Callable[..., Any], skip: int, types: tuple[Any, ...] = (), *, checked: bool = True
) -> Signature:
    """Read a handler's signature; the result is kept for functions that share their code.

    Args:
        function: the handler.
        skip: how many leading parameters are not the client's (the socket).
        types: for parameters without annotation.
        checked: whether annotations are checked against values; not for what the server itself tells.

    Raises:
        HandlerError: it cannot be called with a client's arguments; the message names the parameter.
    """
    plain = plain_function(function)
    shared = not inspect.ismethod(plain) and not hasattr(plain, "__signature__")
    code = getattr(plain, "__code__", None) if shared else None
    shape = (code, skip, len(getattr(plain, "__defaults__", None) or ()))
    if not checked:
        return _cached(shape if code is not None else None, lambda: _read(function, skip, (), {}))
    annotations: dict[str, Any] = dict(getattr(plain, "__annotations__", {}))
    annotations.pop("return", None)
    first = _without_socket(plain, skip, annotations)
    hints, own = _resolve(plain, annotations)
    if skip:
        _refuse_payload(function, plain, first)
    key = (*shape, types, tuple(hints.items())) if own and code is not None and plain is function else None
    return _cached(key, lambda: _read(function, skip, types, hints))


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """A function's annotations as objects, without that of what it returns.

    The first one, which is the socket's, may name what is imported for type checkers alone; it is left out then.

    Raises:
        HandlerError: another one cannot be resolved.
    """
    plain = plain_function(function)
    annotations: dict[str, Any] = dict(getattr(plain, "__annotations__", {}))
    annotations.pop("return", None)
    first = _without_socket(plain, 1, annotations)
    hints, _ = _resolve(plain, annotations)
    if first is not None and not isinstance(first, str):
        names: Any = plain.__code__.co_varnames
        hints = {names[names[:1] in (("self",), ("cls",))]: first, **hints}
    return hints


def is_foreign_marker(default: Any, annotation: Any) -> bool:
    """Whether a parameter's default or annotation says that FastAPI is to fill it."""
    marks = (default, *(typing.get_args(annotation)[1:] if typing.get_origin(annotation) is typing.Annotated else ()))
    return any(type(mark).__module__ == "fastapi.params" for mark in marks)


def _cached(key: Any, make: Callable[[], Signature]) -> Signature:
    try:
        known = _cache.get(key) if key is not None else None
    except TypeError:  # an annotation that is not hashable
        key = known = None
    if known is not None:
        return known
    signature = make()
    if key is not None:
        if len(_cache) >= _CACHE_LIMIT:
            _cache.clear()
        _cache[key] = signature
    return signature


def plain_function(function: Any) -> Any:
    """The function behind decorators, partials and callable objects, which has the annotations."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif inspect.isroutine(function):
            return function
        else:
            return type(function).__call__  # of an instance; its own attributes do not count


def _without_socket(plain: Any, skip: int, annotations: dict[str, Any]) -> Any:
    """Take out the socket's annotation, which may name what is only imported for type checkers; return it."""
    code = getattr(plain, "__code__", None)
    if code is None or not skip:
        return None
    names = code.co_varnames[: code.co_argcount]
    if names[:1] in (("self",), ("cls",)):
        names = names[1:]
    return annotations.pop(names[0], None) if names else None


def _refuse_payload(function: Any, plain: Any, first: Any) -> None:
    """See that what is annotated with a client's type does not stand where the socket goes."""
    if isinstance(first, str):
        try:
            first = eval(first, dict(getattr(plain, "__globals__", {})))
        except Exception:
            return
    kind = typing.get_origin(first) or first
    if kind in _PAYLOADS or _is_typed_dict(kind) or (isinstance(kind, type) and _is_model(kind)):
        name = getattr(function, "__qualname__", repr(function))
        raise HandlerError(
            f"{name}: the socket comes first, before what the client sends: def {name.rpartition('.')[2]}(socket, ...)"
        )


def _read(function: Callable[..., Any], skip: int, types: tuple[Any, ...], hints: dict[str, Any]) -> Signature:
    try:
        found = list(inspect.signature(function).parameters.values())
    except ValueError:  # a function written in C that does not tell
        return Signature([], 0, Parameter("args", Any), None, typed=False)
    name = getattr(function, "__qualname__", repr(function))
    for parameter in found:
        if is_foreign_marker(parameter.default, hints.get(parameter.name, parameter.annotation)):
            raise HandlerError(
                f"{name}: {parameter.name!r} is a dependency of FastAPI, which a client could send here; "
                "put @madang.fastapi.inject right above the function"
            )
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise HandlerError(f"{name}: {parameter.name!r} is keyword-only, and clients send no keywords")
    positional = [p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    variable = next((p for p in found if p.kind is p.VAR_POSITIONAL), None)
    if len(positional) < skip and variable is None:
        raise HandlerError(f"{name} must take the socket as its first parameter: def {name}(socket, ...)")
    parameters: list[Parameter] = []
    required, ack_at = 0, None
    for parameter in positional[skip:]:
        kind = hints.get(parameter.name, Any)
        if kind is Ack:
            ack_at = len(parameters)
            continue
        if parameter.name not in hints and len(parameters) < len(types):
            kind = types[len(parameters)]
        parameters.append(_checked(name, Parameter(parameter.name, kind)))
        if parameter.default is parameter.empty:
            required = len(parameters)
    rest = None if variable is None else _checked(name, Parameter(variable.name, hints.get(variable.name, Any)))
    typed = any(parameter.type is not Any for parameter in [*parameters, *([rest] if rest else [])])
    return Signature(parameters, required, rest, ack_at, typed=typed)


def _resolve(function: Callable[..., Any], annotations: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The annotations as objects, and whether they mean the same wherever the function is made."""
    if not any(isinstance(value, str) for value in annotations.values()):
        return annotations, True
    scope: dict[str, Any] = dict(getattr(inspect.unwrap(function), "__globals__", {}))
    resolved: dict[str, Any] = {}
    own = True
    for name, value in annotations.items():
        if not isinstance(value, str):
            resolved[name] = value
            continue
        try:
            resolved[name] = eval(value, scope)
        except NameError:
            own = False
            resolved[name] = _evaluate_nearby(function, name, value, scope)
    return resolved, own


def _evaluate_nearby(function: Callable[..., Any], name: str, value: str, scope: dict[str, Any]) -> Any:
    """Evaluate an annotation that names something of an enclosing function."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith("madang."):
            try:
                return eval(value, scope, dict(frame.f_locals))
            except NameError:
                pass
        frame = frame.f_back
    who = getattr(function, "__qualname__", repr(function))
    raise HandlerError(f"{who}: the annotation {value!r} of {name!r} cannot be resolved")


def _checked(function: str, parameter: Parameter) -> Parameter:
    """See that values of the parameter's type can be checked at all."""
    kind = parameter.type
    if kind in (Any, object, inspect.Parameter.empty):
        parameter.type = Any
        return parameter
    if _is_pydantic(kind):
        from pydantic import TypeAdapter

        try:
            parameter.adapter = TypeAdapter(kind)
        except Exception as error:
            raise HandlerError(f"{function}: pydantic cannot check {parameter.name!r}: {error}") from None
        return parameter
    try:
        unknown = _find(msgspec.inspect.type_info(kind), msgspec.inspect.CustomType, set())
    except TypeError as error:
        raise HandlerError(
            f"{function}: clients' values cannot be checked against {parameter.name!r}: {error}"
        ) from None
    if unknown is not None:
        raise HandlerError(
            f"{function}: parameter {parameter.name!r} is annotated with {unknown.cls!r}, which JSON cannot give; "
            "use a dataclass, msgspec.Struct, TypedDict or pydantic model"
        )
    return parameter


def _is_model(kind: type) -> bool:
    return issubclass(kind, msgspec.Struct) or _is_pydantic(kind)


def _is_pydantic(kind: Any, seen: frozenset[int] = frozenset()) -> bool:
    """Whether pydantic must check it: its models and dataclasses, and constraints that are written its way."""
    if id(kind) in seen:
        return False
    seen |= {id(kind)}
    if hasattr(kind, "__pydantic_validator__"):
        return True
    if type(kind).__module__.partition(".")[0] in ("pydantic", "annotated_types"):
        return True  # metadata of Annotated
    parts: list[Any] = list(typing.get_args(kind))
    if _is_typed_dict(kind) or dataclasses.is_dataclass(kind):
        try:
            parts += typing.get_type_hints(kind, include_extras=True).values()
        except (NameError, TypeError):
            pass
    return any(_is_pydantic(part, seen) for part in parts)


def _is_typed_dict(kind: Any) -> bool:
    """Whether it is a TypedDict, of the standard library or of typing_extensions."""
    return isinstance(kind, type) and hasattr(kind, "__required_keys__") and hasattr(kind, "__total__")


def _may_hold_bytes(kind: Any) -> bool:
    if kind is Any:
        return False
    types = (msgspec.inspect.BytesType, msgspec.inspect.ByteArrayType, msgspec.inspect.MemoryViewType)
    return _find(msgspec.inspect.type_info(kind), types, set()) is not None


def _find(info: Any, wanted: Any, seen: set[int]) -> Any:
    """The first part of a type's description that is of a `wanted` kind, or None."""
    if isinstance(info, wanted):
        return info
    if id(info) in seen:
        return None
    seen.add(id(info))
    if isinstance(info, msgspec.Struct):
        parts: Any = [getattr(info, name) for name in info.__struct_fields__ if name not in ("cls", "default")]
    elif isinstance(info, tuple | list):
        parts = cast("Any", info)
    else:
        return None
    for part in parts:
        found = _find(part, wanted, seen)
        if found is not None:
            return found
    return None
