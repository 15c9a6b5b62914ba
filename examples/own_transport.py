"""A transport of one's own: Socket.IO over plain TCP, a packet on each line, beside polling and WebSocket.

Run it with ``python examples/own_transport.py``, and speak to it: ``nc localhost 3001``, then the lines ``40`` and
``420["add",1,2]``. docs/transports.md tells how it works.
"""

import asyncio
import base64
import os
import signal
import time
from typing import Any

import madang

io = madang.Server()


@io.on("add")
def add(socket: madang.Socket, a: int, b: int):
    return a + b


@io.on("size")
def size(socket: madang.Socket, data: bytes):
    return len(data)


class Lines(asyncio.Protocol):
    """A transport: each packet is a line, and bytes are base64 behind a ``b``."""

    name = "websocket"  # what the session tells of it
    writable = True

    def connection_made(self, tcp: Any):
        self.tcp, self.session, self.rest = tcp, None, b""
        remote = tcp.get_extra_info("peername")[:2]
        query = "EIO=4&transport=websocket"
        self.request = madang.Request("GET", "/lines", query, [], received_at=time.time(), remote=remote)
        tcp.pause_reading()  # until it has been let in
        self.beginning = asyncio.create_task(self.begin())

    async def begin(self):
        try:
            admission = await io.engine.admit(self.request)  # asks middlewares, allow_request and generate_id
        except madang.HandshakeError as error:
            self.tcp.write(f"4 {error.message}\n".encode())
            self.tcp.close()
        else:
            self.tcp.resume_reading()
            io.engine.opened(admission, self, self.request)  # sets self.session, and sends the open packet

    # what comes

    def data_received(self, data: bytes):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if self.session is None:
                return
            if line.startswith(b"4"):
                self.session.on_text(line)
            else:  # pongs, the close packet, and bytes as base64
                self.session.on_control(line)
        if len(self.rest) > io.engine.options.max_http_buffer_size:
            self.abort()

    def connection_lost(self, error: Exception | None):
        session, self.session = self.session, None
        if session is not None:
            session.transport_closed(self, "transport close")

    # what a session asks for

    @property
    def buffered(self):
        return self.tcp.get_write_buffer_size()

    def send(self, encoded: madang.Encoded):
        if self.buffered > io.engine.options.outbound_limit:
            io.engine.over_limit(self.session)
            return
        parts = [encoded.text] if encoded.text else []
        parts += [b"b" + base64.b64encode(data) for data in encoded.attachments]
        self.tcp.write(b"".join(part + b"\n" for part in parts))

    def send_control(self, packet: bytes):
        self.tcp.write(packet + b"\n")

    def close(self, code: int = 1000, *, linger: bool = True):
        self.session = None
        self.tcp.close()

    def abort(self):
        self.connection_lost(None)
        self.tcp.abort()

    def pause_reading(self):
        self.tcp.pause_reading()

    def resume_reading(self):
        self.tcp.resume_reading()


async def main():
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    running = await io.start(port=int(os.environ.get("PORT", "3000")))  # the engine is on this loop from here on
    lines = await loop.create_server(Lines, "127.0.0.1", int(os.environ.get("LINES_PORT", "3001")))
    async with lines:
        await stop.wait()
        await running.stop()  # which closes the lines as well


if __name__ == "__main__":
    asyncio.run(main())
