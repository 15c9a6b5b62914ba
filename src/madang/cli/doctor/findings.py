"""What the doctor has found, and how it is written: lines for people, or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TextIO

from ..showing import visible

Verdict = Literal["ok", "failed", "note"]

_MARKS: Final[dict[Verdict, str]] = {"ok": "✓", "failed": "✗", "note": "!"}
_PLAIN_MARKS: Final[dict[Verdict, str]] = {"ok": "[ok]  ", "failed": "[FAIL]", "note": "[note]"}
_COLOURS: Final[dict[Verdict, str]] = {"ok": "32", "failed": "31", "note": "33"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        check: what was examined, in a word.
        verdict: ``"ok"``, ``"failed"``, or ``"note"`` for what may be meant so.
        seen: a sentence about it.
        advice: what to change, a line each.
    """

    check: str
    verdict: Verdict
    seen: str
    advice: Sequence[str] = ()


class Findings:
    """Writes what is found as soon as it is, and keeps it.

    Args:
        out: where to write.
        as_json: whether in lines of JSON.

    Attributes:
        all: what has been found.
    """

    def __init__(self, out: TextIO, *, as_json: bool = False) -> None:
        self.all: list[Finding] = []
        self._out = out
        self._as_json = as_json
        self._marks = _MARKS if _can_write(out, "✓✗") else _PLAIN_MARKS
        self._colour = out.isatty()

    def ok(self, check: str, seen: str) -> None:
        """Something is well."""
        self._add(Finding(check, "ok", seen))

    def failed(self, check: str, seen: str, *advice: str) -> None:
        """Something does not work."""
        self._add(Finding(check, "failed", seen, advice))

    def note(self, check: str, seen: str, *advice: str) -> None:
        """Something may be meant so, or not."""
        self._add(Finding(check, "note", seen, advice))

    def meanwhile(self, text: str) -> None:
        """Tell people what is being waited for."""
        if not self._as_json:
            self._write(f"  {text}")

    def count(self, verdict: Verdict) -> int:
        """How many findings have this verdict."""
        return sum(finding.verdict == verdict for finding in self.all)

    def finish(self) -> None:
        """Write what it comes to."""
        failed, notes = self.count("failed"), self.count("note")
        if self._as_json:
            self._write(json.dumps({"check": "summary", "failed": failed, "notes": notes, "ok": not failed}))
            return
        said = (
            "All is well"
            if not failed
            else "One thing does not work"
            if failed == 1
            else f"{failed} things do not work"
        )
        self._write(f"{said}{f'; to look at: {notes}' if notes else ''}.")

    def _add(self, finding: Finding) -> None:
        self.all.append(finding)
        if self._as_json:
            whole = {"check": finding.check, "verdict": finding.verdict, "seen": finding.seen}
            self._write(json.dumps(whole | {"advice": list(finding.advice)}))
            return
        mark = self._marks[finding.verdict]
        if self._colour:
            mark = f"\x1b[{_COLOURS[finding.verdict]}m{mark}\x1b[0m"
        self._write(f"{mark} {finding.check}: {visible(finding.seen)}")
        for line in finding.advice:
            self._write(f"    {visible(line)}")

    def _write(self, line: str) -> None:
        encoding = self._out.encoding or "utf-8"
        self._out.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        self._out.flush()


def _can_write(out: TextIO, text: str) -> bool:
    try:
        text.encode(out.encoding or "ascii")
    except (LookupError, UnicodeError):
        return False
    return True
