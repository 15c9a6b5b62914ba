"""Say something from a script without asyncio, and wait until everybody has heard it.

Start ``python examples/client/server.py``, then ``python examples/client/script.py hello``; URL in the environment
names another server.
"""

import os
import sys

import madang


def main():
    text = " ".join(sys.argv[1:]) or "hello"
    with madang.SyncClient(os.environ.get("URL", "http://localhost:3000"), timeout=5) as client:
        heard = client.events("said")
        answer = client.emit_with_ack("say", text, timeout=5)
        print("ok" if answer == {"ok": True} else answer)
        print("heard:", heard.receive(timeout=5).data["text"])


if __name__ == "__main__":
    try:
        main()
    except (madang.ConnectError, madang.ConnectionFailed, madang.AckTimeout, madang.SocketClosed) as error:
        sys.exit(f"{type(error).__name__}: {error}")
