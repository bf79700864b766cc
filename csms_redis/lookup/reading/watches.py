"""What is watched on a read connection besides its records: layout, data set, times to live."""

import asyncio
from typing import Any, Final

import structlog

from csms_redis.contract.errors import Unavailable
from csms_redis.lookup.reading.data_set_watch import DataSetWatch
from csms_redis.lookup.reading.lifetimes import UNTOLD, Lifetimes
from csms_redis.lookup.reading.read_connection import ReadConnection, ReadError, encode
from csms_redis.redis.address import Address
from csms_redis.redis.own_slots import OwnSlots, read_own_slots
from csms_redis.registry.data_set import DataSet
from csms_redis.registry.layout import Layout, UnknownLayout

LOOK_AFTER: Final = 0.02
"""Seconds from the first change to a look at whether anything has a time to live."""

_log = structlog.get_logger()


class Watches:
    """Watches, on the connections to one master, what no invalidation of a record tells.

    - The layout's version, and the data set's identity, where that master has them: no server tells
      that another data set was put under the connection.
    - Whether anything has a time to live.
    - Which slots the master of a cluster has, and whether one of them is moving.

    They are asked for with each probe, and taken from what Redis says has changed. What follows
    from it for the answers that are known, `Link` decides.
    """

    def __init__(
        self,
        master: Address,
        layout: Layout | None,
        data_set: DataSet | None,
        *,
        clustered: bool = False,
    ) -> None:
        """Watch nothing yet; `begin` does.

        Args:
            master: whose connections these are.
            layout: told when its version may have changed; None to watch none.
            data_set: told of its identity; None to watch none.
            clustered: whether the master has slots.
        """
        self.own_slots: OwnSlots | None = None
        """Which slots the master said last that it has; None where it did not."""
        self._nodes: _Reply | None = _Reply() if clustered else None
        self.lifetimes: Lifetimes | None = None
        """Of the records that the present connection reads; None where nothing is kept."""
        self._master = master
        self._layout = layout
        self._data_set = data_set
        self._identity: DataSetWatch | None = None  # on the present connection
        self._version: _Reply | None = None  # of the layout, if it was asked for
        self._reported: str | None = None  # why times to live are not known

    def begin(self) -> None:
        """Begin with a new connection."""
        master, data_set = self._master, self._data_set
        self._identity = None if data_set is None else DataSetWatch(data_set.key, master.db)
        self.lifetimes = Lifetimes(master.db)

    def keep_nothing(self) -> None:
        """The connection tells of no changes: nothing is kept that may end or be another's."""
        self._identity = self.lifetimes = None

    def ask(self, connection: ReadConnection) -> None:
        """Ask for all that is watched; `answered` takes it once later commands were answered."""
        if self._identity and self._data_set and self._data_set.is_at(self._master):
            self._identity.ask(connection)
        self._version = None
        if self._layout is not None and self._layout.is_at(self._master):
            self._version = _Reply()
            connection.send(encode("GET", self._layout.key), self._version)
        self._ask_lifetimes(connection)
        if self._nodes is not None:
            self._nodes = _Reply()
            connection.send(encode("CLUSTER", "NODES"), self._nodes)

    def answered(self) -> None:
        """Take the replies to what was asked."""
        if self._layout is not None and self._version is not None:
            self._take_version(self._layout, self._version.reply)
        self._report_lifetimes()
        if self._nodes is not None:
            self.own_slots = _own_slots(self._nodes.reply)

    def invalidated(self, connection: ReadConnection, keys: list[bytes] | None) -> None:
        """Take note of what Redis says has changed; None when anything may have."""
        if self._identity is not None:
            self._identity.invalidated(keys)
        if self._layout is not None and (keys is None or self._layout.key in keys):
            self._layout.changed()
        if self.lifetimes is not None and self.lifetimes.changed(keys):
            asyncio.get_running_loop().call_later(LOOK_AFTER, self._ask_lifetimes, connection)

    def slots_changed(self) -> None:
        """Believe no more what the master said of times to live, until it is asked again.

        It is asked in the next probe: what is read until then ends as Redis says of each record.
        """
        if self.lifetimes is not None:
            self.lifetimes.changed(None)

    # The layout's version

    async def admit_layout(self) -> None:
        """Read the layout's version on a new connection, before anything is looked up.

        Raises:
            UnknownLayout: it is not this program's.
            Unavailable: it cannot be read.
        """
        if self._layout is not None:
            self._layout.unwatched(self._master)
            await self._layout.admit(self._master)

    async def refuse_unknown_layout(self) -> None:
        """Read the layout's version again where it has changed.

        Where it is another's, what was known before is served as while Redis is away.

        Raises:
            UnknownLayout: it is not this program's.
        """
        if self._layout is None:
            return
        try:
            await self._layout.admit(self._master)
        except UnknownLayout:
            raise
        except Unavailable:
            pass  # it was this program's when it was read last

    def end(self) -> None:
        """The connection ends: nobody tells of the layout's changes any more."""
        if self._layout is not None:
            self._layout.unwatched(self._master)

    @staticmethod
    def _take_version(layout: Layout, reply: Any) -> None:
        if reply is None or isinstance(reply, bytes):
            layout.found(reply)
        elif isinstance(reply, ReadError) and reply.code == "WRONGTYPE":
            layout.changed()

    # The data set's identity

    def reached(self) -> None:
        """The master can be read: the identity is written where it has that."""
        if self._data_set is not None and self._data_set.is_at(self._master):
            self._data_set.reached()

    async def is_another_data_set(self, connection: ReadConnection) -> bool:
        """Whether the connection reads another data set than in the probe before."""
        identity, data_set = self._identity, self._data_set
        if identity is None or data_set is None:
            return False
        another = await identity.is_another(connection, data_set.mark)
        if identity.problem == "NOPERM":
            data_set.unusable("it may not be read")
        if identity.is_missing:
            data_set.missing()
        return another

    # Times to live

    def _ask_lifetimes(self, connection: ReadConnection) -> None:
        if self.lifetimes is not None and not connection.ended.is_set():
            self.lifetimes.ask(connection)

    def _report_lifetimes(self) -> None:
        """Log once what Redis does not tell of times to live."""
        problem = self.lifetimes.problem if self.lifetimes is not None else None
        if problem is not None and problem != self._reported:
            self._reported = problem
            _log.warning(
                "which records have a time to live is not known",
                redis=str(self._master),
                reason=problem,
                effect=f"an answer is kept {UNTOLD:g} s where Redis does not tell when it ends",
                remedy="see Rights in deploy/install.md",
            )


def _own_slots(reply: Any) -> OwnSlots | None:
    try:
        return read_own_slots(reply) if isinstance(reply, bytes) else None
    except ValueError:
        return None


class _Reply:
    """Keeps the reply to a command that is sent before one that is waited for."""

    __slots__ = ("reply",)

    def __init__(self) -> None:
        self.reply: Any = None

    def replied(self, reply: Any) -> None:
        self.reply = reply
