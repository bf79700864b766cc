"""`check` on Sentinel, on clusters, over TLS, and with replicas that are waited for."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from csms_redis.check.exposure import exposure
from csms_redis.check.server import hash_tag
from csms_redis.redis.address import Address
from csms_redis.redis.url import parse
from tests.conftest import wait_for
from tests.system.service import PASSWORD, run
from tests.topologies.authority import Authority
from tests.topologies.cluster import ClusterGroup
from tests.topologies.node import Node
from tests.topologies.sentinels import SentinelGroup
from tests.topologies.standalone import Standalone

SENTINEL_PASSWORD = "s3ntinel:p@ss/w#rd?"


class Told(NamedTuple):
    """One line of the report."""

    level: str
    about: str
    text: str


def check(cwd: Path, url: str, **settings: str) -> tuple[int, list[Told]]:
    """What `check` exits with and what it says."""
    names = {f"CSMS_REDIS__{name.upper()}": value for name, value in settings.items()}
    result: subprocess.CompletedProcess[bytes] = run(
        "check", cwd=cwd, settings={"CSMS_REDIS__URL": url} | names
    )
    assert result.stderr == b""
    report = result.stdout.decode()
    for secret in (PASSWORD, SENTINEL_PASSWORD):
        assert secret not in report
    told = []
    for line in report.splitlines():
        match = re.fullmatch(r"(ok {5}|warning|error {2})  (\S+) +(\S.*)", line)
        assert match is not None, line
        told.append(Told(match[1].strip(), match[2], match[3]))
    return result.returncode, told


def about(told: list[Told], *names: str) -> list[tuple[str, str]]:
    """The levels and texts of what is about these."""
    return [(one.level, one.text) for one in told if one.about in names]


@pytest.fixture(scope="module")
def sentinels() -> Iterator[SentinelGroup]:
    with SentinelGroup(
        password=PASSWORD, sentinel_user="watcher", sentinel_password=SENTINEL_PASSWORD
    ) as group:
        yield group


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterGroup]:
    with ClusterGroup(password=PASSWORD) as group:
        yield group


@pytest.fixture
def watched(sentinels: SentinelGroup, tmp_path: Path) -> Mapping[str, str]:
    """What the settings need for the sentinels."""
    (tmp_path / "sentinel").write_text(SENTINEL_PASSWORD, "utf-8")
    return {
        "url": sentinels.url,
        "sentinel_username": "watcher",
        "sentinel_password_file": "sentinel",
    }


def _set(nodes: list[Node], name: str, value: str) -> None:
    for node in nodes:
        node.call("CONFIG", "SET", name, value)


class TestSentinel:
    """The master is found as the service finds it."""

    def test_the_master_and_its_replicas(
        self, sentinels: SentinelGroup, watched: Mapping[str, str], tmp_path: Path
    ) -> None:
        """A warning for each way to lose an acknowledged write, and the number to set."""
        code, told = check(tmp_path, **watched)
        master = sentinels.master().address
        assert about(told, "redis") == [("ok", f"redis://{master}/0 answers")]
        ((level, text),) = about(told, "min-replicas")
        assert level == "warning"
        assert "set min-replicas-to-write 1 and min-replicas-max-lag 10" in text
        ((level, text),) = about(told, "wait_replicas")
        assert level == "warning"
        assert text.startswith(f"0, but redis://{master}/0 has 2 replicas: ")
        assert text.endswith("; set redis.wait_replicas = 2")
        assert code == 0

    def test_all_replicas_are_waited_for(self, watched: Mapping[str, str], tmp_path: Path) -> None:
        """Then nothing acknowledged is lost, whatever min-replicas-to-write is."""
        code, told = check(tmp_path, **watched, wait_replicas="2")
        assert about(told, "wait_replicas", "min-replicas") == [
            ("ok", "0, but what a master that is cut off is sent is not acknowledged either"),
            ("ok", "2: what was acknowledged is at every replica"),
        ]
        assert code == 0

    def test_one_of_two_is_waited_for(self, watched: Mapping[str, str], tmp_path: Path) -> None:
        _, told = check(tmp_path, **watched, wait_replicas="1")
        levels = [level for level, _ in about(told, "wait_replicas", "min-replicas")]
        assert levels == ["warning", "warning"]

    def test_more_are_waited_for_than_there_are(
        self, watched: Mapping[str, str], tmp_path: Path
    ) -> None:
        """An error: no write would be acknowledged."""
        code, told = check(tmp_path, **watched, wait_replicas="3")
        ((level, text),) = about(told, "wait_replicas")
        assert level == "error"
        assert "has 2 replicas: every write to it is answered 503" in text
        assert text.endswith("set redis.wait_replicas = 2")
        assert code == 1

    def test_min_replicas_to_write(
        self, sentinels: SentinelGroup, watched: Mapping[str, str], tmp_path: Path
    ) -> None:
        """Without its lag it is as good as not set."""
        try:
            _set(sentinels.nodes, "min-replicas-to-write", "1")
            _, told = check(tmp_path, **watched)
            assert about(told, "min-replicas") == [
                ("ok", "1: a master that is cut off refuses writes after 10 s")
            ]
            _set(sentinels.nodes, "min-replicas-max-lag", "0")
            _, told = check(tmp_path, **watched)
            assert about(told, "min-replicas")[0][0] == "warning"
        finally:
            _set(sentinels.nodes, "min-replicas-to-write", "0")
            _set(sentinels.nodes, "min-replicas-max-lag", "10")

    def test_disks(
        self, sentinels: SentinelGroup, watched: Mapping[str, str], tmp_path: Path
    ) -> None:
        """What cannot confirm is an error, what confirms late a warning."""
        waits = {**watched, "wait_replicas": "2", "wait_for_disk": "true"}
        replica = sentinels.replicas()[0]
        try:
            _, told = check(tmp_path, **waits)
            ((level, text),) = about(told, "wait_for_disk")
            assert level == "warning"
            assert "has appendfsync everysec: writes to" in text
            assert "503" not in text
            _, told = check(tmp_path, **waits, wait_timeout="0.5")
            assert "longer than redis.wait_timeout, and get a 503" in str(told)

            _set(sentinels.nodes, "appendfsync", "always")
            code, told = check(tmp_path, **waits)
            assert (code, about(told, "wait_for_disk")) == (0, [])

            for name, value in (("appendfsync", "no"), ("appendonly", "no")):
                replica.call("CONFIG", "SET", name, value)
                code, told = check(tmp_path, **waits)
                ((level, text),) = about(told, "wait_for_disk")
                assert level == "error"
                assert text.startswith(f"redis://{replica.address}/0 never confirms")
                assert code == 1
                _, told = check(tmp_path, **waits | {"wait_replicas": "1"})
                assert about(told, "wait_for_disk") == []
        finally:
            _set(sentinels.nodes, "appendonly", "yes")
            _set(sentinels.nodes, "appendfsync", "everysec")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("sentinel_username", "nobody"),
            ("url", "redis+sentinel://127.0.0.1:1/mymaster"),
            ("url", "{url}er"),
        ],
    )
    def test_sentinels_that_do_not_tell(
        self, name: str, value: str, watched: Mapping[str, str], tmp_path: Path
    ) -> None:
        """Another user, nobody there, another name: an error, with the sentinels' addresses."""
        wrong = {**watched, name: value.format(**watched)}
        code, told = check(tmp_path, **wrong)
        ((level, text),) = about(told, "redis")
        assert level == "error"
        assert text.startswith("redis+sentinel://127.0.0.1:")
        assert code == 1

    def test_a_sentinel_that_is_taken_for_the_redis(self, tmp_path: Path) -> None:
        """It answers INFO too."""
        with SentinelGroup(replicas=1, sentinels=1) as group:
            code, told = check(tmp_path, f"redis://{group.sentinels[0].address}")
        assert ("error", "role") in {(one.level, one.about) for one in told}
        assert "redis+sentinel://" in str(told)
        assert code == 1


class TestCluster:
    """Every master is looked at."""

    def test_each_master(self, cluster: ClusterGroup, tmp_path: Path) -> None:
        code, told = check(tmp_path, cluster.url, wait_replicas="1")
        masters = sorted(str(node.address) for node in cluster.masters())
        assert sorted(about(told, "redis")) == [
            ("ok", f"redis://{address}/0 answers") for address in masters
        ]
        assert len(about(told, "version")) == 3
        assert about(told, "wait_replicas") == [
            ("ok", "1: what was acknowledged is at every replica")
        ]
        assert about(told, "min-replicas", "role", "key_prefix", "tls") == []
        assert code == 0

    def test_a_hash_tag(self, cluster: ClusterGroup, tmp_path: Path) -> None:
        """It would put all keys into one slot."""
        _, told = check(tmp_path, cluster.url, key_prefix="{csms}:")
        ((level, text),) = about(told, "key_prefix")
        assert level == "warning"
        assert "all records are in one slot" in text

    def test_a_master_without_a_replica(self, cluster: ClusterGroup, tmp_path: Path) -> None:
        """Nothing takes its place when it dies; waiting for a replica would be in vain."""
        master = cluster.master(0)
        replica = cluster.replicas(master)[0]
        replica.terminate()
        try:
            wait_for(lambda: master.info("replication")["connected_slaves"] == "0", "it is gone")
            code, told = check(tmp_path, cluster.url)
            ((level, text),) = about(told, "replicas")
            assert (level, code) == ("warning", 0)
            assert text.startswith(f"redis://{master.address}/0 has none")
            ((level, text),) = about(told, "wait_replicas")
            assert text.endswith("give each master 1 and set redis.wait_replicas = 1")
            code, told = check(tmp_path, cluster.url, wait_replicas="1")
            ((level, text),) = about(told, "wait_replicas")
            assert (level, code) == ("error", 1)
            assert text.startswith(f"1, but redis://{master.address}/0 has no replicas: ")
        finally:
            replica.start()
            cluster.wait_until_settled()

    def test_one_node_that_is_taken_for_the_redis(
        self, cluster: ClusterGroup, tmp_path: Path
    ) -> None:
        """Writes to two thirds of the keys would be refused."""
        url = cluster.url.split(",")[0].replace("+cluster", "")
        code, told = check(tmp_path, url)
        ((level, text),) = about(told, "role")
        assert (level, code) == ("error", 1)
        assert "redis+cluster://" in text

    def test_what_is_no_cluster(self, tmp_path: Path) -> None:
        with Standalone(password=PASSWORD) as one:
            url = one.url.removesuffix("/0").replace("redis://", "redis+cluster://")
            code, told = check(tmp_path, url)
        ((level, text),) = about(told, "redis")
        assert (level, code) == ("error", 1)
        assert text == f"redis+cluster://{one.node.address}: it is no cluster"

    def test_a_wrong_password(self, cluster: ClusterGroup, tmp_path: Path) -> None:
        code, told = check(tmp_path, cluster.url_as("", "wr0ng-one"))
        ((level, text),) = about(told, "redis")
        assert (level, code) == ("error", 1)
        assert "wr0ng" not in text


class TestTls:
    """Each way in which TLS fails is told, and what to set."""

    def test_it_works(self, tmp_path: Path) -> None:
        with Standalone(tls="server", password=PASSWORD) as one:
            code, told = check(tmp_path, one.url, tls_ca_file=str(one.authority.ca))
            assert about(told, "redis") == [("ok", f"rediss://{one.node.address}/0 answers")]
            assert code == 0

    def test_another_authority(self, tmp_path: Path) -> None:
        """Its own, or the system's."""
        other = Authority(tmp_path / "other").ca
        with Standalone(tls="server") as one:
            for settings in ({"tls_ca_file": str(other)}, {}):
                code, told = check(tmp_path, one.url, **settings)
                ((level, text),) = about(told, "redis")
                assert (level, code) == ("error", 1)
                assert "its certificate is refused: " in text
                assert "redis.tls_ca_file" in text

    def test_a_certificate_for_another_host(self, tmp_path: Path) -> None:
        """Unless the name does not count."""
        with Standalone(tls="server") as one:
            url = one.url.replace("127.0.0.1", "127.0.0.2")
            ca = str(one.authority.ca)
            proxy = one._proxies
            assert proxy is not None
            host = Address(host="127.0.0.2", port=one.node.address.port)
            proxy.add(
                type(one.node.address)(host.host, host.port),
                one.node.own,
                tls=one.authority.server_context("localhost"),
            )
            code, told = check(tmp_path, url, tls_ca_file=ca)
            ((_, text),) = about(told, "redis")
            assert "mismatch" in text
            assert code == 1
            code, told = check(tmp_path, url, tls_ca_file=ca, tls_check_hostname="false")
            assert (about(told, "redis")[0][0], code) == ("ok", 0)

    def test_a_certificate_is_demanded(self, tmp_path: Path) -> None:
        with Standalone(tls="mutual") as one:
            ca = str(one.authority.ca)
            code, told = check(tmp_path, one.url, tls_ca_file=ca)
            ((level, text),) = about(told, "redis")
            assert (level, code) == ("error", 1)
            assert "redis.tls_cert_file" in text
            code, told = check(
                tmp_path,
                one.url,
                tls_ca_file=ca,
                tls_cert_file=str(one.client.certificate),
                tls_key_file=str(one.client.key),
            )
            assert (about(told, "redis")[0][0], code) == ("ok", 0)

    def test_only_one_side_speaks_it(self, tmp_path: Path) -> None:
        with Standalone() as plain:
            code, told = check(tmp_path, plain.url.replace("redis://", "rediss://"))
            ((_, text),) = about(told, "redis")
            assert "TLS" in text
            assert code == 1
        with Standalone(tls="server") as one:
            code, told = check(tmp_path, one.url.replace("rediss://", "redis://"))
            ((_, text),) = about(told, "redis")
            assert "TLS (rediss://)" in text
            assert code == 1


@pytest.mark.parametrize(
    ("url", "hosts", "password", "warned"),
    [
        ("redis://10.0.0.1", [], True, True),
        ("redis://redis.example.com", [], True, True),
        ("redis://10.0.0.1", [], False, False),
        ("redis://localhost", [], True, False),
        ("redis://127.0.0.9", [], True, False),
        ("redis://[::1]", [], True, False),
        ("rediss://10.0.0.1", [], True, False),
        ("unix:///run/r.sock", [""], True, False),
        ("redis+sentinel://localhost/m", ["10.0.0.1"], True, True),
        ("redis+sentinel://10.0.0.2/m", [], True, True),
        ("rediss+sentinel://10.0.0.2/m", ["10.0.0.1"], True, False),
        ("redis+cluster://localhost", ["10.0.0.1"], True, True),
    ],
)
def test_a_password_in_the_open(
    url: str,
    hosts: list[str],
    password: bool,  # noqa: FBT001 a table's column
    warned: bool,  # noqa: FBT001 a table's column
) -> None:
    """To another machine, of the URL or found, without TLS: a warning with the scheme to use."""
    said = parse(url)
    found = list(exposure([host for host, _ in said.hosts] + hosts, said, password=password))
    assert [finding.about for finding in found] == ["tls"] * warned
    if warned:
        assert "10.0.0" in found[0].text or "example.com" in found[0].text
        assert found[0].text.endswith(url.partition("://")[0].replace("redis", "rediss") + "://")


def test_what_ends_by_itself(tmp_path: Path) -> None:
    """Records should not: how many keys do, in the database of the URL, is told."""
    with Standalone() as running:
        url = running.settings["redis__url"]
        running.node.call("HSET", "cs:always", "securityProfile", 2)
        assert about(check(tmp_path, url)[1], "expires") == []

        for number in range(3):
            running.node.call("SET", f"other:{number}", "", "EX", 1000)
        if running.node.call("COMMAND", "INFO", "hpttl") != [None]:
            running.node.call("HPEXPIRE", "cs:always", 100000, "FIELDS", 1, "securityProfile")
            hashes = 1
        else:
            hashes = 0
        code, told = check(tmp_path, url)
        ((level, text),) = about(told, "expires")
        assert (code, level) == (0, "warning")
        assert f"database 0, 3 keys have a time to live, and fields of {hashes} hashes" in text


@pytest.mark.parametrize(
    ("prefix", "warned"),
    [
        ("{csms}:", True),
        ("a{b}c", True),
        ("{{}", True),
        ("", False),
        ("csms:", False),
        ("{}{csms}", False),
        ("{csms", False),
        ("csms}", False),
    ],
)
def test_a_hash_tag(prefix: str, warned: bool) -> None:  # noqa: FBT001 a table's column
    """What is between the first braces, if there is something, is all that counts for the slot."""
    assert len(list(hash_tag(prefix, "cluster"))) == warned
    assert list(hash_tag(prefix, "sentinel")) == []
