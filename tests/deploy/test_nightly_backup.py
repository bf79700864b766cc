"""The CronJob of the component `backup` does what its command says, in its own shell."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import password_hash
from tests.deploy.kustomize import Manifests
from tests.deploy.overlays import OVERLAYS, with_components
from tests.support.service import PROGRAM, environment
from tests.support.topologies.standalone import Standalone

FILES = {"certificates.jsonl", "stations.jsonl", "tokens.jsonl"}
DAY = 86400


class Night(NamedTuple):
    """What the pod has: its script, its volume and its command."""

    script: str
    command: list[str]
    environment: dict[str, str]


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    return with_components("production", tmp_path_factory.mktemp("home"), "backup")


@pytest.fixture(scope="module")
def night(manifests: Manifests) -> Night:
    container = manifests.containers["csms-redis-backup/backup"]
    told = manifests.get("ConfigMap", "csms-redis-environment")["data"]
    kept = {one["name"]: one["value"] for one in container["env"]}
    script = manifests.get("ConfigMap", "csms-redis-backup")["data"]["backup.sh"]
    return Night(script, container["command"], told | kept)


@pytest.fixture(scope="module")
def filled() -> Iterator[Standalone]:
    with Standalone() as topology:
        node = topology.master()
        node.call("HSET", "cs:cs001", "securityProfile", "1", "base64SHA256Password", PASSWORD)
        yield topology


PASSWORD = f'"{password_hash("fiddlesticks")}"'


def run(night: Night, home: Path, url: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the pod's directories below `home`."""
    (home / "script").mkdir(exist_ok=True)
    (home / "script/backup.sh").write_text(night.script, "utf-8")
    (home / "config.toml").write_text("", "utf-8")
    (home / "backup").mkdir(exist_ok=True)
    placed = {"/run/backup/": f"{home}/script/", "/backup": f"{home}/backup"}
    command = [
        re.sub(r"/run/backup/|/backup\b(?!\.sh)", lambda found: placed[found[0]], word)
        for word in night.command
    ]
    settings = {
        **{name: value for name, value in night.environment.items() if "REDIS__" not in name},
        "CSMS_CONFIG": f"{home}/config.toml",
        "CSMS_REDIS__URL": url,
        "PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}",
    }
    return subprocess.run(
        command,
        env=environment(settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class TestCommand:
    """What it does each night."""

    def test_a_backup_is_made_and_old_ones_go(
        self, night: Night, filled: Standalone, tmp_path: Path
    ) -> None:
        kept, old = (
            tmp_path / "backup" / name for name in ("2026-11-15T0317Z", "2026-11-01T0317Z")
        )
        for directory, age in ((kept, 13), (old, 16)):
            directory.mkdir(parents=True)
            os.utime(directory, times=(time.time() - age * DAY,) * 2)
        done = run(night, tmp_path, filled.url)

        assert done.returncode == 0, done.stderr
        made = set((tmp_path / "backup").iterdir())
        assert old not in made
        assert kept in made
        [new] = made - {kept}
        assert {file.name for file in new.iterdir()} == FILES
        assert "cs001" in (new / "stations.jsonl").read_text("utf-8")
        assert new.stat().st_mode & 0o077 == 0

    def test_what_others_keep_there_is_no_failure(
        self, night: Night, filled: Standalone, tmp_path: Path
    ) -> None:
        """The script's exit code 3."""
        node = filled.master()
        node.call("SET", "cs:others", "text")
        try:
            done = run(night, tmp_path, filled.url)
        finally:
            node.call("DEL", "cs:others")

        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / "backup").iterdir())) == 1

    def test_a_night_that_fails_takes_nothing_away(self, night: Night, tmp_path: Path) -> None:
        old = tmp_path / "backup/2026-11-01T0317Z"
        old.mkdir(parents=True)
        os.utime(old, times=(time.time() - 16 * DAY,) * 2)
        done = run(night, tmp_path, "redis://127.0.0.1:1")

        assert done.returncode == 1
        assert "cannot be reached" in done.stderr
        assert list((tmp_path / "backup").iterdir()) == [old]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_it_has_the_service_s_way_to_redis(overlay: str, tmp_path: Path) -> None:
    """The same image, settings and files, but for the listener's certificate; and policies."""
    made = with_components(overlay, tmp_path, "backup")
    service = made.containers["csms-redis/csms-redis"]
    backup = made.containers["csms-redis-backup/backup"]
    of_service, of_backup = (
        {volume["name"]: volume for volume in made.pods[name]["volumes"]}
        for name in ("csms-redis", "csms-redis-backup")
    )

    assert backup["image"] == service["image"]
    assert backup["envFrom"] == service["envFrom"]
    mounted = {mount["name"]: mount for mount in backup["volumeMounts"]}
    for mount in service["volumeMounts"]:
        if mount["name"] != "server-tls":
            assert mounted[mount["name"]] == mount
            assert of_backup[mount["name"]] == of_service[mount["name"]]
    labels = made.templates["csms-redis-backup"]["metadata"]["labels"]["app.kubernetes.io/name"]
    out = made.get("NetworkPolicy", "csms-redis-to-redis")["spec"]["podSelector"]
    [selected] = out["matchExpressions"]
    assert {labels, "csms-redis"} == set(selected["values"])
    for name in {"valkey", "sentinel"} & set(made.pods):
        [rule, *_] = made.get("NetworkPolicy", name)["spec"]["ingress"]
        assert {"podSelector": {"matchLabels": {"app.kubernetes.io/name": labels}}} in rule["from"]
    selector = made.get("Service")["spec"]["selector"]
    assert not selector.items() <= made.templates["csms-redis-backup"]["metadata"]["labels"].items()
