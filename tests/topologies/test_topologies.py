"""The topologies that the fault tests stand on start, fail over and come back."""

import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE

import hiredis
import pytest
from redis import Redis

from tests.support.service import until
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.node import Node
from tests.support.topologies.sentinels import MASTER, SentinelGroup
from tests.support.topologies.standalone import Standalone
from tests.support.topologies.topology import Topology

SECRET = 'p@ss: "w#rd\\'
SLOT = 0
KEY = "{06S}"  # of slot 0


@pytest.fixture(scope="module")
def group() -> Iterator[SentinelGroup]:
    with SentinelGroup(
        password=SECRET, sentinel_user="scout", sentinel_password=SECRET, proxied=True
    ) as running:
        yield running


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterGroup]:
    with ClusterGroup() as running:
        yield running


@pytest.mark.parametrize("ipv6", [False, True])
def test_standalone_over_tcp(*, ipv6: bool) -> None:
    with Standalone(ipv6=ipv6, password=SECRET, db=2) as one, Redis.from_url(one.url) as client:
        assert client.ping()
        assert one.master() is one.node
        assert client.connection_pool.connection_kwargs["db"] == 2


def test_standalone_over_a_unix_socket() -> None:
    with Standalone(unix=True, password=SECRET) as one, Redis.from_url(one.url) as client:
        assert client.ping()


def test_standalone_with_users() -> None:
    """The rules hold for them, and `call` may do everything nevertheless."""
    with (
        Standalone(users=["gateway on >secret ~cs:* +get"]) as one,
        Redis.from_url(one.url_as("gateway", "secret")) as client,
    ):
        one.node.call("SET", "cs:1", "x")
        assert client.get("cs:1") == b"x"
        with pytest.raises(hiredis.ReplyError, match="WRONGPASS"):
            one.node.calls(("AUTH", "gateway", "other"))


def test_tls_is_verified() -> None:
    with Standalone(tls="server") as one:
        with Redis.from_url(one.url, ssl_ca_certs=str(one.authority.ca)) as client:
            assert client.ping()
        with pytest.raises(ssl.SSLCertVerificationError):
            _handshake(one, ssl.create_default_context())
        with socket.create_connection(one.node.address, 5) as plain:
            plain.sendall(b"PING\r\n")
            with suppress(ConnectionResetError):
                assert plain.recv(64) == b""


def test_mutual_tls_demands_a_certificate() -> None:
    with Standalone(tls="mutual") as one:
        context = ssl.create_default_context(cafile=one.authority.ca)
        answer = b""
        with suppress(ssl.SSLError, ConnectionError):
            answer = _handshake(one, context)
        assert answer == b""
        context.load_cert_chain(one.client.certificate, one.client.key)
        assert _handshake(one, context) == b"+PONG\r\n"


def _handshake(one: Standalone, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(one.node.address, 5) as plain,
        context.wrap_socket(plain, server_hostname=one.node.address.host) as connection,
    ):
        connection.sendall(b"PING\r\n")
        return connection.recv(64)


@pytest.mark.parametrize("kill", [False, True])
def test_a_node_comes_back_with_its_data(*, kill: bool) -> None:
    with Standalone() as one:
        one.node.call("SET", "a", "1")
        pid = one.node.pid
        one.node.restart(kill=kill)
        assert one.node.pid != pid
        assert one.node.call("GET", "a") == "1"


def test_a_cut_connection_holds_what_was_sent_until_it_heals() -> None:
    with Standalone(proxied=True) as one, socket.create_connection(one.node.address) as connection:
        connection.settimeout(0.2)
        one.cut(one.node)
        connection.sendall(b"SET a 1\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(64)
        with socket.create_connection(one.node.address) as other:
            other.settimeout(0.2)
            other.sendall(b"PING\r\n")
            with pytest.raises(TimeoutError):
                other.recv(64)
        assert one.node.call("GET", "a") is None
        one.heal(one.node)
        connection.settimeout(5)
        assert connection.recv(64) == b"+OK\r\n"


def test_nothing_is_left_running() -> None:
    with SentinelGroup() as group:
        nodes = group.everyone
        nodes[0].freeze()
    assert not any(node.alive for node in nodes)


def test_valkeys_die_with_tests_that_are_killed() -> None:
    """A stopped one too."""
    script = (
        "import time\n"
        "from tests.support.topologies.standalone import Standalone\n"
        "with Standalone() as one:\n"
        "    one.node.freeze()\n"
        "    print(one.node.pid, one.node.home.parent, flush=True)\n"
        "    time.sleep(60)\n"
    )
    home = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], cwd=home, stdout=PIPE) as tests:
        assert tests.stdout is not None
        pid, left = tests.stdout.readline().decode().split()
        tests.kill()
    status = Path(f"/proc/{pid}/status")
    until(lambda: not status.exists() or "(zombie)" in status.read_text("ascii"), "it is gone")
    shutil.rmtree(left)


def test_a_start_that_fails_says_why() -> None:
    with (
        pytest.raises(AssertionError, match="no-such-option"),
        Standalone(options=["no-such-option 1"]),
    ):
        pass


def _kill(_: Topology, node: Node) -> Callable[[], None]:
    node.kill()
    return node.start


def _freeze(_: Topology, node: Node) -> Callable[[], None]:
    node.freeze()
    return node.thaw


def _cut(topology: Topology, node: Node) -> Callable[[], None]:
    topology.cut(node)
    return lambda: topology.heal(node)


@pytest.mark.slow  # the fault suites show it too
@pytest.mark.parametrize("fault", [_kill, _freeze, _cut])
def test_sentinels_replace_a_master(
    group: SentinelGroup, fault: Callable[[Topology, Node], Callable[[], None]]
) -> None:
    """And it comes back as a replica, with what was written meanwhile."""
    group.wait_until_settled()
    old = group.master()
    repair = fault(group, old)
    new = group.wait_for_new_master(old)
    assert new is not old
    new.call("SET", fault.__name__, "1")
    repair()
    group.wait_until_settled()
    assert old in group.replicas()
    assert group.master().call("GET", fault.__name__) == "1"


@pytest.mark.slow  # the fault suites show it too
def test_sentinels_fail_over_when_asked(group: SentinelGroup) -> None:
    group.wait_until_settled()
    old = group.master()
    assert group.fail_over() is not old


def test_clients_are_sent_to_the_proxies(group: SentinelGroup) -> None:
    """The master's announced address is its proxy's, and works with the URL's password."""
    master = group.master()
    sentinel = group.sentinels[0]
    host, port = sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
    assert (host, int(port)) == master.address != master.own
    with Redis(host=host, port=int(port), password=SECRET) as client:
        assert client.ping()


def test_sentinels_over_tls() -> None:
    """Sentinels and master are reached by TLS, at the addresses the sentinels give."""
    with SentinelGroup(tls="mutual") as group:
        assert group.url.startswith("rediss+sentinel://127.0.0.1:")
        for node in group.everyone:
            with Redis(
                host=node.address.host,
                port=node.address.port,
                ssl=True,
                ssl_ca_certs=str(group.authority.ca),
                ssl_certfile=str(group.client.certificate),
                ssl_keyfile=str(group.client.key),
            ) as client:
                assert client.ping()


@pytest.mark.slow  # the fault suites show it too
@pytest.mark.parametrize("fault", [_kill, _freeze])
def test_a_cluster_promotes_a_replica(
    cluster: ClusterGroup, fault: Callable[[Topology, Node], Callable[[], None]]
) -> None:
    cluster.wait_until_settled()
    old = cluster.master(SLOT)
    repair = fault(cluster, old)
    new = cluster.wait_for_new_master(old, SLOT)
    new.call("SET", KEY, fault.__name__)
    repair()
    cluster.wait_until_settled()
    assert old in cluster.replicas(new)
    assert cluster.master_of(KEY).call("GET", KEY) == fault.__name__


def test_a_slot_moves_with_its_keys(cluster: ClusterGroup) -> None:
    """While it does, the source answers ASK for what has left."""
    cluster.wait_until_settled()
    source = cluster.master(SLOT)
    target = next(node for node in cluster.masters() if node is not source)
    for number in range(30):
        source.call("SET", f"{KEY}{number}", number)
    cluster.begin_migration(SLOT, source, target)
    while cluster.move_keys(SLOT, source, target):
        pass
    with pytest.raises(hiredis.ReplyError, match=r"^ASK "):
        source.call("GET", f"{KEY}1")
    cluster.end_migration(SLOT, source, target)
    assert target.call("GET", f"{KEY}1") == "1"
    with pytest.raises(hiredis.ReplyError, match=r"^MOVED "):
        source.call("GET", f"{KEY}1")
    cluster.migrate_slot(SLOT, target, source, batch=7, pace=0.001)
    assert source.call("GET", f"{KEY}29") == "29"


def test_a_range_of_slots_moves_at_once(cluster: ClusterGroup) -> None:
    cluster.wait_until_settled()
    source = cluster.master(SLOT)
    target = next(node for node in cluster.masters() if node is not source)
    source.call("SET", KEY, "x")
    cluster.migrate_slots(0, 99, source, target)
    assert target.call("GET", KEY) == "x"
    cluster.wait_until_settled()


def test_nodes_come_and_go(cluster: ClusterGroup) -> None:
    cluster.wait_until_settled()
    master = cluster.add_node()
    replica = cluster.add_node(replica_of=master)
    cluster.migrate_slots(SLOT, SLOT, cluster.master(SLOT), master)
    cluster.wait_until_settled()
    assert cluster.master(SLOT) is master
    assert cluster.replicas(master) == [replica]
    cluster.empty(master)
    cluster.remove_node(replica)
    cluster.remove_node(master)
    cluster.wait_until_settled()
    assert len(cluster.nodes) == 6


@pytest.mark.parametrize("kill", [False, True])
def test_a_whole_cluster_restarts(cluster: ClusterGroup, *, kill: bool) -> None:
    cluster.wait_until_settled()
    cluster.master_of(KEY).call("SET", KEY, "kept")
    cluster.restart_all(kill=kill)
    cluster.wait_until_settled()
    assert cluster.master_of(KEY).call("GET", KEY) == "kept"


@pytest.mark.slow  # the fault suites show it too
def test_a_cluster_restarts_node_by_node(cluster: ClusterGroup) -> None:
    cluster.wait_until_settled()
    pids = [node.pid for node in cluster.nodes]
    cluster.rolling_restart()
    assert not set(pids) & {node.pid for node in cluster.nodes}


def test_a_cluster_over_tls() -> None:
    with ClusterGroup(tls="server", password=SECRET, replicas=0) as cluster:
        node = cluster.nodes[0]
        announced = {entry[2][1] for entry in node.call("CLUSTER", "SLOTS")}
        assert announced == {node.address.port for node in cluster.nodes}
        with Redis(
            host="localhost",
            port=node.address.port,
            password=SECRET,
            ssl=True,
            ssl_ca_certs=str(cluster.authority.ca),
        ) as client:
            assert client.ping()


def test_waiting_in_vain_tells_the_state() -> None:
    with Standalone() as one, pytest.raises(AssertionError, match="never") as caught:
        one.wait_until(lambda: False, "never", seconds=0.05)
    assert "valkey" in caught.value.__notes__[0]
