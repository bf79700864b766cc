"""A cluster's masters and slots: what is believed of what its nodes say, and on real ones."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from math import inf
from pathlib import Path

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms_redis.redis import names
from csms_redis.redis.address import Address, Tls
from csms_redis.redis.cluster import Cluster
from csms_redis.redis.cluster_map import ClusterMap, parse
from csms_redis.redis.slots import SLOTS, slot_of
from tests.support.topologies import node as real
from tests.support.topologies.cluster import ClusterGroup

HOST = "127.0.0.1"
SECRET = "hunter2"
SEED = Address(host=HOST, port=7000, username="scout", password=SECRET)
KEY = b"{06S}"  # of slot 0
ALL = "0-5460", "5461-10922", "10923-16383"
THIRDS = [range(5461), range(5461, 10923), range(10923, SLOTS)]


def at(port: int) -> Address:
    return SEED.at(HOST, port)


def line(
    name: str,
    port: int,
    epoch: int,
    *slots: str,
    of: str = "-",
    flags: str = "",
    where: str = "",
    link: str = "connected",
) -> str:
    """A node as another one, or it itself, names it."""
    kind = "master" if of == "-" else "slave"
    where = where or f"{HOST}:{port}@{port + 10000}"
    words = [name, where, ",".join(filter(None, [flags, kind])), of, "0", "0", str(epoch), link]
    return " ".join([*words, *slots])


def three(me: str = "a") -> list[str]:
    """Masters a, b and c; d follows a."""
    lines = [
        line("a", 7000, 1, ALL[0]),
        line("b", 7001, 2, ALL[1]),
        line("c", 7002, 3, ALL[2]),
        line("d", 7003, 1, of="a"),
    ]
    return said_by(me, lines)


def said_by(me: str, lines: list[str]) -> list[str]:
    """Mark the one that says it."""
    return [
        each.replace(" master", " myself,master").replace(" slave", " myself,slave")
        if each.startswith(f"{me} ")
        else each
        for each in lines
    ]


def said(lines: Sequence[str], *, asked: Address = SEED, when: float = 1.0) -> ClusterMap:
    return parse("\n".join([*lines, ""]), asked, when)


def owners(cluster: Cluster) -> dict[int, int]:
    """How many slots each port has."""
    ports = [address.port for address in cluster._slots if address is not None]
    return {port: ports.count(port) for port in sorted(set(ports))}


class Told:
    """What a cluster told of."""

    def __init__(self, cluster: Cluster) -> None:
        self.slots: list[set[int]] = []
        cluster.changed.append(self)

    def __call__(self, slots: Collection[int] | None) -> None:
        assert slots is not None
        self.slots.append(set(slots))


@pytest.fixture
def cluster() -> Cluster:
    """One that has heard of a, b, c and d."""
    cluster = Cluster([SEED], timeout=1)
    assert cluster._learn(said(three()))
    return cluster


# The parser


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


# What is believed


def test_the_first_map(cluster: Cluster) -> None:
    assert (at(7000), at(7001), at(7002)) == cluster.masters
    assert owners(cluster) == {7000: 5461, 7001: 5462, 7002: 5461}
    assert at(7000) == cluster.owner(KEY)
    assert Cluster([SEED], timeout=1).owner(KEY) is None


def test_the_same_again_tells_nothing(cluster: Cluster) -> None:
    told = Told(cluster)
    for me in "abcd":
        assert cluster._learn(said(list(reversed(three(me)))))
    assert told.slots == []


def failed_over(me: str = "b") -> list[str]:
    lines = [
        line("a", 7000, 1, flags="fail"),
        line("b", 7001, 2, ALL[1]),
        line("c", 7002, 3, ALL[2]),
        line("d", 7003, 4, ALL[0]),
    ]
    return said_by(me, lines)


def test_a_replica_is_promoted(cluster: Cluster) -> None:
    """What was its master's is told of, after all is consistent."""
    seen = []
    cluster.changed.append(lambda _: seen.append((cluster.masters, cluster.owner(KEY))))
    told = Told(cluster)
    assert cluster._learn(said(failed_over()))
    assert told.slots == [set(THIRDS[0])]
    assert seen == [((at(7001), at(7002), at(7003)), at(7003))]


def test_a_zombie_is_not_believed(cluster: Cluster) -> None:
    """Its replica is still its replica in its eyes, with the epoch from before."""
    cluster._learn(said(failed_over()))
    told = Told(cluster)
    assert not cluster._learn(said(three("a"), when=9.0))
    assert told.slots == []
    assert at(7003) == cluster.owner(KEY)
    assert cluster.confirmed(at(7000)) == -inf
    # it hears the news, and the one that replaced it is replaced in turn
    assert cluster._learn(said(failed_over("c")))
    back = [line("a", 7000, 5, ALL[0]), *three()[1:3], line("d", 7003, 5, of="a")]
    assert cluster._learn(said(said_by("c", back)))
    assert at(7000) == cluster.owner(KEY)
    assert told.slots == [set(THIRDS[0])]


def test_a_zombie_found_first_is_corrected() -> None:
    cluster = Cluster([SEED], timeout=1)
    assert cluster._learn(said(three("a")))
    assert cluster._learn(said(failed_over()))
    assert at(7003) == cluster.owner(KEY)


def test_a_node_that_missed_two_failovers_is_not_believed(cluster: Cluster) -> None:
    """It knows of no owner that is later than the known one."""
    twice = [line("a", 7000, 9, ALL[0]), *three()[1:3], line("d", 7003, 9, of="a")]
    cluster._learn(said(said_by("b", twice)))
    assert not cluster._learn(said(failed_over()))
    assert at(7000) == cluster.owner(KEY)


def test_a_cluster_built_anew_is_believed(cluster: Cluster) -> None:
    """Its epochs start again, and so do the ids."""
    anew = [line("w", 7000, 0, ALL[1], flags="myself"), line("x", 7001, 0, ALL[0], ALL[2])]
    assert cluster._learn(said(anew))
    assert owners(cluster) == {7000: 5462, 7001: 10922}


def test_the_known_owner_itself_is_believed(cluster: Cluster) -> None:
    """Restored from a backup, all nodes are where they were, with their old epochs."""
    cluster._learn(said(failed_over()))
    assert not cluster._learn(said(three("b")))
    assert cluster._learn(said(three("d")))
    assert at(7000) == cluster.owner(KEY)
    assert cluster._learn(said(three("a")))


def test_slots_are_moved(cluster: Cluster) -> None:
    """The target's epoch is the highest; who has not heard of it is not believed."""
    told = Told(cluster)
    lines = [line("a", 7000, 1, "1-5460"), line("b", 7001, 4, "0", ALL[1]), *three()[2:]]
    assert cluster._learn(said(said_by("b", lines)))
    assert told.slots == [{0}]
    assert not cluster._learn(said(three("c")))
    assert told.slots == [{0}]


def test_a_slot_given_without_a_new_epoch(cluster: Cluster) -> None:
    """As `SETSLOT NODE` does alone: the known owner is as well known, and has it no more."""
    lines = [line("a", 7000, 1), line("b", 7001, 2, ALL[1]), line("c", 7002, 3, ALL[0], ALL[2])]
    assert cluster._learn(said(said_by("b", lines)))
    back = [line("a", 7000, 1, ALL[0]), line("b", 7001, 2, ALL[1]), line("c", 7002, 3, ALL[2])]
    assert cluster._learn(said(said_by("b", back)))
    assert at(7000) == cluster.owner(KEY)


def test_a_slot_keeps_its_master_until_it_has_another(cluster: Cluster) -> None:
    """One that failed without a replica, a slot that nobody has, a node that was reset."""
    told = Told(cluster)
    failed = said(said_by("b", [line("a", 7000, 1, ALL[0], flags="fail"), *three()[1:3]]))
    assert cluster._learn(failed)
    assert failed.missing == 5461
    assert cluster._learn(said([line("z", 7003, 0, flags="myself")]))
    assert told.slots == []
    assert at(7000) == cluster.owner(KEY)


def test_a_node_gets_another_address(cluster: Cluster) -> None:
    told = Told(cluster)
    lines = three("b")
    lines[0] = line("a", 0, 1, ALL[0], where="10.0.0.9:7000@17000")
    assert cluster._learn(said(lines))
    assert SEED.at("10.0.0.9", 7000) == cluster.owner(KEY)
    assert told.slots == [set(THIRDS[0])]


def test_a_map_that_is_not_believed_moves_no_address(cluster: Cluster) -> None:
    cluster._learn(said(failed_over()))
    zombie = three("a")
    zombie[1] = line("b", 0, 2, ALL[1], where="10.0.0.9:7001@17001")
    assert not cluster._learn(said(zombie))
    assert at(7001) in cluster.masters


# Confirmation


def test_another_node_confirms(cluster: Cluster) -> None:
    """Each master but the one that was asked."""
    assert (-inf, 1.0, 1.0) == tuple(map(cluster.confirmed, cluster.masters))
    cluster._learn(said(three("b"), when=2.0))
    assert tuple(map(cluster.confirmed, cluster.masters)) == (2.0, 1.0, 2.0)
    cluster._learn(said(three("d"), when=1.5))
    assert tuple(map(cluster.confirmed, cluster.masters)) == (2.0, 1.5, 2.0)


@pytest.mark.parametrize(
    "doubtful",
    [
        line("a", 7000, 1, ALL[0], flags="fail?"),
        line("a", 7000, 1, ALL[0], flags="fail"),
        line("a", 7000, 1, ALL[0], link="disconnected"),
        line("a", 7000, 0, ALL[0]),
        line("a", 7000, 1),
    ],
)
def test_a_master_in_doubt_is_not_confirmed(cluster: Cluster, doubtful: str) -> None:
    cluster._learn(said([doubtful, *three("b")[1:]], when=2.0))
    assert cluster.confirmed(at(7000)) == -inf
    assert cluster.confirmed(at(7002)) == 2.0


@pytest.mark.parametrize(("flags", "confirmed"), [("", -inf), ("fail?", -inf), ("fail", 1.0)])
def test_a_master_alone_confirms_itself(flags: str, confirmed: float) -> None:
    """Where most masters say that its replica failed; not where it only suspects so."""
    cluster = Cluster([SEED], timeout=1)
    lines = [line("a", 7000, 1, "0-16383"), line("b", 7001, 1, of="a", flags=flags)]
    cluster._learn(said(said_by("a", lines)))
    assert confirmed == cluster.confirmed(at(7000))


# MOVED


def test_moved_is_believed_at_once(cluster: Cluster) -> None:
    told = Told(cluster)
    cluster.moved(KEY, at(7005))
    assert told.slots == [{0}]
    assert at(7005) == cluster.owner(KEY)
    assert at(7005) in cluster.masters
    assert at(7000) in cluster.masters
    assert cluster._doubted.is_set()
    cluster.moved(KEY, at(7005))
    assert told.slots == [{0}]


def test_a_later_map_overrules_moved_and_an_earlier_one_does_not(cluster: Cluster) -> None:
    cluster.moved(KEY, at(7005))
    told = Told(cluster)
    cluster._learn(said(three("b")))
    assert at(7005) == cluster.owner(KEY)
    cluster._learn(said(three("b"), when=inf))
    assert at(7000) == cluster.owner(KEY)
    assert told.slots == [{0}]
    assert at(7005) not in cluster.masters


def test_moved_to_a_name_means_the_node_of_that_name(cluster: Cluster) -> None:
    """`cluster-preferred-endpoint-type hostname`."""
    lines = three("b")
    lines[2] = line("c", 0, 3, ALL[2], where=f"{HOST}:7002@17002,c.example")
    cluster._learn(said(lines))
    cluster.moved(KEY, SEED.at("c.example", 7002))
    assert at(7002) == cluster.owner(KEY)


def test_sample_keys(cluster: Cluster) -> None:
    """Each in one of the master's slots; with a hash tag there may be none."""
    for master in cluster.masters:
        key = cluster.sample_key(master, b"csms:cs:")
        assert key is not None
        assert key.startswith(b"csms:cs:")
        assert master == cluster.owner(key)
    tagged = [cluster.sample_key(master, b"{06S}cs:") for master in cluster.masters]
    assert tagged == [b"{06S}cs:", None, None]
    assert cluster.sample_key(at(7999), b"cs:") is None
    cluster.moved(KEY, at(7005))
    key = cluster.sample_key(at(7005), b"cs:")
    assert key is not None
    assert slot_of(key) == 0


# Asking, of servers that answer as the test says


class Server:
    """Answers AUTH with OK and everything else with `reply`."""

    def __init__(self, host: str = HOST) -> None:
        self.host = host
        self.port = 0
        self.reply: str | None = ""  # None: nothing
        self.asked = 0
        self.open = 0

    @property
    def address(self) -> Address:
        return SEED.at(self.host, self.port)

    def says(self, lines: Sequence[str]) -> None:
        text = "\n".join([*lines, ""])
        self.reply = f"${len(text)}\r\n{text}\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        resp = hiredis.Reader()
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                resp.feed(data)
                while (command := resp.gets()) is not False:
                    assert isinstance(command, list)
                    if command[0] == b"AUTH":
                        assert command[1:] == [b"scout", SECRET.encode()]
                        writer.write(b"+OK\r\n")
                    else:
                        assert command == [b"CLUSTER", b"NODES"]
                        self.asked += 1
                        writer.write((self.reply or "").encode())
        self.open -= 1
        writer.close()


@asynccontextmanager
async def serving(*servers: Server, port: int = 0) -> AsyncIterator[None]:
    listening = []
    for server in servers:
        listener = await asyncio.start_server(server.serve, server.host, port)
        server.port = listener.sockets[0].getsockname()[1]
        listening.append(listener)
    try:
        yield
    finally:
        for listener in listening:
            listener.close()
        await _until(lambda: not any(server.open for server in servers))


async def _until(condition: Callable[[], object], *, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 nothing tells of it
            await asyncio.sleep(0.005)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a look last as long as a busy machine needs."""
    monkeypatch.setattr("csms_redis.redis.cluster._PHASE", 60.0)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch, patient: None) -> None:
    """Have no second node asked because the first is slow."""
    del patient
    monkeypatch.setattr("csms_redis.redis.cluster._NEXT", 30.0)


def pair(one: Server, other: Server, me: str) -> list[str]:
    lines = [line("a", one.port, 1, "0-9999"), line("b", other.port, 2, "10000-16383")]
    return said_by(me, lines)


@pytest.mark.usefixtures("unhurried")
async def test_nodes_are_asked_in_turn_on_connections_that_stay_open() -> None:
    a, b = Server(), Server()
    async with serving(a, b):
        a.says(pair(a, b, "a"))
        b.says(pair(a, b, "b"))
        cluster = Cluster([a.address], timeout=5)
        began = time.monotonic()
        await cluster.look()
        assert cluster.problem is None
        assert all(cluster.confirmed(master) >= began for master in cluster.masters)
        for _ in range(4):
            await cluster.look()
        assert (a.asked, b.asked) == (3, 3)
        assert (a.open, b.open) == (1, 1)
        await cluster.close()


@pytest.mark.usefixtures("patient")
async def test_a_silent_node_keeps_the_others_from_nothing() -> None:
    a, b = Server(), Server()
    async with serving(a, b):
        a.says(pair(a, b, "a"))
        b.says(pair(a, b, "b"))
        cluster = Cluster([a.address], timeout=5)
        await cluster.look()
        a.reply = None
        told = Told(cluster)
        began = time.monotonic()
        await cluster.look()
        await cluster.look()
        assert cluster.confirmed(a.address) >= began
        assert told.slots == []
        await cluster.close()


@pytest.mark.usefixtures("patient")
async def test_a_map_that_only_one_node_gives_confirms_no_word_of_its_own() -> None:
    a, b = Server(), Server()
    async with serving(a, b):
        a.says(pair(a, b, "a"))
        b.reply = "-LOADING Valkey is loading the dataset in memory\r\n"
        cluster = Cluster([a.address], timeout=5)
        await cluster.look()
        assert {a.address, b.address} == set(cluster.masters)
        assert cluster.confirmed(a.address) == -inf
        assert cluster.problem == f"no other node of the cluster confirms {a.address.host_and_port}"
        await cluster.close()


@pytest.mark.usefixtures("unhurried")
async def test_the_one_that_a_slot_moved_to_is_asked_first() -> None:
    a, b = Server(), Server()
    async with serving(a, b):
        a.says(pair(a, b, "a"))
        b.says(pair(a, b, "b"))
        cluster = Cluster([a.address], timeout=5)
        await cluster.look()
        for target in (a, b, b, a):
            before = target.asked
            cluster.moved(KEY, target.address)
            await cluster.look()
            assert before + 1 == target.asked
        await cluster.close()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("-ERR This instance has cluster support disabled\r\n", "it is no cluster"),
        ("-NOPERM User scout has no permissions to run it\r\n", "may not run CLUSTER NODES"),
        ("-WRONGPASS no hunter2\r\n", "the password is wrong"),
        ("-NOAUTH Authentication required.\r\n", "the password is wrong or missing"),
        ("-ERR hunter2\r\n", r"a node refuses CLUSTER NODES \(ERR\)"),
        ("+OK\r\n", "makes no sense"),
        ("*-1\r\n", "makes no sense"),
        (":1\r\n", "makes no sense"),
        ("$2\r\n\xff\xff\r\n", "makes no sense"),
        ("no RESP\r\n", "no node of the cluster answers"),
    ],
)
async def test_problems(reply: str, problem: str) -> None:
    """One line, without what a server or a user could have put into it."""
    server = Server()
    async with serving(server):
        server.reply = reply
        cluster = Cluster([server.address], timeout=5)
        await cluster.look()
        assert cluster.problem is not None
        assert re.search(problem, cluster.problem)
        assert SECRET not in cluster.problem
        assert "\n" not in cluster.problem
        await cluster.close()


@pytest.mark.usefixtures("patient")
async def test_slots_without_a_master_are_counted() -> None:
    server = Server()
    async with serving(server):
        lines = [
            line("a", server.port, 1, "0-5460", flags="myself"),
            line("b", 1, 2, "5461-10921", flags="fail"),
        ]
        server.says(lines)
        cluster = Cluster([server.address], timeout=5)
        await cluster.look()
        assert cluster.problem == "10923 of 16384 slots have no master"
        assert (server.address,) == cluster.masters
        await cluster.close()


async def test_nobody_listens() -> None:
    cluster = Cluster([SEED.at(HOST, real.free_port())], timeout=5)
    await cluster.look()
    assert cluster.problem == "no node of the cluster answers"
    assert cluster.masters == ()


async def test_a_name_that_cannot_be() -> None:
    cluster = Cluster([SEED.at(f"{'x' * 80}.example", 7000), SEED.at("a..b", 7000)], timeout=5)
    await cluster.look()
    await _until(lambda: all(task.done() for task in cluster._questions._resolving.values()))
    await cluster.look()
    assert cluster.problem == "none of the cluster's names can be resolved"
    await cluster.close()


@pytest.mark.usefixtures("patient")
async def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A headless service: one name, of nodes that are no more and of those that are."""
    silent, node = Server("127.0.0.2"), Server("127.0.0.3")
    async with serving(silent, port=(port := real.free_port())), serving(node, port=port):
        silent.reply = None
        node.says([line("a", 0, 1, "0-16383", flags="myself", where=f":{port}@1")])

        def resolved(host: str, port: int) -> list[names.Place]:
            assert host == "nodes.example"
            return [(socket.AF_INET, (f"127.0.0.{number}", port)) for number in (1, 2, 3)]

        with monkeypatch.context() as patch:
            patch.setattr(names, "_look_up", resolved)
            cluster = Cluster([SEED.at("nodes.example", port)], timeout=5)
            await cluster._ask_in_turn(await cluster._questions.resolved([]), [], [])
        assert (node.address,) == cluster.masters
        await cluster.close()


async def test_a_silent_name_server_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    answered = threading.Event()

    def resolved(host: str, port: int) -> list[names.Place]:
        del host, port
        nonlocal asked
        asked += 1
        answered.wait()
        return []

    monkeypatch.setattr(names, "_look_up", resolved)
    cluster = Cluster([SEED.at("nodes.example", 7000)], timeout=5)
    for _ in range(3):
        await cluster.look()
    assert asked == 1
    assert cluster.problem == "none of the cluster's names can be resolved"
    await cluster.close()
    answered.set()


@pytest.mark.usefixtures("patient")
async def test_ipv6() -> None:
    server = Server("::1")
    async with serving(server):
        server.says([line("a", 0, 1, "0-16383", flags="myself", where=f"::1:{server.port}@1")])
        cluster = Cluster([server.address], timeout=5)
        await cluster.look()
        assert cluster.problem is None
        assert (server.address,) == cluster.masters
        await cluster.close()


@pytest.mark.usefixtures("unhurried")
async def test_connections_to_nodes_that_are_gone_are_closed() -> None:
    a, b = Server(), Server()
    async with serving(a, b):
        a.says(pair(a, b, "a"))
        b.says(pair(a, b, "b"))
        cluster = Cluster([a.address], timeout=5)
        await cluster.look()
        assert (a.open, b.open) == (1, 1)
        a.says([line("a", a.port, 5, "0-16383", flags="myself")])
        b.reply = a.reply
        await cluster.look()
        await _until(lambda: (a.open, b.open) == (1, 0))
        assert (a.address,) == cluster.masters
        await cluster.close()


# On real nodes


@pytest.fixture(scope="module")
def group() -> Iterator[ClusterGroup]:
    with ClusterGroup() as running:
        yield running


@asynccontextmanager
async def following(group: ClusterGroup, *seeds: real.Node) -> AsyncIterator[Cluster]:
    """A cluster that looks as the service does."""
    cluster = Cluster([address_of(node) for node in seeds or group.nodes], timeout=0.5)
    running = asyncio.create_task(cluster.run())
    try:
        yield cluster
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await cluster.close()


def address_of(node: real.Node) -> Address:
    return Address(host=node.address.host, port=node.address.port)


def is_right(cluster: Cluster, group: ClusterGroup) -> bool:
    """Whether it has what the group says of every slot, and nothing to complain of."""
    ids = {group.id(node): address_of(node) for node in group.nodes}
    said = group.owners(next(node for node in group.nodes if node.alive))
    slots: list[Address | None] = [None] * SLOTS
    for (first, last), owner in said.items():
        slots[first : last + 1] = [ids[owner]] * (last - first + 1)
    return (
        cluster.problem is None
        and slots == cluster._slots
        and set(cluster.masters) == set(slots)
        and all(time.monotonic() - cluster.confirmed(one) < 4 for one in cluster.masters)
    )


async def test_the_map_of_a_real_cluster(group: ClusterGroup) -> None:
    async with following(group, group.nodes[4]) as cluster:
        await _until(lambda: is_right(cluster, group))


async def test_a_real_master_is_killed(group: ClusterGroup) -> None:
    """Until its replica owns its slots, they stay its own; and it comes back as a replica."""
    async with following(group) as cluster:
        await _until(lambda: is_right(cluster, group))
        told = Told(cluster)
        old = await asyncio.to_thread(group.master, 0)
        old.kill()
        killed = time.monotonic()
        new = None
        while new is None:
            new = await asyncio.to_thread(group.find_master, 0)
        promoted = time.monotonic()
        await _until(lambda: cluster.owner(KEY) == address_of(new))
        known = time.monotonic()
        print(  # noqa: T201
            f"\nmaster killed: replaced after {promoted - killed:.2f} s, "
            f"known {known - promoted:.2f} s later"
        )
        await _until(lambda: told.slots == [set(range(5461))])
        await asyncio.to_thread(old.start)
        await asyncio.to_thread(group.wait_until_settled)
        await _until(lambda: is_right(cluster, group))
        assert len(told.slots) == 1


async def test_a_real_zombie(group: ClusterGroup) -> None:
    """Stopped while it is replaced, it goes on as a master for a moment."""
    async with following(group) as cluster:
        await _until(lambda: is_right(cluster, group))
        told = Told(cluster)
        old = await asyncio.to_thread(group.master, 0)
        old.freeze()
        try:
            new = await asyncio.to_thread(group.wait_for_new_master, old, 0)
            await _until(lambda: cluster.owner(KEY) == address_of(new))
        finally:
            old.thaw()
        cluster.doubt()
        await asyncio.to_thread(group.wait_until_settled)
        await _until(lambda: is_right(cluster, group))
        assert len(told.slots) == 1


async def test_real_slots_move(group: ClusterGroup) -> None:
    """One in the old way, some in Valkey 9's, and MOVED for the first."""
    async with following(group) as cluster:
        await _until(lambda: is_right(cluster, group))
        source = await asyncio.to_thread(group.master, 0)
        target = next(node for node in group.masters() if node is not source)
        told = Told(cluster)
        group.begin_migration(0, source, target)
        target.call("CLUSTER", "SETSLOT", 0, "NODE", group.id(target))
        cluster.moved(KEY, address_of(target))
        await asyncio.to_thread(group.end_migration, 0, source, target)
        await _until(lambda: is_right(cluster, group))
        assert address_of(target) == cluster.owner(KEY)
        await asyncio.to_thread(group.migrate_slots, 100, 199, source, target)
        await _until(lambda: is_right(cluster, group))
        assert {0, *range(100, 200)} == set().union(*told.slots)
        await asyncio.to_thread(group.migrate_slot, 0, target, source)
        await asyncio.to_thread(group.migrate_slots, 100, 199, target, source)
        await _until(lambda: is_right(cluster, group))


async def test_real_nodes_come_and_go(group: ClusterGroup) -> None:
    async with following(group) as cluster:
        await _until(lambda: is_right(cluster, group))
        new = await asyncio.to_thread(group.add_node)
        await _until(lambda: address_of(new) in cluster.masters)  # it may be named by an ASK
        source = await asyncio.to_thread(group.master, 0)
        await asyncio.to_thread(group.migrate_slots, 0, 0, source, new)
        await _until(lambda: is_right(cluster, group))
        assert address_of(new) == cluster.owner(KEY)
        await asyncio.to_thread(group.migrate_slots, 0, 0, new, source)
        await asyncio.to_thread(group.remove_node, new)
        await asyncio.to_thread(group.wait_until_settled)
        await _until(lambda: is_right(cluster, group))
        assert address_of(new) not in cluster.masters
        await _until(lambda: address_of(new) not in cluster._questions._connections)


@pytest.mark.parametrize("kill", [False, True])
async def test_a_whole_real_cluster_restarts(group: ClusterGroup, *, kill: bool) -> None:
    async with following(group) as cluster:
        await _until(lambda: is_right(cluster, group))
        await asyncio.to_thread(group.restart_all, kill=kill)
        await asyncio.to_thread(group.wait_until_settled)
        await _until(lambda: is_right(cluster, group))


async def test_a_real_cluster_is_away_at_the_start(group: ClusterGroup) -> None:
    for node in group.nodes:
        node.kill()
    async with following(group) as cluster:
        await _until(lambda: cluster.problem == "no node of the cluster answers")
        for node in group.nodes:
            node.spawn()
        await asyncio.to_thread(group.wait_until_settled)
        await _until(lambda: is_right(cluster, group))


async def test_one_real_node_only_is_reached() -> None:
    """It knows the map, but nobody confirms it if it is a master."""
    with ClusterGroup(masters=3, replicas=0, proxied=True) as group:
        first, *others = group.nodes
        async with following(group, first) as cluster:
            await _until(lambda: is_right(cluster, group))
            for node in others:
                group.cut(node)
            problem = f"no other node of the cluster confirms {address_of(first).host_and_port}"
            await _until(lambda: cluster.problem == problem)
            assert len(cluster.masters) == 3
            for node in others:
                group.heal(node)
            await _until(lambda: is_right(cluster, group))


async def test_a_real_server_that_is_no_cluster(tmp_path: Path) -> None:
    node = real.Node(tmp_path / "node")
    await asyncio.to_thread(node.start)
    try:
        cluster = Cluster([address_of(node)], timeout=5)
        await cluster.look()
        assert cluster.problem == "it is no cluster"
        await cluster.close()
    finally:
        node.kill()


async def test_a_wrong_password_on_a_real_cluster() -> None:
    with ClusterGroup(masters=3, replicas=0, password=SECRET) as group:
        seeds = [SEED.at(node.address.host, node.address.port) for node in group.nodes]
        cluster = Cluster(seeds, timeout=5)
        await cluster.look()
        assert cluster.problem == "the user name or the password is wrong or missing"
        await cluster.close()
