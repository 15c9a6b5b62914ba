"""Two people at their browsers: a thin Python face over tests/js/chat.mjs, which drives headless Chromium."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Self

JS = Path(__file__).parent.parent / "js"
PHONE = {"viewport": {"width": 360, "height": 740}, "deviceScaleFactor": 2, "isMobile": True, "hasTouch": True}


class BrowserError(AssertionError):
    """The browser did not see what it was told to wait for."""


class Browser:
    """One Chromium; every person in it has a browser of their own (cookies, storage), and any number of pages."""

    def __init__(self, node: str, chromium: str) -> None:
        self._process = subprocess.Popen(
            [node, JS / "chat.mjs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "CHROMIUM": chromium},
        )
        self._sent = 0
        self._opened = 0
        self._people: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def command(self, **command: Any) -> Any:
        """Send one command and return its answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._sent += 1
        self._process.stdin.write(json.dumps({"id": self._sent, **command}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BrowserError("the driver of the browser ended; its message is above")
        answer = json.loads(line)
        if "error" in answer:
            raise BrowserError(f"{command}: {answer['error']}")
        return answer["value"]

    def close_all(self) -> None:
        """Close the browsers of all people."""
        for person in self._people:
            self.command(close=person)
        self._people.clear()

    def page(self, person: str, url: str, *, language: str = "ko-KR", **options: Any) -> Page:
        """Open the chat in a person's browser; the options are those of a new Playwright context."""
        self._opened += 1
        self._people.add(person)
        name = f"{person} {self._opened}"
        context = {"locale": language, "viewport": {"width": 1180, "height": 760}, **options}
        self.command(page=name, open=person, context=context)
        self.command(page=name, do="goto", **{"with": [url]})
        return Page(self, name)


class Page:
    """A tab."""

    def __init__(self, browser: Browser, name: str) -> None:
        self._browser = browser
        self._name = name

    def do(self, method: str, *arguments: Any, on: str | None = None) -> Any:
        """Call a method of the Playwright page, or of the elements a selector finds."""
        where = {"locator": on} if on else {}
        return self._browser.command(page=self._name, do=method, **where, **{"with": arguments})

    def click(self, selector: str) -> None:
        """Click an element, waiting until it can be."""
        self.do("click", on=selector)

    def fill(self, selector: str, text: str) -> None:
        """Put a text into a field."""
        self.do("fill", text, on=selector)

    def press(self, selector: str, key: str) -> None:
        """Press a key in an element."""
        self.do("press", key, on=selector)

    def see(self, selector: str) -> None:
        """Wait until exactly one element is there and visible."""
        self.do("waitFor", {"state": "visible"}, on=selector)

    def there(self, selector: str) -> None:
        """Wait until an element is in the page, be it seen or not."""
        self.do("waitFor", {"state": "attached"}, on=selector)

    def miss(self, selector: str) -> None:
        """Wait until an element is hidden or gone."""
        self.do("waitFor", {"state": "hidden"}, on=selector)

    def count(self, selector: str) -> int:
        """Count the elements there are now."""
        found: int = self.do("count", on=selector)
        return found

    def text(self, selector: str) -> str:
        """Return an element's text as it is seen."""
        seen: str = self.do("innerText", on=selector)
        return seen

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page."""
        return self.do("evaluate", script)

    def shot(self, name: str) -> None:
        """Keep a picture in the folder CHAT_SCREENSHOTS names, if it does."""
        if folder := os.environ.get("CHAT_SCREENSHOTS"):
            self.do("screenshot", {"path": str(Path(folder) / f"{name}.png")})

    @property
    def problems(self) -> list[str]:
        """Errors on the page's console so far."""
        found: list[str] = self.do("problems")
        return found

    # ---- the chat's own gestures

    def log_in(self, name: str) -> Page:
        """Come in under a name, and wait until we are connected."""
        self.fill("#login-name", name)
        self.press("#login-name", "Enter")
        self.there('#rooms-mine [aria-current="true"]')
        self.there('#connection[data-state="connected"]')
        return self

    def say(self, text: str) -> None:
        """Write a message and send it."""
        self.fill("#text", text)
        self.click("#composer .send")

    def hear(self, text: str) -> None:
        """Wait for a message of somebody else."""
        self.see(f'.message:not(.mine) .bubble:text-is("{text}")')

    def see_mine(self, text: str, state: str) -> None:
        """Wait for a message of ours in a state: sent, sending, queued or failed."""
        self.see(f'.message.mine[data-state="{state}"]:has(.bubble:text-is("{text}"))')
