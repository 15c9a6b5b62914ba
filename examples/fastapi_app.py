"""A FastAPI application with a Socket.IO server around it: one port, routes that emit, shared dependencies.

Run it with ``python examples/fastapi_app.py``, or with any ASGI server: ``uvicorn examples.fastapi_app:app``. Open
http://localhost:3000, and post to it: ``curl -X POST "localhost:3000/say?text=hello"``. It needs fastapi.
"""

import os

from fastapi import Depends, FastAPI, Header
from fastapi.responses import HTMLResponse

import madang
from madang.fastapi import Inject

PAGE = """<!doctype html>
<title>madang and FastAPI</title>
<ul></ul>
<script type="module">
  import { io } from "https://cdn.socket.io/4.8.1/socket.io.esm.min.js";
  io().on("said", (text) => {
    document.querySelector("ul").append(Object.assign(document.createElement("li"), { textContent: text }));
  });
</script>
"""

api = FastAPI()
io = madang.Server()
app = madang.ASGIApp(io, api)
inject = Inject(api)


def greeting(accept_language: str = Header("en")) -> str:
    return "안녕" if accept_language.startswith("ko") else "Hello"


@api.get("/")
def page():
    return HTMLResponse(PAGE)


@api.post("/say")
def say(text: str):  # runs in a thread; emitting from there is fine
    io.emit("said", text)
    return {"heard by": len(io.sockets)}


@io.on("say")
def said(socket: madang.Socket, text: str):
    io.emit("said", text)


@api.get("/greet")
def greet(name: str, word: str = Depends(greeting)):
    return f"{word}, {name}!"


@io.on("greet")
@inject
def greeted(socket: madang.Socket, name: str, word: str = Depends(greeting)):  # the same, by an event
    return f"{word}, {name}!"


if __name__ == "__main__":
    io.run(port=int(os.environ.get("PORT", "3000")), app=api)
