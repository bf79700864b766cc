"""One connection to a Redis master for all reads: pipelined, in RESP3, with invalidations.

redis-py's asyncio client has neither automatic pipelining nor client-side caching; this protocol
has just these. Commands given within one turn of the event loop leave in one write. Replies and
invalidations arrive in the order in which Redis made them.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import hiredis

from csms_redis.redis.address import Address

_NOTHING = object()
_REDIRECTION = re.compile(r"(?:ASK|MOVED) [0-9]+ (?P<host>\S*):(?P<port>[0-9]{1,5})")
_BAR = ord("|")  # begins an attribute
_BEFORE_BAR = re.compile(rb"(?<=\n)(?=\|)")


class ReadError(Exception):
    """An error reply; its first word is the code that Redis gives it."""

    @property
    def code(self) -> str:
        """Such as `WRONGTYPE`, `LOADING` or `READONLY`."""
        return (str(self).split(maxsplit=1) or ["ERR"])[0]

    def points_to(self, asked: Address) -> Address | None:
        """The server that a `MOVED` or `ASK` names, given that which said so; None for others."""
        named = _REDIRECTION.fullmatch(str(self))
        return named and asked.at(named["host"], int(named["port"]))


class ConnectionBroken(ReadError):
    """The connection ended before the reply came."""


class Waiting(Protocol):
    """Something that waits for a reply."""

    def replied(self, reply: Any) -> None:
        """Take the reply, or a `ReadError` if no reply came."""


class _Call:
    """Gives a reply as a future, for the few commands outside the hot path."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def replied(self, reply: Any) -> None:
        if self.future.done():
            return
        if isinstance(reply, ReadError):
            self.future.set_exception(reply)
        else:
            self.future.set_result(reply)


class ReadConnection(asyncio.Protocol):
    """The read connection's protocol."""

    def __init__(
        self,
        *,
        invalidated: Callable[["ReadConnection", list[bytes] | None], None],
        caught_up: Callable[[], None],
        lost: Callable[["ReadConnection"], None],
    ) -> None:
        """Report to three callbacks.

        Args:
            invalidated: the keys that changed; None when any may have.
            caught_up: all replies that are here were handed to those who wait.
            lost: called once, when the connection has ended, before those who wait are told.
        """
        self._invalidated = invalidated
        self._caught_up = caught_up
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._transport: asyncio.Transport | None = None
        self._outbox: list[bytes] = []
        self.pending: deque[Waiting] = deque()
        self.ended = asyncio.Event()

    # The transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand each reply to what waits for it, in order."""
        if _BAR in data:
            data = self._look_for_attribute(data)
        if self._transport is None:
            return  # aborted: what comes now speaks for nothing
        reader = self._reader
        pending = self.pending
        asker: Waiting | None = None
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOTHING:
                if type(reply) is hiredis.PushNotification:
                    self._pushed(reply)
                elif not pending:
                    self.abort()
                    return
                else:
                    asker = pending.popleft()
                    if isinstance(reply, hiredis.ReplyError):
                        reply = ReadError(str(reply))
                    asker.replied(reply)
        except hiredis.ProtocolError:
            self.abort()
        except Exception:
            # whatever it was, nobody waits any more for a reply that may be another's
            self.abort()
            if asker is not None:
                asker.replied(_ended())
            raise
        finally:
            self._caught_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, then all that still wait."""
        del exc
        self._end()

    # What its owner does with it

    def send(self, command: bytes, waiting: Waiting) -> None:
        """Send an encoded command at the end of this turn of the loop."""
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(command)
        self.pending.append(waiting)

    def send_all(self, commands: Sequence[bytes], waiting: Waiting) -> None:
        """Send many encoded commands as `send` does; one waits for all the replies."""
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox += commands
        self.pending.extend([waiting] * len(commands))

    async def call(self, *words: bytes | str | int) -> Any:
        """Send one command and wait for its reply.

        Raises:
            ReadError: the reply is an error, or the connection ended.
        """
        return await self.ask(*words)

    def ask(self, *words: bytes | str | int) -> asyncio.Future[Any]:
        """Send one command; return the future that `call` waits for."""
        call = _Call()
        self.send(encode(*words), call)
        return call.future

    def abort(self) -> None:
        """End the connection at once: of what was received, nothing more is believed."""
        if self._transport is not None:
            self._transport.abort()
            self._end()

    def _end(self) -> None:
        if self._transport is not None:
            self._transport = None
            self.ended.set()
            self._lost(self)
            self._break_pending()

    def _break_pending(self) -> None:
        pending = list(self.pending)
        self.pending.clear()
        for waiting in pending:
            waiting.replied(_ended())

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        if self._transport is None:
            self._break_pending()
        else:
            self._transport.write(b"".join(outbox))

    def _look_for_attribute(self, data: bytes) -> bytes:
        """End the connection at an attribute (RESP3); else give what is still to be read of `data`.

        An attribute belongs to the reply after it, but the reader gives it as one of its own: from
        there on everyone would get somebody else's. Redis sends none unless asked.
        """
        *before, last = _BEFORE_BAR.split(data)
        for piece in before:
            self.data_received(piece)
        if last[0] == _BAR and not self._reader.has_data():  # else it is in the middle of a value
            self.abort()
        return last

    def _pushed(self, push: Sequence[Any]) -> None:
        match push:
            case [b"invalidate", None]:
                self._invalidated(self, None)
            case [b"invalidate", [*keys]] if all(type(key) is bytes for key in keys):
                self._invalidated(self, keys)
            case [bytes(kind), *_] if kind != b"invalidate":
                pass  # of no concern to a cache
            case _:
                raise hiredis.ProtocolError("a push that makes no sense")


def _ended() -> ConnectionBroken:
    return ConnectionBroken("the connection to Redis ended")


def encode(*words: bytes | str | int) -> bytes:
    """A command as Redis reads it (RESP)."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)
