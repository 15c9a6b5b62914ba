"""The page agrees with the server about events, and with itself about its texts."""

from __future__ import annotations

import re
from pathlib import Path

import madang
from examples.chat import events

WEB = Path(events.__file__).parent / "web"
PAGE = "\n".join(path.read_text("utf-8") for path in [*sorted(WEB.glob("*.js")), WEB / "index.html"])

CODE = PAGE.replace((WEB / "i18n.js").read_text("utf-8").partition("const KEPT")[0], "")


def constants(module):
    """The event names and limits of events.py."""
    return {name: value for name, value in vars(module).items() if isinstance(value, madang.TypedEvent | int)}


def texts(language):
    """The keys of one language in i18n.js, with the placeholders of each."""
    source = (WEB / "i18n.js").read_text("utf-8")
    [table] = re.findall(rf"^  {language}: \{{$(.*?)^  \}},$", source, re.DOTALL | re.MULTILINE)
    keys = re.split(r'^ {4}"([\w.]+)": ', table, flags=re.MULTILINE)[1:]
    return {key: set(re.findall(r"\{(\w+)\}", value)) for key, value in zip(keys[::2], keys[1::2], strict=True)}


def test_both_ends_use_the_same_names():
    """events.js has the events and limits of events.py, all of them and no other."""
    written = re.findall(r'^export const (\w+) = "?(.*?)"?;$', (WEB / "events.js").read_text("utf-8"), re.MULTILINE)
    assert dict(written) == {name: str(value) for name, value in constants(events).items()}


def test_no_event_has_two_names():
    """Within a direction each event has a name of its own, and none is reserved."""
    names = [str(event) for event in constants(events).values() if isinstance(event, madang.TypedEvent)]
    assert len(names) == len(set(names))
    assert not {"connect", "connect_error", "disconnect", "disconnecting", "error"} & set(names)


def test_every_text_is_there_in_both_languages():
    """Korean and English have the same texts with the same placeholders."""
    korean, english = texts("ko"), texts("en")
    assert korean.keys() == english.keys()
    assert all(english[key] <= korean[key] | {"n"} for key in korean)


def test_every_text_asked_for_exists():
    """The page asks for no text that the table has not got, and the table has none that nothing asks for."""
    kept = set(texts("en"))
    asked = set(re.findall(r"""(?:\bt\(|data-(?:text|label|placeholder)=|[?:] t\()["']([\w.]+)["']""", PAGE))
    assert asked <= kept
    prefixes = tuple(re.findall(r"`([a-z.]+\.)\$", PAGE))
    assert {key for key in kept if f'"{key}"' not in CODE and not key.startswith(prefixes)} == set()
