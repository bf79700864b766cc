"""Commands of one turn of the event loop, which are sent together."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol

from csms_redis.contract.errors import OutcomeUnknown, Unavailable
from csms_redis.redis.connections import Command
from csms_redis.redis.outcomes import UNKNOWN, Redirected

MOST: Final = 20
"""Commands that are sent together. More would wait for each other's replies."""

_ALIKE: Final = 0.05  # seconds: what has less time than the first by more goes by itself


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

    def answer(self, replies: list[Any]) -> None:
        for waiting, reply in zip(self.others, replies[1:], strict=True):
            if not waiting.done():
                waiting.set_result(reply)


class Together:
    """Sends each command with those that are given in the same turn of the event loop.

    One system call sends them all and one brings the replies: with 64 clients that write at once, a
    write costs a tenth less. It makes no task: who gave the first command sends them all.
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
            What was said to it, or the exception that tells why there is no reply.
        """
        group = self._group
        if group is not None and group.takes(within):
            reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            group.commands.append(command)
            group.others.append(reply)
            return await reply
        group = self._group = _Group(command, within)
        replies: list[Any] = []
        try:
            await asyncio.sleep(0)
            self._close(group)
            replies = await self._send_all(group.commands, within=within)
        except (Unavailable, Redirected) as reason:
            replies = [reason] * len(group.commands)
        finally:
            self._close(group)
            group.answer(replies or [OutcomeUnknown(UNKNOWN)] * len(group.commands))
        return replies[0]

    def _close(self, group: _Group) -> None:
        if self._group is group:
            self._group = None
