"""Plain sockets that are read as soon as something arrives on them."""

import asyncio
import select
from collections.abc import Coroutine
from typing import Any, Final, Protocol

_IN_ONE_TURN: Final = 100  # sockets that are read in one turn of the event loop


class Readable(Protocol):
    """Whoever owns a socket."""

    def read(self) -> None:
        """Read it: something has arrived, or the client has left."""


class SocketSet:
    """Waits until something arrives on the plain sockets of a listener.

    They are in one epoll set, at which the event loop looks as at one file. A reader of the event
    loop for each would take eight system calls of its own; this takes one.
    """

    def __init__(self) -> None:
        """Watch none yet."""
        self._owners: dict[int, Readable] = {}
        self._poll = select.epoll()  # from the start: later there may be no descriptor left for it
        self._is_read = False
        self._moves: set[asyncio.Task[None]] = set()

    def watch(self, descriptor: int, owner: Readable) -> None:
        """Have the owner read as soon as something arrives.

        Raises:
            OSError: no more can be watched (epoll_ctl(2)).
        """
        if not self._is_read:
            self._is_read = True
            asyncio.get_running_loop().add_reader(self._poll.fileno(), self._arrived)
        self._poll.register(descriptor, select.EPOLLIN)
        self._owners[descriptor] = owner

    def unwatch(self, descriptor: int) -> None:
        """Let it read no more; its socket stays open."""
        self._poll.unregister(descriptor)
        del self._owners[descriptor]

    def closes(self, descriptor: int) -> None:
        """Let it read no more; its socket closes, which takes it out of the set."""
        del self._owners[descriptor]

    def _arrived(self) -> None:
        for descriptor, _ in self._poll.poll(0, _IN_ONE_TURN):
            owner = self._owners.get(descriptor)
            if owner is not None:  # what another did in this turn may have closed it
                owner.read()

    def move(self, moving: Coroutine[Any, Any, None]) -> None:
        """Run what makes a transport of a plain socket, and keep it until it is done."""
        move = asyncio.create_task(moving)
        self._moves.add(move)
        move.add_done_callback(self._moves.discard)

    def close(self) -> None:
        """Watch no more; there are no connections left."""
        if self._is_read:
            asyncio.get_running_loop().remove_reader(self._poll.fileno())
        self._poll.close()
