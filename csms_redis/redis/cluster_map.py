"""What one node of a cluster says of all (https://valkey.io/commands/cluster-nodes/)."""

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TypeAlias

from csms_redis.redis.address import Address
from csms_redis.redis.slots import SLOTS

_HIGHEST_PORT = 65535
_GONE = frozenset(["fail", "handshake", "noaddr"])

Claims: TypeAlias = tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNode:
    """One line of `CLUSTER NODES`."""

    id: str
    address: Address
    alias: Address  # by the other one of IP address and host name, where it has both
    flags: frozenset[str]
    epoch: int  # a replica's is its master's
    linked: bool  # to the node that was asked
    slots: tuple[range, ...]

    @property
    def live(self) -> bool:
        """Whether the node can be asked: most masters do not think that it failed."""
        return not self.flags & _GONE

    @property
    def leads(self) -> bool:
        """Whether the node is a working master; a new master has no slots yet."""
        return "master" in self.flags and self.live

    @property
    def owns(self) -> bool:
        """Whether the node is a working master that has slots."""
        return self.leads and bool(self.slots)


@dataclass(frozen=True, kw_only=True)
class ClusterMap:
    """What one node knows of the cluster."""

    nodes: tuple[ClusterNode, ...]  # by id
    myself: str  # the id of the node that was asked
    asked: float  # when the question left, monotonic seconds

    @cached_property
    def missing(self) -> int:
        """How many slots have no master."""
        return SLOTS - sum(len(slots) for node in self.nodes if node.owns for slots in node.slots)

    @cached_property
    def claims(self) -> Claims:
        """What does not differ between nodes that have heard of the same changes."""
        return tuple(
            (node.id, node.address, node.alias, node.live, node.leads, node.epoch, node.slots)
            for node in self.nodes
        )


def parse(text: str, asked: Address, at: float) -> ClusterMap:
    """Read the reply to `CLUSTER NODES`.

    Args:
        text: the reply.
        asked: the node that gave it, which is meant where a host is empty or `?`.
        at: when it was asked, monotonic seconds.

    Raises:
        ValueError: it makes no sense.
    """
    lines = [line.split() for line in text.splitlines() if line]
    nodes = sorted((_node(fields, asked) for fields in lines), key=lambda node: node.id)
    myself = [node.id for node in nodes if "myself" in node.flags]
    if len(myself) != 1 or len({node.id for node in nodes}) != len(nodes):
        raise ValueError("it must name each node once, and itself")
    owned = [slots for node in nodes if node.owns for slots in node.slots]
    if sum(map(len, owned)) != len(set(chain.from_iterable(owned))):
        raise ValueError("a slot has two masters")
    return ClusterMap(nodes=tuple(nodes), myself=myself[0], asked=at)


def _node(fields: list[str], asked: Address) -> ClusterNode:
    id_, where, flags, _master, _ping, _pong, epoch, link, *slots = fields
    ip_and_port, *names = where.split(",")
    ip, _, port_text = ip_and_port.partition("@")[0].rpartition(":")
    name = names[0] if names and "=" not in names[0] else ""  # key=value pairs come after it
    ip, name = ("" if host == "?" else host for host in (ip, name))
    said = frozenset(flags.split(","))
    port = int(port_text)
    if not 0 <= port <= _HIGHEST_PORT:
        raise ValueError("no port")
    if port == 0:  # it has none for TLS, or none without
        said |= {"noaddr"}
    by_ip, by_name = asked.at(ip, port), asked.at(name or ip, port)
    # certificates are mostly made out to names
    prefers_name = asked.tls is not None and asked.tls.check_hostname
    return ClusterNode(
        id=id_,
        address=by_name if prefers_name else by_ip,
        alias=by_ip if prefers_name else by_name,
        flags=said,
        epoch=int(epoch),
        linked=link == "connected",
        slots=tuple(_range(slot) for slot in slots if not slot.startswith("[")),
    )


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    slots = range(int(first), int(last or first) + 1)
    if not slots or slots[0] < 0 or slots[-1] >= SLOTS:
        raise ValueError("no slots")
    return slots
