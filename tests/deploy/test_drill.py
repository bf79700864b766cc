"""What the pages of deploy tell to type for a failover, a backup and an upgrade is typed."""

import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from csms_redis.settings import load
from tests.conftest import Service, password_hash, running_service, wait_for
from tests.deploy.document import ROOT, Terminal, page, section
from tests.support.examples import Example, examples
from tests.support.measure import say
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.node import Node
from tests.support.topologies.sentinels import SentinelGroup
from tests.support.topologies.standalone import Standalone
from tests.support.topologies.topology import Topology

needs_programs = pytest.mark.skipif(
    shutil.which("redis-cli") is None or shutil.which("curl") is None,
    reason="redis-cli or curl is not installed: apt install redis-tools curl",
)
SENTINEL, CLUSTER = map(examples, section("operate.md", "Failover drill").split("**Cluster.**"))
UPGRADE = examples(page("upgrade.md"))
BACKUP = examples(section("operate.md", "Backup and restore"))
OVER_HTTP = examples(section("operate.md", "Commands over HTTP"))  # tests/commands types these
STATION = {"securityProfile": 1, "base64SHA256Password": password_hash("secret")}
PAUSE = 0.02  # seconds


def split_at_failover(shown: list[Example]) -> tuple[list[Example], list[Example]]:
    """What is typed up to the failover, and what is looked at afterwards."""
    at = next(n for n, example in enumerate(shown) if "failover" in example.command.split()) + 1
    return shown[:at], shown[at:]


class Load:
    """Lookups of a cached station and writes of others, one after the other."""

    def __init__(self, service: Service) -> None:
        self.lookups: Counter[int] = Counter()
        self.writes: Counter[int] = Counter()
        self.refused: list[float] = []  # when writes were, on the monotonic clock
        self._service = service
        self._over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Until the block's end."""
        worker = threading.Thread(target=self._run)
        worker.start()
        try:
            yield
        finally:
            self._over.set()
            worker.join()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(PAUSE):
            self.lookups[self._service.get("/cs/cached/auth").status] += 1
            status = self._service.post(f"/cs/cs{number}", STATION).status
            self.writes[status] += 1
            if status == 503:
                self.refused.append(time.monotonic())
            number += 1

    def __str__(self) -> str:
        refused = self.refused[-1] - self.refused[0] if self.refused else 0
        lookups, writes = dict(self.lookups), dict(self.writes)
        return f"lookups {lookups}, writes {writes}, refused for {refused:.1f} s"


@contextmanager
def serving(topology: Topology, wait_replicas: int) -> Iterator[Service]:
    """A service that has a station in its near cache."""
    settings = topology.settings | {"redis__wait_replicas": f"{wait_replicas}"}
    with running_service(**settings) as service:
        wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready")
        assert service.post("/cs/cached", STATION).status == 201
        for _ in range(2):
            assert service.get("/cs/cached/auth").status == 200
        yield service


def drill(
    shown: list[Example], topology: Topology, service: Service, terminal: Terminal, old: Node
) -> None:
    """Type all of it under load, and wait for what it is to show."""
    before, after = split_at_failover(shown)
    load = Load(service)
    with load.running():
        for example in before:
            terminal.type(example)
        if isinstance(topology, SentinelGroup):
            terminal.ports[6380] = topology.wait_for_new_master(old).own.port
        for example in after:
            terminal.watch(example)
    told = re.findall(
        r"^csms_(?:redis_connections_lost|lookups)_total(?=.*stale|.*lost| ).*[1-9].*$",
        service.request("GET", "/metrics").body.decode(),
        re.MULTILINE,
    )
    say(f"drill: {load}, {told}")
    assert set(load.lookups) == {200}
    assert load.writes.keys() <= {201, 503}
    assert service.post("/cs/later", STATION).status == 201


def test_no_command_is_left_out() -> None:
    """Whatever the pages show with its output is typed by a test."""
    shown = [
        example
        for path in sorted((ROOT / "deploy").rglob("*.md"))
        for example in examples(path.read_text("utf-8"))
    ]
    assert Counter(shown) == Counter(SENTINEL + CLUSTER + UPGRADE + BACKUP + OVER_HTTP)
    assert min(map(len, (SENTINEL, CLUSTER, UPGRADE, BACKUP, OVER_HTTP))) >= 2


@needs_programs
def test_sentinels_replace_the_master(tmp_path: Path) -> None:
    """What is looked at before and after is as the document shows it."""
    with SentinelGroup() as group, serving(group, 2) as service:
        old = group.master()
        ports = {26379: group.sentinels[0].own.port, 6379: old.own.port, 9410: service.port}
        terminal = Terminal(tmp_path, group.settings | {"redis__wait_replicas": "2"}, ports)
        drill(SENTINEL, group, service, terminal, old)

        # a replica that restarts is one that confirms nothing
        replica = group.replicas()[0]
        replica.terminate()
        assert service.post("/cs/later", STATION).status == 503
        replica.start()
        wait_for(lambda: service.post("/cs/later", STATION).status == 201, "it is confirmed")


@needs_programs
def test_a_replica_takes_over_in_a_cluster(tmp_path: Path) -> None:
    """As behind sentinels; and back again at the old master."""
    with ClusterGroup() as group, serving(group, 1) as service:
        old = group.master()
        (replica,) = group.replicas(old)
        ports = {6380: replica.own.port, 9410: service.port}
        terminal = Terminal(tmp_path, group.settings | {"redis__wait_replicas": "1"}, ports)
        drill(CLUSTER, group, service, terminal, old)
        group.wait_until_settled()

        terminal.ports[6380] = old.own.port
        drill(CLUSTER, group, service, terminal, replica)


@needs_programs
def test_what_upgrade_and_backup_show(tmp_path: Path) -> None:
    """In the order of each page, on one Redis; an RDB file that is started on has it all."""
    with Standalone() as group:
        with serving(group, 0):
            terminal = Terminal(tmp_path, group.settings, {6379: group.node.own.port})
            for example in UPGRADE + BACKUP:
                terminal.type(example)
        stored = group.node.call("HGETALL", "cs:cached")
        assert stored
    saved = tmp_path / "saved.rdb"
    assert saved.stat().st_mode & 0o077 == 0
    restored = Node(tmp_path / "restored", "appendonly no", f"dbfilename {saved.name}")
    saved.rename(restored.home / saved.name)
    restored.start()
    try:
        restored.call("CONFIG", "SET", "appendonly", "yes")
        assert restored.call("HGETALL", "cs:cached") == stored
        wait_for(
            lambda: (
                restored.info("persistence")["aof_last_bgrewrite_status"] == "ok"
                and restored.info("persistence")["aof_rewrite_in_progress"] == "0"
                and any((restored.home / "appendonlydir").glob("*.base.rdb"))
            ),
            "its append-only file is written",
        )
    finally:
        restored.kill()


def test_proxies_are_trusted_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is one that the environment can have."""
    assignment = re.search(
        r"^(CSMS_\w+)='(.*)'$", section("install.md", "Trusted proxies"), re.MULTILINE
    )
    assert assignment is not None
    monkeypatch.setenv(*assignment.groups())
    proxies = load(ROOT / "config.toml").server.trusted_proxies
    assert [str(network) for network in proxies] == ["10.20.0.0/16"]
