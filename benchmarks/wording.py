"""How figures are written for readers: three digits that count, and a unit that fits."""

from __future__ import annotations

from typing import Final

from cases import Case

MISSING: Final = "\N{EN DASH}"


def value(case: Case, figure: float | None) -> str:
    """A case's figure, without its unit where the case's heading has it."""
    if figure is None:
        return MISSING
    if case.unit == "s":
        return seconds(figure)
    return kibibytes(figure) if case.unit == "bytes/client" else rate(figure)


def rate(figure: float) -> str:
    """Such as ``1.23 M``, ``45.6 k`` or ``789``."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if figure >= 0.9995 * size:
            return digits(figure / size) + letter
    return digits(figure)


def seconds(figure: float) -> str:
    """Such as ``1.23 s``, ``4.56 ms`` or ``789 µs``."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if figure >= 0.9995 * size:
            return f"{digits(figure / size)} {unit}"
    return f"{digits(figure * 1e6)} µs"


def nanoseconds(figure: float) -> str:
    """Such as ``1.23 µs`` or ``789 ns``."""
    return f"{digits(figure)} ns" if figure < 1000 else seconds(figure * 1e-9)


def kibibytes(figure: float) -> str:
    """Bytes, such as ``12.3 KiB``."""
    return f"{figure / 1024:.1f} KiB"


def mebibytes(figure: float) -> str:
    """Bytes, such as ``123 MiB``."""
    return f"{figure / 2**20:.0f} MiB"


def percent(share: float | None) -> str:
    """A share, such as ``99 %``."""
    return MISSING if share is None else f"{100 * share:.0f} %"


def times(ratio: float | None) -> str:
    """A ratio: ``1.23`` and the sign for times."""
    return MISSING if ratio is None else f"{digits(ratio)} \N{MULTIPLICATION SIGN}"


def digits(figure: float) -> str:
    """Three digits that count, and no exponent."""
    if abs(figure) >= 99.95:
        return f"{figure:.0f}"
    return f"{figure:.1f}" if abs(figure) >= 9.995 else f"{figure:.2f}"


def plain(text: str) -> str:
    """Without zeros that say nothing: ``1 ms`` for ``1.00 ms``."""
    number, space, unit = text.partition(" ")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + space + unit
