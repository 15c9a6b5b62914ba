"""Connections to PostgreSQL, which asyncpg makes: what a URL says, TLS, passwords, and the statements."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from ...errors import OptionError
from ..link import retrieve
from .arrivals import SPACES

try:
    import asyncpg  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
except ImportError:
    raise OptionError("a cluster over PostgreSQL needs asyncpg: pip install 'madang[postgres]'") from None

logger = logging.getLogger("madang.adapters")

BROKEN: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    EOFError,
)
"""What means that a connection is of no more use, if it is not the answer to a statement."""

_PASSING: Final = ("08", "25006", "53", "57P")
"""How the codes of errors begin which say that the server, and not the statement, is at fault."""

_NOTIFY: Final = "SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS given (channel, payload)"
_PING: Final = "SELECT 1"


class Notification(NamedTuple):
    """What is sent.

    Attributes:
        channel: where to.
        payload: JSON; if there is an attachment, it ends where the attachment's number begins.
        attachment: what goes through the table.
    """

    channel: str
    payload: str
    attachment: bytes | None


class PostgresBroker:
    """Makes connections to one PostgreSQL.

    Args:
        url: where it is, as asyncpg understands it.
        timeout: seconds for connecting, and for any answer.
        table: the table of attachments.
    """

    name = "PostgreSQL"
    broken = BROKEN

    def __init__(self, url: str, timeout: float, table: str) -> None:
        self.timeout = timeout
        self._url = url
        self._table = table
        named = "application_name" in parse_qs(urlsplit(url).query)
        self._settings = None if named else {"application_name": "madang"}

    async def _connect(self) -> Any:
        connect: Any = asyncpg.connect  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return await connect(self._url, timeout=self.timeout, server_settings=self._settings)

    async def publishing(self) -> PublishingLine:
        """A connection that sends.

        Raises:
            PostgresError: no connection; one of `BROKEN`.
        """
        line = PublishingLine(await self._connect(), self._table)
        try:
            async with asyncio.timeout(self.timeout):
                await line.have_table()
        except BaseException:
            await line.close()
            raise
        return line

    async def listening(
        self, notified: Callable[[str, str], None], errand: Callable[[ListeningLine], Awaitable[None]]
    ) -> ListeningLine:
        """A connection that listens.

        Args:
            notified: called with the channel and payload of each notification.
            errand: what else there may be to do whenever the connection is used.

        Raises:
            PostgresError: no connection; one of `BROKEN`.
        """
        return ListeningLine(await self._connect(), self._table, notified, errand)


class _PostgresLine:
    """See `link.Line`."""

    def __init__(self, made: Any, table: str) -> None:
        self._made = made
        self._table = table
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended.add_done_callback(retrieve)
        made.add_termination_listener(self._terminated)

    def _terminated(self, _: object) -> None:
        if not self.ended.done():
            self.ended.set_exception(ConnectionResetError("PostgreSQL has closed the connection"))

    async def close(self) -> None:
        """End it."""
        if not self.ended.done():
            self.ended.set_result(None)
        self._made.terminate()


class PublishingLine(_PostgresLine):
    """See `outgoing.OutLine`."""

    def __init__(self, made: Any, table: str) -> None:
        super().__init__(made, table)
        self._attach = (
            f"WITH added AS (INSERT INTO {table} (payload) VALUES ($1::bytea) RETURNING id) "
            f"SELECT pg_notify($2::text, $3::text || id || '\"}}') FROM added"
        )

    async def have_table(self) -> None:
        """See that there is a table for attachments, or say what is missing."""
        if await self._made.fetchval("SELECT to_regclass($1)::text", self._table) is not None:
            return
        statement = (
            f"CREATE TABLE IF NOT EXISTS {self._table} "
            f"(id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea)"
        )
        try:
            await self._made.execute(statement)
        except (asyncpg.DuplicateTableError, asyncpg.UniqueViolationError):
            pass  # another server was as fast
        except asyncpg.PostgresError as error:
            if _passing(error):
                raise
            logger.warning(
                "the table %s cannot be made (%s); messages that hold bytes, or are longer than a notification may be, "
                "are lost until somebody does it: %s",
                self._table,
                error,
                statement,
            )

    async def send(self, items: Sequence[Notification]) -> Mapping[int, str]:
        """See `outgoing.OutLine`."""
        if not items:
            await self._made.fetchval(_PING)
            return {}
        refused: dict[int, str] = {}
        try:
            await self._send(items)
        except asyncpg.PostgresError as error:
            if _passing(error) or self._made.is_closed():
                raise
            if len(items) == 1:
                return {0: str(error)}
            for number, item in enumerate(items):  # nothing of it has left: see which of them it is
                for reason in (await self.send([item])).values():
                    refused[number] = reason
        return refused

    async def _send(self, items: Sequence[Notification]) -> None:
        """Send all or nothing, in order."""
        runs = [
            (plain, list(run)) for plain, run in itertools.groupby(_told_apart(items), lambda item: not item.attachment)
        ]
        if len(runs) == 1:
            await self._run(*runs[0])
            return
        async with self._made.transaction():
            for run in runs:
                await self._run(*run)

    async def _run(self, plain: bool, items: list[Notification]) -> None:
        if plain:
            await self._made.execute(_NOTIFY, [item.channel for item in items], [item.payload for item in items])
        else:
            attached = [(item.attachment, item.channel, item.payload) for item in items]
            await self._made.executemany(self._attach, attached)


def _passing(error: Any) -> bool:
    code: str = getattr(error, "sqlstate", None) or ""
    return code.startswith(_PASSING)


def _told_apart(items: Sequence[Notification]) -> list[Notification]:
    """The same; PostgreSQL sends equal notifications of one transaction only once, so they end in different spaces."""
    seen: dict[tuple[str, str], int] = {}
    different: list[Notification] = []
    for item in items:
        if item.attachment is None:
            key = item[:2]
            again = seen[key] = seen.get(key, -1) + 1
            if again:
                item = item._replace(payload=item.payload + _spaces(again))
        different.append(item)
    return different


def _spaces(number: int) -> str:
    """Spaces of JSON that stand for a number from 1 on."""
    spaces = ""
    while number:
        number, digit = divmod(number, len(SPACES))
        spaces += SPACES[digit]
    return spaces


class ListeningLine(_PostgresLine):
    """See `incoming.InLine`."""

    def __init__(
        self,
        made: Any,
        table: str,
        notified: Callable[[str, str], None],
        errand: Callable[[ListeningLine], Awaitable[None]],
    ) -> None:
        super().__init__(made, table)
        self._notified = notified
        self._errand = errand

    async def listen(self, more: Sequence[str], less: Sequence[str]) -> None:
        """See `incoming.InLine`."""
        for channel in more:
            await self._made.add_listener(channel, self._take)
        for channel in less:
            await self._made.remove_listener(channel, self._take)
        if not more and not less:
            await self._made.fetchval(_PING)
        await self._errand(self)

    def _take(self, _: object, __: int, channel: str, payload: str) -> None:
        if not self.ended.done():
            self._notified(channel, payload)

    async def attachments(self, numbers: Sequence[int], most: int) -> dict[int, bytes | None]:
        """What the table has under these numbers; None in place of more than so many bytes."""
        query = (
            f"SELECT id, CASE WHEN octet_length(payload) <= $2 THEN payload END AS payload "
            f"FROM {self._table} WHERE id = ANY ($1::bigint[])"
        )
        rows = await self._try("fetch", query, numbers, most)
        return {row["id"]: row["payload"] for row in rows or ()}

    async def clean(self, age: float) -> None:
        """Delete what is older than so many seconds."""
        await self._try(
            "execute", f"DELETE FROM {self._table} WHERE created_at < now() - make_interval(secs => $1)", age
        )

    async def _try(self, method: str, *args: Any) -> Any:
        """What a statement gives; None if PostgreSQL does not want to do that, which is no reason to hang up."""
        try:
            return await getattr(self._made, method)(*args)
        except asyncpg.PostgresError as error:
            if _passing(error) or self._made.is_closed():
                raise
            logger.warning("PostgreSQL refuses: %s; it was asked: %s", error, args[0])
            return None
