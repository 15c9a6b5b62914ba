"""madang's blocking client."""

from shared import Count, Task, ask_for_a_while, echo_for_a_while

import madang


def main() -> None:
    """Do the task."""
    task, count = Task.given(), Count()
    with madang.SyncClient(task.url, transports=["websocket"]) as client:

        @client.on("echo")
        def echo(payload: str) -> None:
            count.echoes += 1
            if not count.over:
                client.emit("echo", payload)

        if task.kind == "event":
            echo_for_a_while(client, task, count)
        else:
            ask_for_a_while(client.emit_with_ack, task, count)


if __name__ == "__main__":
    main()
