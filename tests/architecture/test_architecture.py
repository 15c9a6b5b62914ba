"""The shape of the source: who imports whom, how large things grow, what they are called and what they say."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import pkgutil
import re
import subprocess
import sys
import tokenize
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import madang
import madang.errors

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "madang"
MODULES = sorted(SOURCE.rglob("*.py"))

MODULE_LINES = 400
FUNCTION_LINES = 40
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "base", "common", "manager", "misc"}

NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}

each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def code_lines(path: Path) -> set[int]:
    """The numbers of the lines that hold code: not blank, not comment, not docstring."""
    docstrings: set[int] = set()
    for node in ast.walk(parsed(path)):
        match node:
            # A string that stands alone is a docstring, of a module, class, function or of the name above it.
            case ast.Expr(value=ast.Constant(value=str())):
                docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines - docstrings


def packages() -> list[ModuleType]:
    """madang and every package in it."""
    inner = pkgutil.walk_packages(madang.__path__, "madang.")
    return [madang, *(importlib.import_module(found.name) for found in inner if found.ispkg)]


def test_imports_keep_to_the_layers():
    """The contracts of pyproject.toml hold: each layer imports only what stands below it."""
    # in a process of its own: import-linter stumbles over modules that Twisted has laid its hands on
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@each_module
def test_a_module_stays_small(path):
    """A module has at most 400 lines of code."""
    lines = len(code_lines(path))
    assert lines <= MODULE_LINES, f"{lines} lines of code: two things live in it; split it along a noun of the field"


@each_module
def test_a_function_stays_small(path):
    """A function has at most 40 lines of code."""
    lines = code_lines(path)
    long = {
        f"{node.name} (line {node.lineno})": size
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (size := len(lines.intersection(range(node.lineno, (node.end_lineno or node.lineno) + 1)))) > FUNCTION_LINES
    }
    assert not long, f"over {FUNCTION_LINES} lines of code: {long}; name a step of it, and make that a function"


@each_module
def test_a_module_is_named_for_what_it_is(path):
    """No module is called utils, helpers, base, common or manager."""
    names = {part.strip("_") for part in path.relative_to(SOURCE).with_suffix("").parts}
    assert not names & VAGUE_NAMES, "name it with a noun of the field: packet, session, room, ..."


@each_module
def test_a_module_does_not_print(path):
    """What a module has to say goes to a logger, or, in the command line, to a stream it was given."""
    prints = [node.lineno for node in ast.walk(parsed(path)) if _is_print(node)]
    assert not prints, f"print in line {prints}: use the logger of the layer, or sys.stdout.write in the command line"


def _is_print(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"


@each_module
def test_a_module_never_catches_everything(path):
    """A bare except would swallow cancellation and Ctrl-C."""
    bare = [node.lineno for node in ast.walk(parsed(path)) if isinstance(node, ast.ExceptHandler) and node.type is None]
    assert not bare, f"bare except in line {bare}: name what is expected"


def test_every_public_name_explains_itself():
    """Each class and function in a package's `__all__` has a docstring of its own."""
    silent = [
        f"{package.__name__}.{name}"
        for package in packages()
        for name in getattr(package, "__all__", ())
        if _may_explain_itself(value := getattr(package, name)) and not _own_docstring(value)
    ]
    assert not silent, f"no docstring: {silent}"


def _may_explain_itself(value: object) -> bool:
    return inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)


def _own_docstring(value: object) -> str | None:
    docstring = getattr(value, "__dict__", {}).get("__doc__") or getattr(value, "__doc__", None)
    if inspect.isclass(value):  # a docstring that was inherited, or that @dataclass made up, says nothing
        docstring = vars(value).get("__doc__") or ""
        return None if docstring.startswith(f"{value.__name__}(") else docstring
    return docstring


def test_madang_names_what_is_public():
    """`madang.__all__` lists names that are there, each once."""
    names = list(madang.__all__)
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(madang, name)] == []


def test_the_tree_of_errors_is_drawn_as_it_is():
    """The tree in the docstring of `madang.errors` is the tree of its classes."""
    drawn = drawn_tree(madang.errors.__doc__ or "")
    real = {
        error.__name__: next(parent.__name__ for parent in error.__mro__[1:] if _is_ours(parent) or parent is Exception)
        for error in vars(madang.errors).values()
        if _is_ours(error)
    }
    assert drawn == real


def _is_ours(error: object) -> bool:
    return isinstance(error, type) and issubclass(error, BaseException) and error.__module__ == "madang.errors"


def drawn_tree(docstring: str) -> dict[str, str]:
    """Class -> its parent, from an indented tree with or without branches; the root's parent is Exception."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in inspect.cleandoc(docstring).splitlines():
        match = re.match(r"(?P<indent>[\s│├└─|+`-]*)(?P<name>[A-Z]\w+)(\([^)]*\))?(\s{2,}.*)?$", line)
        if not match or not match["indent"]:
            continue
        depth = len(match["indent"])
        while above and above[-1][0] >= depth:
            above.pop()
        parents[match["name"]] = above[-1][1] if above else "Exception"
        above.append((depth, match["name"]))
    return parents
