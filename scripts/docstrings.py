"""Docstrings, as the reference of the site shows them: an extension of griffe, which reads them.

The docstrings mark a program as Python's own do, with a line that ends in two colons and an indented block. To Markdown
that is text, so it becomes a fence here.
"""

import re
import textwrap
from typing import Any

import griffe

_BLOCK = re.compile(r"(?m)^(.*?)::\n\n((?: {4}.*\n?|\n(?= {4}|\n))+)")


def fenced(text: str) -> str:
    """A docstring whose literal blocks are fences."""

    def fence(match: re.Match[str]) -> str:
        said, code = match.groups()
        return f"{said + ':' if said else ''}\n\n```python\n{textwrap.dedent(code).strip()}\n```\n"

    return _BLOCK.sub(fence, text)


class Literals(griffe.Extension):
    """Puts the fences in."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each class, function and attribute that has been read."""
        if obj.docstring is not None and "::\n" in obj.docstring.value:
            obj.docstring.value = fenced(obj.docstring.value)
