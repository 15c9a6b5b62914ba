"""Notifications to one person, in all their tabs: one room a person.

Run it with ``python examples/notifications.py``; PORT=4000 in the environment takes another port. A page connects to
the namespace /notifications with ``auth: { user: "minji" }``, hears ``notification``, and emits ``notify`` with a name
and a text. The answer tells how many tabs it has reached.
"""

import os

import madang

io = madang.Server()
notifications = io.of("/notifications")


@notifications.use
def authenticate(socket: madang.Socket):
    user = socket.handshake.auth.get("user")  # a real server checks a token here
    if not isinstance(user, str) or not user:
        raise madang.ConnectError("who are you?", data={"code": "no_user"})
    socket.data["user"] = user


@notifications.on("connection")
def connected(socket: madang.Socket):
    socket.join(room_of(socket.data["user"]))


@notifications.on("notify")
async def notify(socket: madang.Socket, user: str, text: str):
    tabs = await notifications.in_(room_of(user)).fetch_sockets()
    if not tabs:
        raise madang.EventError(f"{user} is not here", code="away")
    send_notification(user, f"{socket.data['user']}: {text}")
    return len(tabs)


def send_notification(user: str, text: str):
    """May be called from anywhere in the program."""
    notifications.to(room_of(user)).emit("notification", text)


def room_of(user: str):
    return f"user:{user}"


if __name__ == "__main__":
    io.run(port=int(os.environ.get("PORT", "3000")))
