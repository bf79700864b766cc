"""The decision on each request: who asks, may they, and how a refusal is answered."""

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
)
from csms_redis.access.clients import Client, recognise
from csms_redis.access.throttle import MAX_DELAY, Throttle
from csms_redis.contract.errors import Forbidden, Problem, TooManyRequests, Unauthorized
from csms_redis.settings import Role

_MAX_RECOGNISED: Final = 256
_QUIET: Final = 10.0  # seconds between two lines in the log about failed attempts
_log = structlog.get_logger()


class Refused(Exception):
    """The request is not to be served."""

    def __init__(self, problem: Problem, delay: float = 0.0, *, client: str | None = None) -> None:
        """Answer `problem`, after `delay` seconds; to a `client`, if it is known which."""
        super().__init__(problem.error)
        self.client = client
        self.problem = problem
        self.delay = delay


class Gate:
    """Who may do what; both the front protocol and aiohttp ask it."""

    def __init__(self, trusted_proxies: Collection[Network] = ()) -> None:
        """Let everyone in until there are clients.

        Args:
            trusted_proxies: whose word on where a request comes from is believed.
        """
        self.failures = 0  # attempts with wrong credentials
        self.changed: Callable[[], None] = lambda: None
        self._clients: tuple[Client, ...] | None = None
        self._trusted = trusted_proxies
        self._throttle = Throttle()
        # Only right ones, so no attacker fills it. Its keys are compared after their keyed hashes
        # only, and so tell nothing by the time they take.
        self._recognised: dict[bytes, Client] = {}
        self._told = -_QUIET
        self._untold = 0

    def use(self, clients: tuple[Client, ...]) -> None:
        """Let only these in from now on, and forget what was decided before."""
        self._clients = clients
        self._recognised.clear()
        self.changed()

    @property
    def open_to_all(self) -> bool:
        """Whether everyone may call."""
        return self._clients is None

    def origin(self, peer: str, forwarding: Forwarding) -> str:
        """Where a request comes from, for the log.

        Args:
            peer: the address of its connection's other end.
            forwarding: what proxies say of it.
        """
        if not self._trusted:  # to read an address takes some microseconds
            return peer or UNKNOWN
        return str(origin(peer, forwarding, self._trusted) or UNKNOWN)

    def admit(
        self,
        role: Role | None,
        authorization: bytes | None,
        transport: asyncio.BaseTransport | None,
        forwarding: Forwarding,
    ) -> str | None:
        """Let a request in.

        Args:
            role: that it needs; None where any client's will do.
            authorization: the value of its header.
            transport: over which it came; None where that has ended.
            forwarding: what proxies say of where it comes from.

        Returns:
            The client's name; None while everyone may call.

        Raises:
            Refused: it may not.
        """
        if self._clients is None:
            return None
        if authorization is None:
            raise Refused(Unauthorized("Credentials are needed: HTTP Basic or Bearer."))
        client = self._recognised.get(authorization) or self._recognise(authorization)
        if client is None:
            raise self._failed(client_address(peer_of(transport), forwarding, self._trusted))
        if role is not None and role not in client.roles:
            problem = Forbidden(f"This needs the role {role}, which this client has not.")
            raise Refused(problem, client=client.name)
        return client.name

    def _recognise(self, authorization: bytes) -> Client | None:
        given = credentials.read(authorization)
        client = recognise(self._clients or (), given) if given else None
        if client is not None:
            if len(self._recognised) >= _MAX_RECOGNISED:
                self._recognised.clear()
            self._recognised[authorization] = client
        return client

    def _failed(self, address: str) -> Refused:
        now = monotonic()
        delay = self._throttle.delay(address, now)
        self.failures += 1
        self._untold += 1
        if now - self._told >= _QUIET:
            _log.warning("wrong credentials", attempts=self._untold, remote=address)
            self._told, self._untold = now, 0
        if delay is None:
            return Refused(TooManyRequests(int(MAX_DELAY)))
        return Refused(Unauthorized("The credentials are wrong.", wrong=True), delay)
