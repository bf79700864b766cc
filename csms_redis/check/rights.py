"""Checks that Redis carries out what the service asks: tries each command at each kind of key.

No record is changed. A command that writes is tried at a key that does not exist, with an id that
no record can have. HSET can be tried only by writing: one script makes such a key and removes it
again, so that nobody sees it.
"""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from redis.exceptions import AskError, RedisError, ResponseError, TryAgainError

from csms_redis.check.finding import Finding, Level, ok
from csms_redis.check.inspection import Server
from csms_redis.contract.errors import Unavailable
from csms_redis.redis.connections import Command
from csms_redis.redis.node import Node
from csms_redis.redis.outcomes import code_of
from csms_redis.redis.topology import Topology
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.data_set import IDENTITY_KEY
from csms_redis.registry.refused import REFUSED_KEY
from csms_redis.registry.resource import Resource
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN
from csms_redis.settings import RedisSettings

_LOOKUPS = "nothing is found, and the service does not get ready"
_WRITES = "every write is answered 503"
_LISTINGS = "listings and exports end with an error, and no process reads all records at its start"
_WAITS = "no write is confirmed, each is answered 503"
_FIELD = b"check"

# The commands of a write (see registry.resource), but in another order: HSET is tried last, when it
# is known that HDEL is allowed and can remove what HSET makes.
_TRIES = """
local key, field = KEYS[1], ARGV[1]
local refused = {}
local function try(...)
  local said = redis.pcall(...)
  if type(said) == 'table' and said.err then
    refused[#refused + 1] = {(...), said.err}
  end
end
try('TYPE', key)
try('HKEYS', key)
try('HGET', key, field)
if ARGV[2] == 'remove' then
  try('HDEL', key, field)
  try('PERSIST', key)
elseif ARGV[2] == 'write' then
  try('HSET', key, field, '1')
  try('HDEL', key, field)
end
return refused
"""
_SILENT = RedisError("no answer")
_UNKNOWN = re.compile(r"unknown|unsupported|not allowed from script", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Need:
    """A command that the service sends.

    Attributes:
        command: with arguments that change nothing.
        right: the command's name in a user's rights.
        breaks: what does not work without the command.
        level: how bad that is.
        pattern: the pattern of the keys that it is tried at; empty for a command without a key.
    """

    command: Command
    right: str
    breaks: str
    level: Level = Level.ERROR
    pattern: str = ""


class Rights:
    """Tries at one master what the user of the service may do there.

    It changes no record, and does not judge the server's settings.
    """

    def __init__(self, server: Server, topology: Topology, settings: RedisSettings) -> None:
        """Prepare.

        Args:
            server: a master that was inspected, and answers.
            topology: the topology that it belongs to.
            settings: `[redis]` of the service.
        """
        self._server = server
        self._topology = topology
        self._settings = settings
        self._prefix = settings.key_prefix.encode()
        self._within = settings.timeout

    async def try_all(self) -> AsyncIterator[Finding]:
        """Report which commands are refused, what that breaks, and what to do."""
        node = Node(self._server.address, max_connections=1)
        refused: dict[str, Finding] = {}
        try:
            for need in self._needs():
                for finding in await self._try(node, need):
                    refused.setdefault(finding.about, finding)
            for resource in (STATION, TOKEN, CERTIFICATE):
                for finding in await self._try_writes(node, resource):
                    refused.setdefault(finding.about, finding)
        finally:
            await node.close()
        for finding in refused.values():
            yield finding
        if not refused:
            yield ok("rights", f"{self._server.address} does all that the service asks of it")

    def _needs(self) -> Iterator[_Need]:
        for resource, paths in _KINDS.items():
            key, pattern = self._key(resource), self._pattern(resource)
            lookups = f"{_LOOKUPS} ({paths})"
            yield _Need(("HMGET", key, _FIELD), "hmget", lookups, pattern=pattern)
            yield _Need(("DEL", key), "del", f"no record is removed ({paths})", pattern=pattern)
            end = f"an answer that may have an end is kept for a second only ({paths})"
            yield _Need(("PTTL", key), "pttl", end, Level.WARNING, pattern)
            fields = ("HPTTL", key, "FIELDS", 1, _FIELD)
            yield _Need(fields, "hpttl", end, Level.WARNING, pattern)
        for name, unknown in _OURS.items():
            key = self._prefix + name
            for command in (("GET", key), ("SET", key, "", "NX", "XX")):  # neither changes anything
                right, pattern = command[0].lower(), f"~{key.decode()}"
                yield _Need(command, right, unknown, Level.WARNING, pattern)
        yield _Need(("SCAN", 0, "COUNT", 1, "TYPE", "hash"), "scan", _LISTINGS, Level.WARNING)
        kept = "each lookup is read from Redis, none is kept"
        yield _Need(("CLIENT", "TRACKING", "OFF"), "client|tracking", kept, Level.WARNING)
        yield _Need(("HELLO",), "hello", kept, Level.WARNING)
        if self._topology.clustered:
            moving = "lookups and writes get a 503 while their slot is moved"
            yield _Need(("ASKING",), "asking", moving, Level.WARNING)
        if self._settings.wait_replicas:
            yield _Need(("WAIT", 0, 1), "wait", _WAITS)
            if self._settings.wait_for_disk:
                yield _Need(("WAITAOF", 0, 0, 1), "waitaof", f"{_WAITS}, though it is applied")

    async def _try(self, node: Node, need: _Need) -> list[Finding]:
        reply = await self._reply(node, need.command)
        if isinstance(reply, RedisError):
            return self._refused(need, reply)
        return []

    async def _try_writes(self, node: Node, resource: Resource) -> list[Finding]:
        key, pattern = self._key(resource), self._pattern(resource)
        breaks = f"{_WRITES} ({_KINDS[resource]})"
        for step in ("remove", "write"):
            command: Command = ("EVAL", _TRIES, 1, key, _FIELD, step)
            reply = await self._reply(node, command)
            if isinstance(reply, RedisError):
                return self._refused(_Need(command, "eval", breaks, pattern=pattern), reply)
            found: list[Finding] = []
            for name, error in reply:
                need = _Need((), name.decode().lower(), breaks, pattern=pattern)
                found += self._refused(need, ResponseError(error.decode("utf-8", "replace")))
            if found:
                return found
        return []

    async def _reply(self, node: Node, command: Command) -> Any:
        """Send a command; the reply is `_SILENT` if the connection is closed or stays silent."""
        try:
            (reply,) = await node.ask(command, within=self._within)
        except Unavailable:
            return _SILENT
        return reply

    def _refused(self, need: _Need, error: RedisError) -> list[Finding]:
        """Report a command that is refused; report nothing if it could be carried out elsewhere."""
        about = need.right
        if error is _SILENT:
            why, todo = "it closes the connection", "let the proxy pass it on, or name Redis itself"
        elif isinstance(error, AskError | TryAgainError):
            return []
        else:
            why = code_of(error)
            if why == "NOPERM" and "access" in str(error):  # to a key
                about, todo = need.pattern, f"give the user {need.pattern}"
            elif why == "NOPERM":
                todo = f"give the user +{need.right}"
            elif _UNKNOWN.search(str(error)):
                if about == "hpttl":  # a server without it gives no field a time to live
                    return []
                why, todo = "it has no such command", _no_such_command(need.right)
            elif need.right in _WRITING:
                about, todo = "writes", _TO_DO.get(why, "see the log of Redis")
            else:
                return []  # the same command may work at another key, or with other arguments
        name = need.right.replace("|", " ").upper()
        breaks = _WITHOUT_MEMORY if why == "OOM" else need.breaks
        text = f"{self._server.address} refuses {name} ({why}): {breaks}; {todo}"
        return [Finding(need.level, about, text)]

    def _key(self, resource: Resource) -> bytes:
        """A key that no record can have, in a slot of the master."""
        start = resource.key(self._prefix, "\0check")
        return self._topology.sample_key(self._server.address, start) or start

    def _pattern(self, resource: Resource) -> str:
        return f"~{resource.key(self._prefix, '').decode()}*"


_KINDS = {STATION: "stations", TOKEN: "tokens", CERTIFICATE: "certificates"}
_OURS = {
    b"layout": "whether the records' layout is ours is not known",
    IDENTITY_KEY: "another data set that is swapped in is not noticed",
    REFUSED_KEY: "the list of refused stations lacks those of other processes",
}
_WITHOUT_MEMORY = "only blocking and removing work, every other write is answered 503"
_WRITING = frozenset(["eval", "hset", "hdel", "persist"])
_TO_DO = {
    "MISCONF": "it cannot write to its disk: see its log, and make room",
    "NOREPLICAS": "bring back its replicas, or lower min-replicas-to-write",
    "OOM": "its memory is full: raise maxmemory, or remove what is not needed",
}


def _no_such_command(right: str) -> str:
    if right == "waitaof":
        return "it came with Redis 7.2: update, use Valkey, or unset redis.wait_for_disk"
    return "it was renamed or disabled, or a proxy does not know it: allow it"
