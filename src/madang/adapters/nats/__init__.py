"""The cluster over NATS, in a way of our own: Node has none."""
