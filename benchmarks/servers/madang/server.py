"""madang on its native host; the argument is the port."""

import sys

from events import io


def say_ready(_: object) -> None:
    """Say that it listens."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    io.run(host="127.0.0.1", port=int(sys.argv[1]), on_start=say_ready, log_level="critical")
