"""Writes and lookups of a history, in few words."""

from tests.support.topologies.history import History
from tests.support.topologies.seen import Group, Lookup, Outcome, State, Version, Write

OK, NO, UNKNOWN = Outcome.ACKNOWLEDGED, Outcome.REFUSED, Outcome.UNKNOWN
PATH = "/cs/a/auth"


def written(*outcomes: Outcome, deletes: tuple[int, ...] = ()) -> list[Write]:
    """Writes 1, 2, … of one key, each from one second to the next half."""
    return [
        Write(PATH, None if version in deletes else version, version, version + 0.5, outcome)
        for version, outcome in enumerate(outcomes, 1)
    ]


def looked_up(
    start: float,
    version: Version = None,
    *,
    status: int = 200,
    group: Group = Group.WRITTEN,
    took: float = 0.1,
    expected: tuple[int, Version] = (200, None),
) -> Lookup:
    return Lookup(PATH, group, start, start + took, status, version, expected)


def other(start: float, status: int = 200) -> Lookup:
    return looked_up(start, status=status, group=Group.OTHER)


def of(*versions: int) -> frozenset[State]:
    """What may be there, nothing being blocked."""
    return frozenset(map(State, versions))


def done(*kinds: str, outcomes: dict[int, Outcome] | None = None, missing: int = 0) -> list[Write]:
    """Writes of these kinds, numbered from 1; acknowledged unless it is said otherwise."""
    blocks = {"block": True, "allow": False}
    return [
        Write(
            PATH,
            number if kind == "register" else None,
            number,
            number + 0.5,
            (outcomes or {}).get(number, OK),
            missing=number == missing,
            blocks=blocks.get(kind),
        )
        for number, kind in enumerate(kinds, 1)
    ]


def ended_with(found: State | Version, writes: list[Write]) -> History:
    return History(writes, found={"Redis": {PATH: found}})


REGISTERED_AGAIN = ("register", "block", "register")
