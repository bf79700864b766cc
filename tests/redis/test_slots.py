"""The slot of a key, as the cluster's specification and a real node have it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csms_redis.redis import slots
from csms_redis.redis.slots import SLOTS, _hashed, key_in, slot_of
from tests.support.topologies.node import Node, free_port

KEYS = st.binary(max_size=40) | st.text("{}ab", max_size=12).map(str.encode)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with tempfile.TemporaryDirectory(prefix="csms-", dir="/tmp") as home:
        # A cluster's node listens 10,000 ports higher as well.
        node = Node(Path(home) / "node", "cluster-enabled yes", port=free_port(above=10000))
        node.start()
        yield node
        node.kill()


@pytest.mark.parametrize(
    ("key", "slot"), [(b"123456789", 0x31C3), (b"foo", 12182), (b"bar", 5061), (b"", 0)]
)
def test_known_slots(key: bytes, slot: int) -> None:
    assert slot == slot_of(key)


@pytest.mark.parametrize(
    ("key", "same"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"foo{bar}{zap}", b"bar"),
        (b"foo{{bar}}zap", b"x{{bar}"),  # what counts is `{bar`
    ],
)
def test_a_hash_tag_alone_counts(key: bytes, same: bytes) -> None:
    assert slot_of(same) == slot_of(key)


@pytest.mark.parametrize("key", [b"foo{}{bar}", b"foo{{bar}}zap", b"foo}bar{", b"{}bar", b"{bar"])
def test_what_is_no_hash_tag_does_not_count_alone(key: bytes) -> None:
    assert slot_of(b"bar") != slot_of(key)


def test_empty_braces_are_part_of_the_key() -> None:
    assert slot_of(b"{}") == 15257
    assert slot_of(b"foo{}{bar}") == 8363


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(keys=st.lists(KEYS, min_size=1, max_size=50))
def test_a_real_node_agrees(node: Node, keys: list[bytes]) -> None:
    """A reply of its own for each of up to 2,000 keys."""
    said = node.calls(*[("CLUSTER", "KEYSLOT", key) for key in keys])
    assert said == [slot_of(key) for key in keys]


def test_the_only_slot_of_a_master_is_found_soon() -> None:
    """Whichever it is; the event loop waits for it."""
    looked_at = []

    def hashed(key: bytes) -> bytes:
        looked_at.append(key)
        return _hashed(key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slots, "_hashed", hashed)
        for slot in range(0, SLOTS, 7):
            key_in(b"cs:", slot.__eq__)

    assert len(looked_at) / (SLOTS / 7) < 100


@settings(deadline=None)
@given(start=KEYS, slot=st.integers(0, SLOTS - 1))
def test_a_key_is_found_in_any_slot(start: bytes, slot: int) -> None:
    """None only where the start has a hash tag of another slot."""
    found = key_in(start, slot.__eq__)
    if found is None:
        assert b"{" in start
        assert slot_of(start) == slot_of(start + b"{1}") != slot
    else:
        assert found.startswith(start)
        assert slot == slot_of(found)
