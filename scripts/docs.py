"""The documentation as a site: `build/docs` out of `docs`, with Zensical, as ``make docs`` does it.

The pages of `docs` are read on their own as well, so they link to what lies outside of the folder: examples, tests, the
README. A site has none of it. So the pages are copied to `build/pages` first, and such a link becomes its text with the
path in the repository. And a link whose text is the name of a page's file gets that page's title as its text. What is
missing or broken is a warning to Zensical, and a warning ends the build.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = ROOT / "build" / "pages"

_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])+)\]\(([^)\s]+)\)")


def title(page: Path) -> str:
    """The first heading of a page."""
    heading = _TITLE.search(page.read_text(encoding="utf-8"))
    if heading is None:
        raise ValueError(f"{page.relative_to(ROOT)} has no heading")
    return heading.group(1)


def for_the_site(text: str, folder: Path) -> str:
    """A page's text with the links as a site has them.

    Args:
        text: the page.
        folder: where in `docs` it lies.
    """

    def told(match: re.Match[str]) -> str:
        label, target = match.groups()
        if ":" in target or target.startswith("#"):
            return match.group(0)
        path = (folder / target.partition("#")[0]).resolve()
        if path.is_relative_to(DOCS):
            return f"[{title(path)}]({target})" if label == path.name and path.suffix == ".md" else match.group(0)
        place = path.relative_to(ROOT).as_posix()
        if label.startswith("`"):
            return label
        return f"`{place}`" if label in place else f"{label} (`{place}`)"

    parts = _CODE.split(text)
    return "".join(part if part.startswith("```") else _LINK.sub(told, part) for part in parts)


def copy() -> None:
    """Make `build/pages` anew."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(DOCS, PAGES, ignore=shutil.ignore_patterns("theme", "*.toml"))
    for page in PAGES.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        folder = DOCS / page.parent.relative_to(PAGES)
        page.write_text(for_the_site(text, folder), encoding="utf-8")


def build() -> str | None:
    """Build the site; what is wrong with the pages, if anything is."""
    copy()
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    said, traceback = _COLOR.sub("", done.stdout), "Traceback (most recent"
    if done.returncode:
        return said.partition(traceback)[0] if "--strict flag" in said else said
    return said if "griffe: " in said else None  # of docstrings; Zensical does not count it as a warning


if __name__ == "__main__":
    if wrong := build():
        sys.exit(wrong)
    print(f"docs: {ROOT / 'build' / 'docs' / 'index.html'}")
