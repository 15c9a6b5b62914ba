"""The house itself, made once for all modules: the server with its two namespaces, the store and the tokens."""

from __future__ import annotations

import os
from pathlib import Path

import madang

from .store import Store
from .tokens import Tokens, load_secret

HERE = Path(__file__).parent
DATABASE = Path(os.environ.get("CHAT_DB") or HERE / "chat.db")

io = madang.Server()
chat = io.of("/chat")
notifications = io.of("/notifications")

store = Store(DATABASE)
tokens = Tokens(os.environ.get("CHAT_SECRET", "").encode() or load_secret(DATABASE.with_suffix(".secret")))
