"""What the bytes mean: Engine.IO v4 and Socket.IO v5 as pure functions, with no I/O, no clock and no loop."""
