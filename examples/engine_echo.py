"""Engine.IO without Socket.IO: an echo for clients such as engine.io-client, on /engine.io/.

Run it with ``python examples/engine_echo.py``, or with ``madang run examples.engine_echo:engine``.
"""

import os

from madang.engine import Engine, Session

engine = Engine()


@engine.on("connection")
def connected(session: Session):
    @session.on("message")
    def echo(data: str | bytes):
        session.send(data)


if __name__ == "__main__":
    engine.run(port=int(os.environ.get("PORT", "3000")))
