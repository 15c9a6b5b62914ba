"""Session ids that the program makes."""

from __future__ import annotations

import pytest

from madang.engine import Engine
from tests.engine.clocks import ManualClock
from tests.engine.wires import Line, finish, request


@pytest.mark.feature("A22")
def test_two_that_are_admitted_at_once() -> None:
    """Of two WebSockets that were let in under one id, the first has it, and the second is closed."""
    engine = Engine(generate_id=lambda asked: "mine")
    engine.bind(ManualClock())
    asked = request(transport="websocket")
    admissions = [finish(engine.admit(asked)) for _ in range(2)]
    lines = [Line(), Line()]
    for admission, line in zip(admissions, lines, strict=True):
        engine.opened(admission, line, asked)
    assert [line.closed for line in lines] == [None, 1008]
    assert engine.sessions["mine"].transport is lines[0]
    assert lines[1].sent == []
