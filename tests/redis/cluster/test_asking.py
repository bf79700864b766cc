"""Which nodes are asked, one after another, and what is told of those that do not answer."""

import re
import socket
import threading
import time
from math import inf

import pytest

from csms_redis.redis import names
from csms_redis.redis.cluster import Cluster
from tests.support.cluster_nodes import (
    HOST,
    KEY,
    SECRET,
    SEED,
    Server,
    Told,
    line,
    pair,
    serving,
    until,
)
from tests.support.topologies import node as real


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
    await until(lambda: all(task.done() for task in cluster._questions._resolving.values()))
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
        await until(lambda: (a.open, b.open) == (1, 0))
        assert (a.address,) == cluster.masters
        await cluster.close()
