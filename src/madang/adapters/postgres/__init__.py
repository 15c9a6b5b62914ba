"""The cluster over PostgreSQL, in the way in which Node's servers use it."""
