"""Whether the compiled modules are used: twins of the few that every message passes, several times as fast.

They are built when madang is installed where there is a C compiler. Without them, or with ``MADANG_PURE=1`` in the
environment, everything works the same. Either all of them are used or none.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, Final

TWINS: Final = ("protocol._encoded", "events._path", "events._arrival", "transports._wire")
"""The compiled modules, below this package."""


def _is_there(name: str) -> bool:
    path = Path(__file__).parent.joinpath(*name.split("."))
    return any(path.with_name(path.name + suffix).exists() for suffix in EXTENSION_SUFFIXES)


COMPILED: Final = not os.environ.get("MADANG_PURE") and all(map(_is_there, TWINS))
"""Whether they are used in this process."""


def twin(name: str) -> Any:
    """A compiled module, by its name below this package."""
    return import_module(f"{__package__}.{name}")
