"""What a Socket.IO client is told that asks where the server is not: a wrong mounting shows nowhere else."""

from __future__ import annotations

from typing import Any, Final

from ..engine.engine import Engine

MISPLACED: Final = b"No Socket.IO at "
"""How the text begins."""

_LONGEST: Final = 200
"""Characters of a path that are repeated."""

_SAFE: Final = str.maketrans({"<": "%3C", ">": "%3E", "\r": "%0D", "\n": "%0A"})


def looks_like_ours(scope: dict[str, Any]) -> bool:
    """Whether a request is that of an Engine.IO client, by its query."""
    query: bytes = scope.get("query_string", b"")
    return any(part.startswith(b"EIO=") for part in query.split(b"&"))


def not_here(engine: Engine, scope: dict[str, Any]) -> str:
    """The text of the 404: what was asked for, what is served, how it was mounted, and what to change."""
    served = engine.options.path
    asked: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    below = asked.removeprefix(root)
    path, mounted = _shown(asked), _shown(root)
    lines = [
        f"{MISPLACED.decode()}{path}: this server has it at {served}" + (f", mounted at {mounted}." if root else ".")
    ]
    if f"{below}/" == served:
        lines.append("The slash at the end is missing: leave the client's addTrailingSlash as it is.")
    elif below.endswith(served):
        prefix = _shown(asked.removesuffix(served))
        lines.append(f"The prefix {prefix} stands before it: let the proxy take it away, mount the server there,")
        lines.append(f'or make it the server\'s own: path="{prefix}{served}".')
    else:
        lines.append(f'Give the client path: "{mounted}{served}", or the server path="{_shown(below)}".')
    return "\n".join(lines) + "\n"


def _shown(path: str) -> str:
    """A path as it may be repeated: nothing in it is taken for markup or for another line."""
    text = path.translate(_SAFE)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
