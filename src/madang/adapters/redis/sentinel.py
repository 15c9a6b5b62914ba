"""Hearing from sentinels of a new master, so that the old one is left at once, and not when it is made a replica."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any, Final

from .connection import BROKEN, RedisConnection, RedisConnector, backoff, command

logger = logging.getLogger("madang.adapters")

SWITCHED: Final = b"+switch-master"


class SentinelWatch:
    """Listens to one sentinel after the other.

    Args:
        connector: knows the sentinels, and is told of the new master.
        switched: called when there is one, with why.
    """

    def __init__(self, connector: RedisConnector, switched: Callable[[str], None]) -> None:
        self._connector = connector
        self._switched = switched
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running loop."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="madang Redis sentinels")

    async def close(self) -> None:
        """End."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _run(self) -> None:
        delays = backoff()
        for sentinel in itertools.cycle(self._connector.location.addresses):
            connection: RedisConnection | None = None
            try:
                connection = await self._connector.connect_to_sentinel(sentinel, self._take)
                connection.write(command(b"SUBSCRIBE", SWITCHED))
                delays = backoff()
                await asyncio.shield(connection.ended)
            except BROKEN as error:
                logger.debug("the sentinel %s:%d is not listened to: %s", *sentinel, error)
            finally:
                if connection is not None:
                    await connection.close()
            await asyncio.sleep(next(delays))

    def _take(self, reply: Any) -> None:
        """What a sentinel says: the name, the old address and the new one."""
        if type(reply) is not list or reply[0] != b"message":
            return
        told: Any = reply  # pyright: ignore[reportUnknownVariableType]
        service, _, _, host, port = told[2].decode().split(" ")
        if service == self._connector.location.service:
            self._connector.named = host, int(port)
            self._switched(f"the sentinels have made {host}:{port} the master")
