"""A look at one server: what INFO and CONFIG GET say, or why they do not."""

import os
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from csms_redis.check.finding import Finding, error, ok, warning
from csms_redis.contract.errors import Unavailable
from csms_redis.redis.address import Address
from csms_redis.redis.node import Node
from csms_redis.redis.outcomes import AWAY, code_of
from csms_redis.redis.tls_failure import tls_failure

_CONFIG = (
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "save",
    "min-replicas-to-write",
    "min-replicas-max-lag",
)
_REPLICA = re.compile(r"slave\d+")


class Look:
    """At one server.

    Attributes:
        address: of the server.
        answers: whether it was reached, whatever it may be.
        info: what INFO says; empty where it is not known.
        config: what CONFIG GET says of what matters here; what is not known is not in it.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        """Take each answer within `timeout` seconds."""
        self.address = address
        self.answers = False
        self.info: dict[str, str] = {}
        self.config: dict[str, str] = {}
        self._timeout = timeout

    async def reach(self) -> None:
        """See whether it answers.

        Raises:
            Unavailable: it does not.
        """
        node = Node(self.address, max_connections=1)
        try:
            await self._reach(node)
        finally:
            await node.close()

    async def look(self) -> AsyncIterator[Finding]:
        """Fill `info` and `config`; what kept them empty is found."""
        # one command after the other needs one connection
        node = Node(self.address, max_connections=1)
        try:
            await self._reach(node)
        except Unavailable as unavailable:
            yield error("redis", f"{self.address}: {self._reason(unavailable)}")
        else:
            self.answers = True
            yield ok("redis", f"{self.address} answers")
            async for finding in self._ask(node):
                yield finding
        finally:
            await node.close()

    async def _reach(self, node: Node) -> None:
        """See whether it answers, be it with an error."""
        try:
            # what no user can be forbidden to ask
            (reply,) = await node.ask(("HELLO",), within=self._timeout)
        except Unavailable as unavailable:
            # a proxy may hang up on it, and not on what each of them knows
            try:
                (reply,) = await node.ask(("PING",), within=self._timeout)
            except Unavailable:
                raise unavailable from unavailable.__cause__
        if isinstance(reply, AuthenticationError):
            raise Unavailable(AWAY) from reply

    async def _ask(self, node: Node) -> AsyncIterator[Finding]:
        try:
            self.info = parse_info(await node.read("INFO", within=self._timeout))
        except Unavailable as unavailable:
            yield _not_looked_at(
                "INFO",
                "version, persistence, eviction policy, memory and replicas",
                unavailable,
                breaks="listings and exports end with an error; ",
            )
            return
        for name in _CONFIG:
            try:
                reply = await node.read("CONFIG", "GET", name, within=self._timeout)
            except Unavailable as unavailable:
                yield _not_looked_at("CONFIG GET", ", ".join(_CONFIG), unavailable)
                return
            texts = [word.decode("utf-8", "replace") for word in reply]
            self.config |= dict(zip(texts[::2], texts[1::2], strict=True))

    @property
    def mode(self) -> str:
        """`standalone`, `cluster` or `sentinel`; empty where it is not known."""
        return self.info.get("redis_mode") or self.info.get("server_mode", "")  # Redis', Valkey's

    def replicas(self) -> "list[Look]":
        """Those that are connected and have all its data, to be looked at."""
        found = []
        for name, value in self.info.items():
            if _REPLICA.fullmatch(name):
                told = dict(pair.split("=", 1) for pair in value.split(",") if "=" in pair)
                with suppress(KeyError, ValueError):
                    if told["state"] == "online":
                        address = self.address.at(told["ip"], int(told["port"]))
                        found.append(Look(address, self._timeout))
        return found

    def nobody_listens(self, unavailable: Unavailable) -> bool:
        """Whether there is no socket, or one that a killed server left."""
        gone = (FileNotFoundError, ConnectionRefusedError)
        return any(isinstance(cause, gone) for cause in _causes(unavailable))

    def _reason(self, unavailable: Unavailable) -> str:
        """Why there is no answer, in words that are not the server's: they may be a password."""
        match unavailable.__cause__:
            case AuthenticationError() as refused:
                return (
                    f"refuses the user or the password, or wants one ({code_of(refused)}): set "
                    "them in redis.url, or redis.password_file"
                )
            case NoPermissionError():
                return "the user may not SELECT the database of redis.url (NOPERM)"
            case ResponseError() as refused:
                return (
                    f"refuses the connection ({code_of(refused)}): is the database's number right?"
                )
            case TimeoutError():
                speaks = ": does it speak TLS?" if self.address.tls else ""
                return f"no answer within {self._timeout:g} s (redis.timeout){speaks}"
        return self._failure(unavailable)

    def _failure(self, unavailable: Unavailable) -> str:
        for cause in _causes(unavailable):
            if isinstance(cause, ssl.SSLError):
                return tls_failure(cause)
            if isinstance(cause, ConnectionResetError):
                break
            if isinstance(cause, OSError) and (cause.errno or cause.strerror):
                number = cause.errno or 0
                told = os.strerror(number) if number > 0 else cause.strerror or ""
                return f"cannot be reached: {told.lower()}"
        if self.address.tls:
            return "closed the connection: does it demand a certificate (redis.tls_cert_file)?"
        return "closed the connection: is it a Redis, and is TLS (rediss://) used on both sides?"


def _not_looked_at(
    command: str, what: str, unavailable: Unavailable, *, breaks: str = ""
) -> Finding:
    match unavailable.__cause__:
        case ResponseError() as refused:
            why = f"may not be used here ({code_of(refused)})"
        case _:
            why = "got no answer"
    return warning(command.lower(), f"{command} {why}: {breaks}look at {what} yourself")


def parse_info(reply: bytes) -> dict[str, str]:
    """Read the reply of INFO: `name:value` lines below `# Section` lines."""
    lines = reply.decode("utf-8", "replace").splitlines()
    pairs = (line.partition(":") for line in lines if not line.startswith("#"))
    return {name: value for name, colon, value in pairs if colon}


def _causes(raised: BaseException) -> Iterator[BaseException]:
    cause = raised.__cause__ or raised.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
