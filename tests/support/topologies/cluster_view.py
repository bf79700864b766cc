"""What a node of a cluster knows of the others (`CLUSTER NODES`)."""

from typing import NamedTuple


class Known(NamedTuple):
    """What a node knows of one node of the cluster (`CLUSTER NODES`).

    Attributes:
        id: the node's.
        port: where it is reached.
        flags: `master`, `slave`, `myself`, `fail?`, `fail`, `handshake`, `noaddr`.
        master: the id of the one it follows, `-` for none.
        linked: whether the link to it stands.
        slots: first and last of each range, as it believes.
        moving: whether a slot is being migrated or imported.
    """

    id: str
    port: int
    flags: frozenset[str]
    master: str
    linked: bool
    slots: tuple[tuple[int, int], ...]
    moving: bool


def known_from(line: str) -> Known:
    id_, address, flags, master, _, _, _, link, *slots = line.split()
    ranges = [slot.partition("-") for slot in slots if not slot.startswith("[")]
    return Known(
        id=id_,
        port=int(address.partition(",")[0].partition("@")[0].rpartition(":")[2]),
        flags=frozenset(flags.split(",")),
        master=master,
        linked=link == "connected",
        slots=tuple((int(first), int(last or first)) for first, _, last in ranges),
        moving=any(slot.startswith("[") for slot in slots),
    )
