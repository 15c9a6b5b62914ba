"""Micro-benchmarks: what it takes to encode and decode one event, for each parser.

    python benchmarks/codec.py               # about half a minute
    python benchmarks/codec.py --seconds 0.01 --only text

In one process, without a server; the best of several runs, in microseconds. What a server makes of it is measured by
run.py.
"""

from __future__ import annotations

import argparse
import json
import timeit
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import madang

ROUNDS: Final = 5

EVENTS: Final[dict[str, list[Any]]] = {
    "text": ["chat message", "안녕하세요, 마당에 오신 것을 환영합니다"],
    "object": ["order", {"id": 17, "name": "coffee", "price": 12.5, "paid": True, "tags": ["hot", "large"]}],
    "rows": ["rows", [{"id": n, "name": f"row {n}", "value": n / 7, "ok": n % 2 == 0} for n in range(100)]],
    "bytes": ["frame", bytes(16 * 1024)],
    "mixed": ["upload", {"name": "a.png", "parts": [bytes(500), bytes(500)]}],
}

PARSERS: Final[dict[str, Callable[[], Any]]] = {
    "default": lambda: madang.Server().parser,
    "msgpack": madang.MsgpackParser,
    "json": partial(madang.JsonParser, json.dumps, json.loads),
}


def best(function: Callable[[], object], seconds: float) -> float:
    """The best of some runs of so many seconds: microseconds for one call."""
    timer = timeit.Timer(function)
    once = max(timer.timeit(3) / 3, 1e-7)
    calls = max(1, int(seconds / once))
    return min(timer.repeat(ROUNDS, calls)) / calls * 1e6


def measured(parser: Any, args: list[Any], seconds: float) -> tuple[float, float]:
    """Encoding, and decoding what was encoded."""
    encoded = parser.encode_event("/", args)

    def decode() -> Any:
        packet = parser.decode(encoded.text) if encoded.text else parser.decode_binary(encoded.attachments[0])
        return parser.decode_args(packet)

    return best(lambda: parser.encode_event("/", args), seconds), best(decode, seconds)


def main() -> None:
    """Measure, and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=0.2, help="that one run takes")
    options.add_argument("--only", choices=EVENTS, help="one event")
    wanted = options.parse_args()
    print(f"{'event':10}{'parser':10}{'encode µs':>12}{'decode µs':>12}")
    for event, args in EVENTS.items():
        if wanted.only in (None, event):
            for name, make in PARSERS.items():
                encode, decode = measured(make(), args, wanted.seconds)
                print(f"{event:10}{name:10}{encode:12.2f}{decode:12.2f}")


if __name__ == "__main__":
    main()
