"""What an event is in Python: handlers, their signatures, acknowledgements, and the order in which they run."""

from .acks import Ack
from .event import Event

__all__ = ["Ack", "Event"]
