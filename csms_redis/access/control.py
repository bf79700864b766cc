"""Access control: who sends a request, whether they may, and how a refusal is answered."""

import asyncio
from collections.abc import Callable, Collection
from time import monotonic
from typing import Final

import structlog

from csms_redis.access import credentials
from csms_redis.access.addresses import (
    UNKNOWN,
    Forwarding,
    Network,
    client_address,
    origin,
    peer_of,
    plain,
    plain_networks,
)
from csms_redis.access.clients import Client, called, recognise
from csms_redis.access.refusals import Reason, Refusals, printable
from csms_redis.access.throttle import MAX_DELAY, Throttle
from csms_redis.contract.errors import Forbidden, Problem, TooManyRequests, Unauthorized
from csms_redis.settings import Role

_MAX_RECOGNISED: Final = 256
"""Headers with right credentials that are remembered; before one more, all are forgotten."""

_log = structlog.get_logger()


class Refused(Exception):
    """The request must not be served.

    Attributes:
        problem: what is answered.
        delay: seconds after which it is answered.
        client: the client's name, if its credentials are right, but not its role.
    """

    def __init__(self, problem: Problem, delay: float = 0.0, *, client: str | None = None) -> None:
        """Have `problem` answered, after `delay` seconds."""
        super().__init__(problem.error)
        self.client = client
        self.problem = problem
        self.delay = delay


class AccessControl:
    """Decides who may do what. The front protocol and aiohttp's side both ask it.

    It knows the clients, counts and logs refusals, and slows failed attempts down. It does not read
    the clients' files, which `Security` does, and answers no request, which those who ask it do.

    Attributes:
        refusals: counts what was refused.
        changed: called when the clients or their secrets have changed, so that no earlier decision
            is used any more.
    """

    def __init__(self, trusted_proxies: Collection[Network] = ()) -> None:
        """Admit everyone until there are clients.

        Args:
            trusted_proxies: networks of the proxies that are believed when they say where a request
                comes from.
        """
        self.refusals = Refusals()
        self.changed: Callable[[], None] = lambda: None
        self._clients: tuple[Client, ...] | None = None
        self._trusted = plain_networks(trusted_proxies)
        self._throttle = Throttle()
        # By the header's value. Only right credentials are kept, so no attacker can fill it. A
        # dictionary compares a key only where its keyed hash is equal, so the time that this takes
        # tells nothing about the secrets.
        self._recognised: dict[bytes, Client] = {}

    def use(self, clients: tuple[Client, ...]) -> None:
        """Admit only these clients from now on, and forget every earlier decision."""
        self._clients = clients
        self._recognised.clear()
        self.changed()

    @property
    def open_to_all(self) -> bool:
        """Whether everyone may call."""
        return self._clients is None

    @property
    def knows_by_address(self) -> bool:
        """Whether the connection alone tells who sent a request: its headers need not be read."""
        return self._clients is None and not self._trusted

    def roles_of(self, name: str | None) -> frozenset[Role]:
        """The roles that a client has; all of them while everyone may call.

        Args:
            name: the client's, as `admit` gave it.
        """
        if self._clients is None:
            return frozenset(Role)
        return frozenset().union(*(each.roles for each in self._clients if each.name == name))

    def origin(self, peer: str, forwarding: Forwarding) -> str:
        """Where a request comes from, for the log.

        Args:
            peer: the address at the other end of its connection.
            forwarding: where proxies say that it comes from.
        """
        if not self._trusted:  # saves some microseconds for reading the address
            return plain(peer) or UNKNOWN
        return str(origin(peer, forwarding, self._trusted) or UNKNOWN)

    def admit(
        self,
        role: Role | None,
        authorization: bytes | None,
        transport: asyncio.BaseTransport | None,
        forwarding: Forwarding,
        user_agent: bytes = b"",
    ) -> str | None:
        """Admit a request, or refuse it.

        Args:
            role: the role that the request needs; None where any client may send it.
            authorization: the value of its `Authorization` header.
            transport: the connection that it came over; None where that has ended.
            forwarding: where proxies say that it comes from.
            user_agent: the value of its `User-Agent` header, for the log.

        Returns:
            The client's name; None while everyone may call.

        Raises:
            Refused: the request must not be served.
        """
        if self._clients is None:
            return None
        client = None
        if authorization is not None:
            client = self._recognised.get(authorization) or self._recognise(authorization)
        if client is not None and (role is None or role in client.roles):
            return client.name
        peer = peer_of(transport)
        address = client_address(peer, forwarding, self._trusted)
        reason, name = self._reason(authorization, client)
        now = monotonic()
        untold = self.refusals.add(reason, address, now)
        if untold:
            _log.warning(
                "credentials refused",
                reason=reason.value,
                remote=self.origin(peer, forwarding),
                user_agent=printable(user_agent),
                **({} if name is None else {"client": name}),
                **({} if role is None else {"role": role.value}),
                requests=untold,
            )
        elif others := self.refusals.of_others(now):
            _log.warning("credentials refused of more addresses than are told", requests=others)
        if authorization is None:
            raise Refused(Unauthorized("Credentials are needed: HTTP Basic or Bearer."))
        if client is None:
            raise self._failed(address, now)
        problem = Forbidden(f"This needs the role {role}, which this client does not have.")
        raise Refused(problem, client=client.name)

    def caller(self, authorization: bytes | None, peer: str, forwarding: Forwarding) -> str:
        """Who sent a request that was admitted: a client's name, or where it comes from.

        Args:
            authorization: the value of its `Authorization` header.
            peer: the address at the other end of its connection.
            forwarding: where proxies say that it comes from.
        """
        if self._clients is not None and authorization is not None:
            client = self._recognised.get(authorization) or self._recognise(authorization)
            if client is not None:
                return client.name
        return self.origin(peer, forwarding)

    def _reason(
        self, authorization: bytes | None, client: Client | None
    ) -> tuple[Reason, str | None]:
        """Why a request is refused, and the name of the client that it claims to come from."""
        if authorization is None:
            return Reason.NONE, None
        if client is not None:
            return Reason.WRONG_ROLE, client.name
        given = credentials.read(authorization)
        named = called(self._clients or (), given.name) if given and given.name else None
        return (Reason.UNKNOWN, None) if named is None else (Reason.WRONG_SECRET, named.name)

    def _recognise(self, authorization: bytes) -> Client | None:
        given = credentials.read(authorization)
        client = recognise(self._clients or (), given) if given else None
        if client is not None:
            if len(self._recognised) >= _MAX_RECOGNISED:
                self._recognised.clear()
            self._recognised[authorization] = client
        return client

    def _failed(self, address: str, now: float) -> Refused:
        delay = self._throttle.delay(address, now)
        if delay is None:
            return Refused(TooManyRequests(int(MAX_DELAY)))
        return Refused(Unauthorized("The credentials are wrong.", wrong=True), delay)
