"""The cluster over Redis, in the ways in which Node's servers use it."""
