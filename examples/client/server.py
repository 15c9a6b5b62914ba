"""The server that the other programs of this folder talk to: people say things, and sensors report.

Run it with ``python examples/client/server.py``; PORT=4000 in the environment takes another port.
"""

import os

import madang

io = madang.Server()
sensors = io.of("/sensors")
known: set[str] = set()


@io.on("say")
def say(socket: madang.Socket, text: str):
    io.emit("said", {"by": socket.id, "text": text})
    return {"ok": True}


@sensors.use
def authenticate(socket: madang.Socket):
    if socket.handshake.auth.get("token") != "secret":  # a real server looks the device up here
        raise madang.ConnectError("unknown device", data={"code": "unknown_device"})


@sensors.on("reading")
def reading(socket: madang.Socket, key: str, celsius: float):
    if key not in known:  # a device that got no answer sends a reading again; the second time it is only answered
        known.add(key)
        io.emit("reading", celsius)
    return {"ok": True}


@sensors.on("alive")
def alive(socket: madang.Socket):
    io.emit("alive", socket.id)


if __name__ == "__main__":
    io.run(port=int(os.environ.get("PORT", "3000")))
