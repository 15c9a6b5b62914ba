"""A Quart application with a Socket.IO server around it: one port, and a route that emits.

Run it with ``python examples/quart_app.py``, or with any ASGI server: ``hypercorn examples.quart_app:app``. Post to it:
``curl -X POST "localhost:3000/say?text=hello"``. It needs quart.
"""

import os

from quart import Quart, request

import madang

api = Quart(__name__)
io = madang.Server()
app = madang.ASGIApp(io, api)


@api.post("/say")
async def say():
    io.emit("said", request.args["text"])
    return {"heard by": len(io.sockets)}


@io.on("say")
def said(socket: madang.Socket, text: str):
    io.emit("said", text)


if __name__ == "__main__":
    io.run(port=int(os.environ.get("PORT", "3000")), app=api)
