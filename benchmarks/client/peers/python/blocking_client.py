"""python-socketio's blocking client."""

from shared import Count, Task, ask_for_a_while, echo_for_a_while
from socketio import Client


def main() -> None:
    """Do the task."""
    task, count = Task.given(), Count()
    client = Client()

    @client.on("echo")
    def echo(payload: str) -> None:
        count.echoes += 1
        if not count.over:
            client.emit("echo", payload)

    client.connect(task.url, transports=["websocket"])
    if task.kind == "event":
        echo_for_a_while(client, task, count)
    else:
        ask_for_a_while(client.call, task, count)
    client.disconnect()


if __name__ == "__main__":
    main()
