"""What `CLUSTER NODES` says is read as a map of the slots, or refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms_redis.redis.address import Address, Tls
from csms_redis.redis.cluster import Cluster
from csms_redis.redis.cluster_map import parse
from tests.support.cluster_nodes import ALL, HOST, SEED, THIRDS, line, said


def test_all_fields() -> None:
    """With a host name, other fields, slots on the move and a node on IPv6."""
    lines = [
        line("a", 0, 7, "0", "5-6", "[3->-b]", "[4-<-b]", flags="myself", where=":7000@17000"),
        line("b", 0, 2, where="10.0.0.2:7001@17001,b.example,shard-id=x", of="a"),
        line("c", 0, 3, where="2001:db8::1:7002@17002,shard-id=x", link="disconnected"),
        line("d", 0, 4, where="?:7003"),
    ]
    a, b, c, d = said(lines).nodes
    assert [range(1), range(5, 7)] == list(a.slots)
    assert (SEED.at(HOST, 7000), 7, True, True) == (a.address, a.epoch, a.owns, a.linked)
    assert SEED.at("10.0.0.2", 7001) == b.address
    assert SEED.at("b.example", 7001) == b.alias
    assert (SEED.at("2001:db8::1", 7002), False) == (c.address, c.linked)
    assert SEED.at(HOST, 7003) == d.address
    assert said(lines).myself == "a"


def test_a_name_that_is_checked_is_used() -> None:
    """Certificates are mostly made out to names; without the check, the address is what counts."""
    lines = [line("a", 0, 1, flags="myself", where="10.0.0.1:7000@17000,a.example")]
    for tls, host in [(Tls(), "a.example"), (Tls(check_hostname=False), "10.0.0.1")]:
        (node,) = said(lines, asked=Address(host="seed", tls=tls)).nodes
        assert (host, tls) == (node.address.host, node.address.tls)


def test_nodes_that_are_gone_own_nothing() -> None:
    lines = [
        line("a", 7000, 1, ALL[0], flags="fail"),
        line("b", 7001, 2, ALL[1], where=":0@0", flags="noaddr"),
        line("c", 7002, 3, ALL[2], flags="fail?"),
        line("d", 7003, 0, flags="handshake"),
        line("e", 0, 4, of="a", flags="myself", where="10.0.0.1:0@17000"),
    ]
    nodes = said(lines).nodes
    assert [node.id for node in nodes if node.owns] == ["c"]
    assert [node.id for node in nodes if node.live] == ["c"]
    assert said(lines).missing == len(THIRDS[0]) + len(THIRDS[1])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "OK",
        line("a", 7000, 1),  # no myself
        line("a", 7000, 1, "16384", flags="myself"),
        line("a", 7000, 1, "-1", flags="myself"),
        line("a", 7000, 1, "5-4", flags="myself"),
        line("a", 7000, 1, "0-99999999999999999999", flags="myself"),
        line("a", 7000, 1, "zero", flags="myself"),
        line("a", 70000, 1, flags="myself"),
        line("a", 7000, 1, flags="myself", where="nowhere"),
        "\n".join([line("a", 7000, 1, flags="myself")] * 2),
        "\n".join([line("a", 7000, 1, "1-9", flags="myself"), line("b", 7001, 1, "9")]),
        line("a", 7000, 1, flags="myself").replace(" 1 ", " one "),
    ],
)
def test_nonsense(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse(text, SEED, 0)


@given(
    st.text()
    | st.lists(
        st.lists(
            st.sampled_from(
                [
                    "abc",
                    ":1@2",
                    ",",
                    "-",
                    "master",
                    "myself,master",
                    "0-5",
                    "9-1",
                    "[",
                    "0",
                    "connected",
                    "?",
                ]
            )
            | st.text("0123456789-:@,[? \n\x00٣_", max_size=12),
            min_size=7,
            max_size=11,
        ).map(" ".join),
        max_size=4,
    ).map("\n".join)
)
def test_any_text_is_a_map_or_a_value_error(text: str) -> None:
    cluster = Cluster([SEED], timeout=1)
    with suppress(ValueError):
        cluster._learn(parse(text, SEED, 0))
