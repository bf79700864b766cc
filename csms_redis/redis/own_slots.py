"""What a node of a cluster says of its own slots: it knows first what it gains and loses.

A node tells of a slot that is being moved key by key only in its own line of `CLUSTER NODES`
(https://valkey.io/commands/cluster-nodes/).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OwnSlots:
    """A node's own slots at one moment; two that are equal are the same slots, never given away.

    Attributes:
        words: the node's id, its epoch, then its slots as `CLUSTER NODES` has them.
    """

    words: tuple[bytes, ...] = ()

    @property
    def moving(self) -> bool:
        """Whether keys of one of its slots are leaving or arriving one by one."""
        return any(slot.startswith(b"[") for slot in self.words)

    @property
    def ranges(self) -> tuple[range, ...]:
        """Its slots, while none is moving."""
        return tuple(map(_range, self.words[2:]))


def read_own_slots(reply: bytes) -> OwnSlots | None:
    """Read a node's reply to `CLUSTER NODES`; None where it does not name itself.

    Raises:
        ValueError: it makes no sense.
    """
    for line in reply.splitlines():
        id_, _address, flags, _master, _ping, _pong, epoch, _link, *slots = line.split()
        if b"myself" in flags.split(b","):
            return OwnSlots((id_, epoch, *slots))
    return None


def _range(text: bytes) -> range:
    first, _, last = text.partition(b"-")
    return range(int(first), int(last or first) + 1)
