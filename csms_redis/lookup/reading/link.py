"""Keeps the read connection to one master up, and proves that it still speaks for the truth."""

import asyncio
import random
from contextlib import suppress
from time import monotonic
from typing import Any

import structlog

from csms_redis.contract.errors import Unavailable
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.reading.data_set_watch import DataSetWatch
from csms_redis.lookup.reading.failures import FAILURES, NOT_NOW, IsReplica, Unconfirmed, reason_of
from csms_redis.lookup.reading.lifetimes import UNTOLD, Lifetimes
from csms_redis.lookup.reading.read_connection import (
    ConnectionBroken,
    ReadConnection,
    ReadError,
    encode,
)
from csms_redis.redis.address import Address
from csms_redis.redis.names import blamed, connect
from csms_redis.redis.outcomes import NOT_THE_MASTER
from csms_redis.redis.topology import Topology
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.data_set import DataSet
from csms_redis.registry.layout import Layout, UnknownLayout
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN

LEASE = 3.0
"""Seconds that a probe holds from when it was sent: one is sent each second, and has two."""

CONFIRMATION = 5.0
"""Seconds for which others' word that this is a master holds.

After that it may be a former one that was cut off together with this process, and what it says is
as old as their last word: it is read on, and counts as stale, until that was `stale_if_error`
seconds ago.
"""

_PROBE_INTERVAL = 1.0  # seconds
_PROBE_TIMEOUT = 2.0  # seconds
_SOON = 0.02  # seconds from the first change to a look at whether anything has a time to live
_FIRST_DELAY, _LONGEST_DELAY = 0.02, 1.0  # seconds between attempts to connect
_log = structlog.get_logger()


class _Aside:
    """Keeps the reply to a command that is sent before those that are waited for."""

    def __init__(self) -> None:
        self.reply: Any = None

    def replied(self, reply: Any) -> None:
        self.reply = reply


class Link:
    """Connects `Lookups` to one master, again and again.

    A lease proves that the connection is to a master that answers: a probe each second, a `HELLO`
    and an `HMGET`, answered within two, and others' word for it within five. PING would not do: a
    master that was demoted or cut off answers it. HELLO tells the role as `ROLE` does, and no user
    can be forbidden to ask it.

    `run` goes through these states, and begins anew after each failure (`failures.FAILURES`), soon
    at first and then once a second:

    | state | what is done | what is served through it |
    |---|---|---|
    | connecting | `_connect`, then `_handshake` (user, database, tracking) | nothing |
    | proving | the first `_probe`, and the layout's version | nothing |
    | leased | `Lookups.connected`, then a `_probe` each second, which `_renew`s | fresh answers |
    | unleased | the same, without tracking: nothing is kept | what is read |
    | doubted | the same, 5 s after others' last word for it | what is read, as stale |
    | failed | the connection is aborted: `Lookups.lost` | what was known, as stale |

    The probe also reads the layout's version and the data set's identity, from the master that has
    them: no server tells that another data set was put under the connection.
    """

    def __init__(  # noqa: PLR0913 each is a word about the connection
        self,
        lookups: Lookups,
        topology: Topology,
        master: Address,
        *,
        prefix: bytes,
        timeout: float,
        layout: Layout | None = None,
        data_set: DataSet | None = None,
    ) -> None:
        """Connect `lookups` to `master`.

        Args:
            lookups: told of the connection, its lease and its invalidations.
            topology: told when something is wrong, asked who confirms the master.
            master: one of its.
            prefix: of every key.
            timeout: seconds to connect, and then to log in.
            layout: asked before anything is looked up, and told when it may have changed.
            data_set: told when its identity can be written, or is missing.
        """
        self.problem: str | None = "has not been reached yet"
        self.role = "unknown"
        """What the server said last that it is: master, replica or unknown."""
        self._lookups = lookups
        self._topology = topology
        self._address = master
        self._timeout = timeout
        self._layout = layout
        self._data_set = data_set
        self._watch: DataSetWatch | None = None  # of the present connection
        self._prefixes = [resource.key(prefix, "") for resource in (STATION, TOKEN, CERTIFICATE)]
        self._named = monotonic()  # by others, as a master
        self._doubted = False  # whether nobody confirms that
        self._read_unconfirmed = max(CONFIRMATION, lookups.stale_if_error)  # seconds
        self._said: str | None = None
        self._untracked: str | None = None  # why nothing can be kept
        self._lifetimes: Lifetimes | None = None  # of what the present connection fills
        self._untold: str | None = None  # why it is not known what has a time to live
        self._resp3 = True  # whether the server was found to speak it
        self._asked = _ASKED  # what it is asked; less when it hung up on the rest
        self._hangs_up = False  # whether that was so twice, and it answered without

    @property
    def leased(self) -> bool:
        """Whether what is read through it may be kept."""
        return any(
            source.master == self._address and source.lease_until > monotonic()
            for source in self._lookups.sources
        )

    def slots_changed(self) -> None:
        """Believe no more what the master said of times to live, until it is asked again.

        It is asked in the next probe: what is read until then ends as Redis says of each record.
        """
        if self._lifetimes is not None:
            self._lifetimes.changed(None)

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        delay = _FIRST_DELAY
        while True:
            started = monotonic()
            asked = self._asked
            try:
                await self._connect_and_hold()
            except FAILURES as failure:
                if self._asked != asked:
                    await asyncio.sleep(_FIRST_DELAY)
                    continue
                self._asked = _ASKED
                error = blamed(self._address.host, self._address.port, failure)
                lasted = monotonic() - started
                if lasted > _LONGEST_DELAY or (self.problem is None and lasted > delay):
                    delay = _FIRST_DELAY
                if not isinstance(error, IsReplica):
                    self.role = "unknown"
                self._say(error)
                self._topology.doubt()
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 jitter
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _connect_and_hold(self) -> None:
        self._refuse_unconfirmed()
        data_set = self._data_set
        self._watch = None if data_set is None else DataSetWatch(data_set.key, self._address.db)
        self._lifetimes = Lifetimes(self._address.db)
        connection = await self._connect()
        try:
            tracked = await self._handshake(connection)
            if not tracked:
                self._watch = self._lifetimes = None  # nothing is kept
            sent = await self._probe(connection)
            self._refuse_less()
            if self._layout is not None:
                self._layout.unwatched(self._address)
                await self._layout.admit(self._address)
                _refuse_ended(connection)
            self._lookups.connected(self._address, connection, self._lifetimes)
            self._renew(connection, sent, tracked=tracked)
            self._reached(tracked=tracked)
            await self._compare_data_sets(connection)
            if data_set is not None and data_set.is_at(self._address):
                data_set.reached()
            while True:
                with suppress(TimeoutError):
                    until = min(sent + _PROBE_INTERVAL, self._read_until)
                    async with asyncio.timeout(max(0, until - monotonic())):
                        await connection.ended.wait()
                self._refuse_unconfirmed()
                sent = await self._probe(connection)
                await self._refuse_unknown()
                await self._compare_data_sets(connection)
                self._renew(connection, sent, tracked=tracked)
        finally:
            connection.abort()
            if self._layout is not None:
                self._layout.unwatched(self._address)

    def _refuse_less(self) -> None:
        """Let a server that hung up on a question, and answers the others, be asked all once more.

        A proxy such as twemproxy hangs up on what it does not know, and always does. A server that
        ended or was demoted at that moment does not, and is not to be without a near cache for it.
        """
        if self._asked == _ASKED:
            self._hangs_up = False
        elif not self._hangs_up:
            self._hangs_up = True
            self._asked = _ASKED
            raise ConnectionBroken("it is asked again")

    def _renew(self, connection: ReadConnection, sent: float, *, tracked: bool) -> None:
        confirmed = self._topology.confirmed(self._address)
        until = min(sent + LEASE, confirmed + CONFIRMATION) if tracked else 0.0
        confirmed_until = self._confirmed + CONFIRMATION
        # one that nobody else takes for the master proves nothing by answering
        self._lookups.renew(
            connection, sent=min(sent, confirmed), until=until, confirmed_until=confirmed_until
        )
        doubted, self._doubted = self._doubted, confirmed_until <= monotonic()
        if self._doubted and not doubted:
            _log.warning(
                "what Redis answers counts as stale",
                redis=str(self._address),
                reason="nobody else confirms that it is the master",
            )

    @property
    def _confirmed(self) -> float:
        """When others last took it for a master (monotonic seconds)."""
        return max(self._named, self._topology.confirmed(self._address))

    @property
    def _read_until(self) -> float:
        return self._confirmed + self._read_unconfirmed

    def _refuse_unconfirmed(self) -> None:
        if monotonic() >= self._read_until:
            raise Unconfirmed(
                f"is read no more: for {self._read_unconfirmed:g} s nobody else has confirmed that "
                "it is the master"
            )

    async def _refuse_unknown(self) -> None:
        """Read the layout's version again where it has changed.

        Where it is another's, what was known before is served as while Redis is away.

        Raises:
            UnknownLayout: it is not this program's.
        """
        if self._layout is None:
            return
        try:
            await self._layout.admit(self._address)
        except UnknownLayout:
            raise
        except Unavailable:
            pass  # it was this program's when it was read last

    async def _compare_data_sets(self, connection: ReadConnection) -> None:
        """Forget what was known by this connection if it reads another data set now."""
        watch, data_set = self._watch, self._data_set
        if watch is None or data_set is None:
            return
        async with asyncio.timeout(_PROBE_TIMEOUT):
            another = await watch.is_another(connection, data_set.mark)
        if another:
            _log.warning(
                "another data set: what was known is forgotten",
                redis=str(self._address),
                reason="its identity differs",
            )
            self._invalidated(connection, None)
        if watch.problem == "NOPERM":
            data_set.unusable("it may not be read")
        if watch.is_missing and another:
            data_set.missing()

    def _invalidated(self, connection: ReadConnection, keys: list[bytes] | None) -> None:
        if self._watch is not None:
            self._watch.invalidated(keys)
        if self._layout is not None and (keys is None or self._layout.key in keys):
            self._layout.changed()
        if self._lifetimes is not None and self._lifetimes.changed(keys):
            asyncio.get_running_loop().call_later(_SOON, self._ask_lifetimes, connection)
        self._lookups.invalidated(connection, keys)

    async def _connect(self) -> ReadConnection:
        loop = asyncio.get_running_loop()
        address = self._address

        def protocol() -> ReadConnection:
            return ReadConnection(
                invalidated=self._invalidated,
                caught_up=self._lookups.deliver,
                lost=self._lookups.lost,
            )

        async with asyncio.timeout(self._timeout):
            if address.path:
                _, connection = await loop.create_unix_connection(protocol, address.path)
            else:
                context = await address.tls.context() if address.tls else None
                connected = await connect(address.host, address.port)
                _, connection = await loop.create_connection(
                    protocol,
                    sock=connected,
                    ssl=context,
                    server_hostname=address.host if context else None,
                )
        return connection

    async def _handshake(self, connection: ReadConnection) -> bool:
        """Log in, choose the database, switch tracking on; whether it is on."""
        address = self._address
        async with asyncio.timeout(self._timeout):
            auth: tuple[str, ...] = ()
            if address.password is not None:
                auth = ("AUTH", address.username or "default", address.password)
            self._untracked = await self._hello(connection, auth)
            self._resp3 = self._untracked is None
            if not self._resp3 and address.password is not None:
                user = (address.username,) if address.username else ()
                await connection.call("AUTH", *user, address.password)
            if address.db:
                await connection.call("SELECT", address.db)
            if not self._lookups.caches or not self._resp3:
                return False
            beside = [each.key for each in (self._layout, self._data_set) if each is not None]
            tracked = [*self._prefixes, *beside]
            prefixes = [word for prefix in tracked for word in (b"PREFIX", prefix)]
            try:
                await connection.call("CLIENT", "TRACKING", "ON", "BCAST", *prefixes)
            except ReadError as error:
                if isinstance(error, ConnectionBroken) or error.code in NOT_THE_MASTER:
                    raise
                self._untracked = f"it refuses CLIENT TRACKING ({error.code})"
                return False
            return True

    async def _hello(self, connection: ReadConnection, auth: tuple[str, ...]) -> str | None:
        """Ask for RESP3, and log in; why it is not spoken, None where it is."""
        if "HELLO" not in self._asked:
            return "it hangs up on HELLO"
        try:
            await connection.call("HELLO", 3, *auth, "SETNAME", "csms-redis")
        except ConnectionBroken:
            self._asked -= {"HELLO"}
            raise
        except ReadError as error:
            if error.code in NOT_NOW:
                raise
            return "it does not speak RESP3"
        return None

    async def _probe(self, connection: ReadConnection) -> float:
        """Prove that this is a master that reads; when the question left (monotonic seconds)."""
        role: bytes | BaseException | None
        values: Any
        sent = monotonic()
        key = self._topology.sample_key(self._address, self._prefixes[0])
        layout = self._ask_beside(connection)
        self._ask_lifetimes(connection)
        async with asyncio.timeout(_PROBE_TIMEOUT):
            values, role = await asyncio.gather(
                connection.call("HMGET", key, "securityProfile") if key else _nothing(),
                self._role(connection),
                return_exceptions=True,
            )
        if isinstance(role, BaseException):
            raise role
        # someone's key of another type is no fault: Redis read it; nor is a slot that moves
        if isinstance(values, BaseException) and getattr(values, "code", None) not in _READ_ANYWAY:
            raise values
        self.role = _ROLES.get(role or b"", "unknown")
        if role not in {b"master", None}:
            raise IsReplica
        _refuse_ended(connection)
        if layout is not None and self._layout is not None:
            self._layout_found(layout.reply)
        self._say_untold()
        return sent

    def _ask_beside(self, connection: ReadConnection) -> _Aside | None:
        """Ask for the identity and the layout's version where they are; who takes the latter."""
        if self._watch and self._data_set and self._data_set.is_at(self._address):
            self._watch.ask(connection)
        if self._layout is None or not self._layout.is_at(self._address):
            return None
        layout = _Aside()
        connection.send(encode("GET", self._layout.key), layout)
        return layout

    def _layout_found(self, reply: Any) -> None:
        assert self._layout is not None  # noqa: S101 it was asked for
        if reply is None or isinstance(reply, bytes):
            self._layout.found(reply)
        elif isinstance(reply, ReadError) and reply.code == "WRONGTYPE":
            self._layout.changed()

    def _ask_lifetimes(self, connection: ReadConnection) -> None:
        if self._lifetimes is not None and not connection.ended.is_set():
            self._lifetimes.ask(connection)

    def _say_untold(self) -> None:
        """Say once what Redis does not tell of times to live."""
        untold = self._lifetimes.problem if self._lifetimes is not None else None
        if untold is not None and untold != self._untold:
            self._untold = untold
            _log.warning(
                "which records have a time to live is not known",
                redis=str(self._address),
                reason=untold,
                effect=f"an answer is kept {UNTOLD:g} s where Redis does not tell when it ends",
                remedy="see Rights in deploy/install.md",
            )

    async def _role(self, connection: ReadConnection) -> bytes | None:
        """The server's role; None where it has no way to tell."""
        if self._resp3:
            hello: Any = await connection.call("HELLO", 3)
            return hello.get(b"role", b"unknown") if isinstance(hello, dict) else b"unknown"
        if "ROLE" not in self._asked:
            return None
        try:
            role: Any = await connection.call("ROLE")
        except ConnectionBroken:
            self._asked -= {"ROLE"}
            raise
        except ReadError as error:
            if error.code in NOT_THE_MASTER:
                raise
            return None
        return role[0] if isinstance(role, list) and role else None

    def _reached(self, *, tracked: bool) -> None:
        self.problem = None
        self._said = None
        _log.info(
            "Redis reached",
            redis=str(self._address),
            near_cache=tracked,
            # in all, since the start: what the time without it did to lookups
            stale_answers=self._lookups.stale_answers,
            refused=self._lookups.refused,
        )
        if self._untracked is not None:
            _log.warning(
                "every lookup is read from Redis, none is kept",
                redis=str(self._address),
                reason=self._untracked,
            )

    def _say(self, error: BaseException) -> None:
        refused = isinstance(error, UnknownLayout | Unconfirmed)
        if refused:
            reason = self.problem = str(error)
        else:
            reason = reason_of(error)
            self.problem = f"cannot be reached: {reason}"
        if reason == self._said:
            return
        self._said = reason
        if refused:
            _log.error("Redis is not used", redis=str(self._address), reason=reason)
        else:
            _log.warning("Redis cannot be reached", redis=str(self._address), reason=reason)


_ASKED = frozenset(["HELLO", "ROLE"])
_ROLES = {b"master": "master", b"replica": "replica", b"slave": "replica"}
_READ_ANYWAY = frozenset(["ASK", "MOVED", "TRYAGAIN", "WRONGTYPE"])


async def _nothing() -> None:
    """For a master that no key can be asked of."""


def _refuse_ended(connection: ReadConnection) -> None:
    if connection.ended.is_set():
        raise ConnectionBroken("the connection ended after its last reply")
