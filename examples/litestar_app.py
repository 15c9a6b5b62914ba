"""A Litestar application with a Socket.IO server around it: one port, and a route that emits.

Run it with ``python examples/litestar_app.py``, or with any ASGI server: ``uvicorn examples.litestar_app:app``. Post to
it: ``curl -X POST "localhost:3000/say?text=hello"``. It needs litestar.
"""

import os

from litestar import Litestar, post

import madang

io = madang.Server()


@post("/say")
async def say(text: str) -> dict[str, int]:
    io.emit("said", text)
    return {"heard by": len(io.sockets)}


@io.on("say")
def said(socket: madang.Socket, text: str):
    io.emit("said", text)


app = madang.ASGIApp(io, Litestar([say], logging_config=None))


if __name__ == "__main__":
    io.run(port=int(os.environ.get("PORT", "3000")), app=app.app)
