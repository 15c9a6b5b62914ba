"""Every event in one place, by name and payload; handlers get what they were promised, or are not called.

Run it with ``python examples/typed_events.py``. A page emits ``order`` with a list of lines such as
``{ item: "tea", count: 2 }``, is answered with the receipt, and hears ``sold`` whenever anybody orders.
"""

import os
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import msgspec

import madang

PRICES = {"tea": Decimal("4.50"), "rice cake": Decimal("3.20")}


class Line(msgspec.Struct):
    item: str
    count: Annotated[int, msgspec.Meta(ge=1, le=99)] = 1


class Receipt(msgspec.Struct):
    lines: list[Line]
    total: Decimal
    at: datetime


ORDER = madang.ClientEvent[[list[Line]], Receipt]("order")  # from the page, answered with a Receipt
SOLD = madang.ServerEvent[[Receipt], None]("sold")  # to every page

io = madang.Server()


@io.on(ORDER)
def order(socket: madang.Socket, lines: list[Line]) -> Receipt:
    unknown = [line.item for line in lines if line.item not in PRICES]
    if unknown:
        raise madang.EventError("not on the menu", code="unknown_item", data=unknown)
    total = sum((PRICES[line.item] * line.count for line in lines), Decimal(0))
    receipt = Receipt(lines, total, datetime.now(UTC))
    socket.broadcast.emit(SOLD, receipt)
    return receipt


if __name__ == "__main__":
    io.run(port=int(os.environ.get("PORT", "3000")))
