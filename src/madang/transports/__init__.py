"""What moves messages between sessions and the network; the only modules that touch a socket or an ASGI callable."""
