"""Draw the pictures of docs/scaling.md: ``python scripts/pictures.py`` writes docs/pictures/*.svg.

They are readable on light and dark pages, whichever the reader's system prefers.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "pictures"

WIDTH: Final = 760

STYLE: Final = """
    .page { fill: #ffffff }
    text { font: 14px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; text-anchor: middle }
    .title { font-weight: 600 }
    .note { font-size: 12px; fill: #59636e }
    .left { text-anchor: start }
    rect.box, rect.frame { stroke-width: 1.5 }
    rect.frame { fill: none; stroke: #818b98; stroke-dasharray: 5 4 }
    .plain { fill: #f6f8fa; stroke: #818b98 }
    .madang { fill: #ddf4ff; stroke: #0969da }
    .node { fill: #dafbe1; stroke: #1a7f37 }
    .broker { fill: #ffebe9; stroke: #cf222e }
    line, path.line { stroke: #59636e; stroke-width: 1.5; fill: none }
    marker path { fill: #59636e }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117 }
      text { fill: #f0f6fc }
      .note { fill: #9198a1 }
      rect.frame { stroke: #656c76 }
      .plain { fill: #212830; stroke: #656c76 }
      .madang { fill: #0c2d5a; stroke: #4493f8 }
      .node { fill: #0f3d1e; stroke: #3fb950 }
      .broker { fill: #58151b; stroke: #f85149 }
      line, path.line { stroke: #9198a1 }
      marker path { fill: #9198a1 }
    }
"""

MARKER: Final = (
    '<marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto-start-reverse"><path d="M0 0 L8 4 L0 8 z"/></marker>'
)


@dataclass(frozen=True)
class Box:
    """A box with a title and a note below it, around a middle."""

    x: int
    y: int
    width: int
    height: int

    @property
    def top(self) -> tuple[int, int]:
        """Where a line from above ends."""
        return self.x, self.y - self.height // 2

    @property
    def bottom(self) -> tuple[int, int]:
        """Where a line from below ends."""
        return self.x, self.y + self.height // 2


@dataclass
class Picture:
    """A drawing of boxes and lines."""

    name: str
    height: int
    says: str
    parts: list[str] = field(default_factory=list[str])

    def box(self, kind: str, x: int, y: int, title: str, note: str = "", width: int = 150, height: int = 56) -> Box:
        """Add a box."""
        left, top = x - width // 2, y - height // 2
        self.parts.append(f'<rect class="box {kind}" x="{left}" y="{top}" width="{width}" height="{height}" rx="8"/>')
        self.text(x, y + (5 if not note else -4), title, "title")
        if note:
            self.text(x, y + 15, note, "note")
        return Box(x, y, width, height)

    def frame(self, x: int, y: int, width: int, height: int, title: str) -> None:
        """Add a frame around something, named at its lower left."""
        self.parts.append(f'<rect class="frame" x="{x}" y="{y}" width="{width}" height="{height}" rx="10"/>')
        self.text(x + 12, y + height - 12, title, "note left")

    def text(self, x: int, y: int, text: str, kind: str = "note") -> None:
        """Add a line of text."""
        self.parts.append(f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>')

    def line(self, start: tuple[int, int], end: tuple[int, int], both: bool = True) -> None:
        """Add a line with a head at its end, or at both ends."""
        heads = 'marker-end="url(#end)"' + (' marker-start="url(#end)"' if both else "")
        self.parts.append(f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" {heads}/>')

    def svg(self) -> str:
        """The whole file."""
        body = "\n  ".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" '
            f'height="{self.height}" role="img" aria-label="{escape(self.says)}">\n'
            f"  <style>{STYLE}  </style>\n  <defs>{MARKER}</defs>\n"
            f'  <rect class="page" width="{WIDTH}" height="{self.height}"/>\n  {body}\n</svg>\n'
        )


def one_server() -> Picture:
    """Clients, and a server with one process."""
    picture = Picture("one", 190, "Clients connect to one process of madang")
    clients = [picture.box("plain", x, 40, "clients", width=110, height=40) for x in (200, 380, 560)]
    server = picture.box("madang", 380, 145, "madang", "one process, one core", width=220)
    for client, x in zip(clients, (330, 380, 430), strict=True):
        picture.line(client.bottom, (x, server.top[1]))
    return picture


def workers() -> Picture:
    """One machine, with several processes."""
    picture = Picture("workers", 340, "Several workers of madang behind one port of one machine")
    clients = picture.box("plain", 380, 36, "clients", width=220, height=40)
    picture.frame(40, 84, 680, 240, "one machine, one port: the kernel spreads the connections")
    places = (140, 300, 460, 620)
    boxes = [picture.box("madang", x, 165, f"worker {n}", "one core", width=120) for n, x in enumerate(places)]
    for box in boxes:
        picture.line(clients.bottom, box.top)
    for left, right in itertools.pairwise(boxes):
        picture.line((left.x + left.width // 2, left.y), (right.x - right.width // 2, right.y))
    picture.text(380, 222, "lines from each to each: rooms, broadcasts, answers")
    picture.box("plain", 380, 264, "supervisor", "starts, replaces and exchanges workers", width=300)
    return picture


def cluster() -> Picture:
    """Several machines over a Redis, behind a balancer."""
    picture = Picture("cluster", 400, "Several servers of madang behind a balancer, joined by a Redis")
    clients = picture.box("plain", 380, 36, "clients", width=220, height=40)
    balancer = picture.box(
        "plain", 380, 118, "nginx, HAProxy, Ingress", "a polling client stays with its server", width=280
    )
    picture.line(clients.bottom, balancer.top)
    servers = [
        picture.box("madang", x, 225, f"machine {n}", "madang, workers or one process", width=210)
        for n, x in ((1, 140), (2, 380), (3, 620))
    ]
    redis = picture.box("broker", 380, 350, "Redis, pub/sub", "a channel for each room", width=220)
    for server, x in zip(servers, (300, 380, 460), strict=True):
        picture.line((x, balancer.bottom[1]), server.top)
        picture.line(server.bottom, (x, redis.top[1]))
    return picture


def mixed() -> Picture:
    """Servers of madang and of Node in one cluster, and programs that only send."""
    picture = Picture("mixed", 400, "Servers of madang and of Node, and emitters, share one Redis")
    clients = picture.box("plain", 290, 36, "clients", width=220, height=40)
    balancer = picture.box("plain", 290, 118, "balancer", width=220, height=44)
    picture.line(clients.bottom, balancer.top)
    madang = picture.box("madang", 150, 225, "madang", "RedisAdapter", width=200)
    node = picture.box("node", 430, 225, "Node", "@socket.io/redis-adapter", width=200)
    emitter = picture.box("plain", 650, 225, "any program", "Emitter, redis-emitter", width=180)
    redis = picture.box("broker", 380, 350, "Redis, pub/sub", "one wire, byte for byte", width=240)
    picture.line((250, balancer.bottom[1]), madang.top)
    picture.line((330, balancer.bottom[1]), node.top)
    picture.line(madang.bottom, (310, redis.top[1]))
    picture.line(node.bottom, (390, redis.top[1]))
    picture.line(emitter.bottom, (460, redis.top[1]), both=False)
    return picture


PICTURES: Final = (one_server, workers, cluster, mixed)


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    for draw in PICTURES:
        picture = draw()
        (FOLDER / f"{picture.name}.svg").write_text(picture.svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
