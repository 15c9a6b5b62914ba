"""What an event is in Python: handlers, their signatures, acknowledgements, and the order in which they run."""

from .acks import Ack
from .replies import Replies, Reply, ReplyStream

__all__ = ["Ack", "Replies", "Reply", "ReplyStream"]
