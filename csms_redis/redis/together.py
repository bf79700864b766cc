"""Commands of one turn of the event loop, which are sent together."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol

from csms_redis.contract.errors import OutcomeUnknown
from csms_redis.redis.connections import Command
from csms_redis.redis.outcomes import UNKNOWN

MOST: Final = 20
"""Commands that are sent together. More would wait for each other's replies."""

_ALIKE: Final = 0.05  # seconds: what has less time than the first by more goes by itself

_NOTHING: Final = object()  # was said, because who sends them all was cancelled


class SendAll(Protocol):
    """Sends commands; for each what was said to it."""

    async def __call__(self, commands: Sequence[Command], *, within: float) -> list[Any]:
        """Send them, to be answered within some seconds."""


class _Group:
    """Commands that wait for the end of this turn; the first one's caller will send them."""

    __slots__ = ("commands", "others", "within")

    def __init__(self, command: Command, within: float) -> None:
        self.commands = [command]
        self.within = within
        self.others: list[asyncio.Future[Any]] = []  # of whom the commands after the first are

    def takes(self, within: float) -> bool:
        return len(self.commands) < MOST and abs(within - self.within) < _ALIKE

    def answer(self, said: list[Any]) -> None:
        for number, waiting in enumerate(self.others, start=1):
            if not waiting.done():
                waiting.set_result(said[number] if said else _NOTHING)


class Together:
    """Sends each command with those that are given in the same turn of the event loop.

    One system call sends them all and one brings the replies. It makes no task: who gave the first
    command sends them all.
    """

    __slots__ = ("_group", "_send_all")

    def __init__(self, send_all: SendAll) -> None:
        """Send nothing yet.

        Args:
            send_all: sends commands.
        """
        self._send_all = send_all
        self._group: _Group | None = None  # which others may join

    async def send(self, command: Command, *, within: float) -> Any:
        """Send a command.

        Args:
            command: with its arguments.
            within: seconds in which it must be answered.

        Returns:
            What was said to it.

        Raises:
            OutcomeUnknown: the caller that was to send it was cancelled.
        """
        group = self._group
        if group is not None and group.takes(within):
            waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            group.commands.append(command)
            group.others.append(waiting)
            own = await waiting
            if own is _NOTHING:
                raise OutcomeUnknown(UNKNOWN)
            return own
        group = self._group = _Group(command, within)
        said: list[Any] = []
        try:
            await asyncio.sleep(0)
            self._close(group)
            said = await self._send_all(group.commands, within=within)
        finally:
            self._close(group)
            group.answer(said)
        return said[0]

    def _close(self, group: _Group) -> None:
        if self._group is group:
            self._group = None
