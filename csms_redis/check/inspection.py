"""Inspects one server of Redis: what INFO and CONFIG GET say, or why they say nothing."""

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


class Server:
    """One server, and what it says of itself.

    It asks the server, and reports only why it could not ask. The modules `server`, `replication`
    and `rights` judge what the answers mean.

    Attributes:
        address: of the server.
        answers: whether the server answered at all, even with an error.
        info: what INFO says, by name; empty if that is not known.
        config: what CONFIG GET says, by name; a setting that is not known is left out.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        """Wait `timeout` seconds for each answer."""
        self.address = address
        self.answers = False
        self.info: dict[str, str] = {}
        self.config: dict[str, str] = {}
        self._timeout = timeout

    async def reach(self) -> None:
        """Check that the server answers.

        Raises:
            Unavailable: the server does not answer.
        """
        node = Node(self.address, max_connections=1)
        try:
            await self._reach(node)
        finally:
            await node.close()

    async def inspect(self) -> AsyncIterator[Finding]:
        """Fill `info` and `config`, and report why one stays empty."""
        # one connection is enough for one command after the other
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
        """Check that the server answers, even with an error."""
        try:
            # HELLO is never forbidden by a user's rights
            (reply,) = await node.ask(("HELLO",), within=self._timeout)
        except Unavailable as unavailable:
            # a proxy may close the connection at HELLO, but every proxy knows PING
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
            yield _not_inspected(
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
                yield _not_inspected("CONFIG GET", ", ".join(_CONFIG), unavailable)
                return
            texts = [word.decode("utf-8", "replace") for word in reply]
            self.config |= dict(zip(texts[::2], texts[1::2], strict=True))

    @property
    def mode(self) -> str:
        """`standalone`, `cluster` or `sentinel`; empty if that is not known."""
        return self.info.get("redis_mode") or self.info.get("server_mode", "")  # Redis', Valkey's

    def replicas(self) -> "list[Server]":
        """The replicas that are connected and have all data of this server, not yet inspected."""
        found = []
        for name, value in self.info.items():
            if _REPLICA.fullmatch(name):
                state = dict(pair.split("=", 1) for pair in value.split(",") if "=" in pair)
                with suppress(KeyError, ValueError):
                    if state["state"] == "online":
                        address = self.address.at(state["ip"], int(state["port"]))
                        found.append(Server(address, self._timeout))
        return found

    def nobody_listens(self, unavailable: Unavailable) -> bool:
        """Whether there is no socket file, or only one that a killed server has left behind."""
        gone = (FileNotFoundError, ConnectionRefusedError)
        return any(isinstance(cause, gone) for cause in _causes(unavailable))

    def _reason(self, unavailable: Unavailable) -> str:
        """Say why there is no answer, but not in the server's words: they may show a password."""
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
                text = os.strerror(number) if number > 0 else cause.strerror or ""
                return f"cannot be reached: {text.lower()}"
        if self.address.tls:
            return "closed the connection: does it demand a certificate (redis.tls_cert_file)?"
        return "closed the connection: is it a Redis, and is TLS (rediss://) used on both sides?"


def _not_inspected(
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
