"""The canonical targets of keys, many at a time as one at a time."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from csms_redis.lookup import targets
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.resource import Resource
from csms_redis.registry.stations import STATION
from csms_redis.registry.tokens import TOKEN

PLAIN = [b"cs1", b"CS-2", b"a.b~c_d", b"0123ABCD"]
ODD = [b"", b"\n", b"a\ncs:b", b"a\n", b"a b", b"%41", "é".encode(), b"\xff", b"x" * 49, b"a/b"]


@pytest.mark.parametrize("prefix", [b"", b"fleet{1}:", b"a\nb:"])
@pytest.mark.parametrize("resource", [STATION, TOKEN, CERTIFICATE], ids=lambda each: each.name)
@given(st.lists(st.sampled_from([*PLAIN, *ODD])))
@example([b"cs1", b""])
@example(PLAIN)
@example([*PLAIN, b"a\ncs:b"])
def test_many_keys(resource: Resource, prefix: bytes, ids: list[bytes]) -> None:
    start = resource.key(prefix, "")
    for keys in ([start + each for each in ids], ids):
        found = targets.of_keys(keys, resource, prefix)

        assert found == [targets.of_key(key, prefix) for key in keys]


def test_plain_stations() -> None:
    keys = [b"p:cs:" + each for each in PLAIN]

    found = targets.of_keys(keys, STATION, b"p:")

    assert found == [b"/api/v0/cs/%b/auth" % each for each in PLAIN]
