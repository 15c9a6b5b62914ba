"""A chat on madang: rooms, presence, private notifications and an honest reconnect."""
