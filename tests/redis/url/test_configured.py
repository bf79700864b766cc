"""What `[redis]` means: the topology, its users, and settings that do not go together."""

from pathlib import Path

import pytest

from csms_redis.redis.address import Address, Tls
from csms_redis.redis.cluster import Cluster
from csms_redis.redis.sentinel import Sentinel
from csms_redis.redis.url import configured, parse
from csms_redis.settings import RedisSettings
from tests.support.redis_settings import refused, settings
from tests.support.topologies.authority import Authority


def test_an_address_keeps_its_password_to_itself() -> None:
    """Whatever shows it."""
    said = parse("redis+sentinel://joe:s3cret@host/m")
    topology = configured(settings("redis://joe:s3cret@host:1/2"))
    url = settings("redis://joe:s3cret@host:1/2")
    assert "s3cret" not in f"{said!r} {said} {topology!r} {topology} {url!r} {url}"
    assert str(topology) == "redis://host:1/2"


class TestConfigured:
    """What `[redis]` means."""

    def test_embedded(self) -> None:
        """There is no topology to find."""
        assert configured(RedisSettings()) is None

    def test_a_host(self) -> None:
        """It is the one master of every key."""
        topology = configured(settings("redis://joe:p@[::1]:7000/2"))
        assert topology is not None
        expected = Address(host="::1", port=7000, db=2, username="joe", password="p")
        assert topology.masters == (expected,)
        assert topology.owner(b"cs:cs001") == expected
        assert str(topology) == "redis://[::1]:7000/2"

    def test_a_socket(self) -> None:
        """It is the one master of every key, too."""
        topology = configured(settings("unix://joe:p@/run/r.sock?db=2"))
        assert topology is not None
        assert topology.masters == (
            Address(path="/run/r.sock", db=2, username="joe", password="p"),
        )
        assert str(topology) == "unix:///run/r.sock"

    def test_sentinels(self, tmp_path: Path) -> None:
        """They have a user of their own; the master's is the URL's."""
        (tmp_path / "secret").write_text("s3cret", "utf-8")
        topology = configured(
            settings(
                "redis+sentinel://joe:p@h1:1,[::1]/mymaster/2",
                sentinel_username="watcher",
                sentinel_password_file=tmp_path / "secret",
            )
        )
        assert isinstance(topology, Sentinel)
        assert topology._configured == (
            Address(host="h1", port=1, username="watcher", password="s3cret"),
            Address(host="::1", port=26379, username="watcher", password="s3cret"),
        )
        assert topology._master == Address(db=2, username="joe", password="p")
        assert topology._name == "mymaster"
        assert str(topology) == "redis+sentinel://h1:1,[::1]:26379/mymaster/2"
        assert topology.masters == ()

    def test_a_cluster(self) -> None:
        """Every node is spoken to in the same way."""
        topology = configured(settings("rediss+cluster://joe:p@h1:1,[::1]"))
        assert isinstance(topology, Cluster)
        assert topology._seeds == (
            Address(host="h1", port=1, tls=Tls(), username="joe", password="p"),
            Address(host="::1", port=6379, tls=Tls(), username="joe", password="p"),
        )
        assert str(topology) == "rediss+cluster://h1:1,[::1]:6379"
        assert topology.masters == ()

    def test_tls(self, tmp_path: Path) -> None:
        """The files and whether the name counts are in the address."""
        pair = (authority := Authority(tmp_path)).issue("client")
        topology = configured(
            settings(
                "rediss://host",
                tls_ca_file=authority.ca,
                tls_cert_file=pair.certificate,
                tls_key_file=pair.key,
                tls_check_hostname=False,
            )
        )
        assert topology is not None
        assert topology.masters[0].tls == Tls(
            ca_file=authority.ca,
            cert_file=pair.certificate,
            key_file=pair.key,
            check_hostname=False,
        )
        plain = configured(settings("rediss://host"))
        assert plain is not None
        assert plain.masters[0].tls == Tls()
        assert str(plain) == "rediss://host:6379/0"

    def test_a_certificate_and_its_key_in_one_file(self, tmp_path: Path) -> None:
        """Then the key's file is not named."""
        pair = Authority(tmp_path).issue("client")
        both = tmp_path / "both.pem"
        both.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
        topology = configured(settings("rediss://host", tls_cert_file=both))
        assert topology is not None
        assert topology.masters[0].tls == Tls(cert_file=both)

    @pytest.mark.parametrize("user", ["", "joe@", "joe:in-the-url@", ":in-the-url@"])
    def test_the_password_of_a_file(self, user: str, tmp_path: Path) -> None:
        """It takes the place of the URL's; a line end is not part of it."""
        (tmp_path / "secret").write_text("p#ss wörd\r\n", "utf-8")
        topology = configured(settings(f"redis://{user}host", password_file=tmp_path / "secret"))
        assert topology is not None
        assert topology.masters[0].password == "p#ss wörd"
        assert topology.masters[0].username == ("joe" if user.startswith("joe") else None)

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (None, "secret: No such file or directory"),
            (b"", "secret: is empty"),
            (b"\n", "secret: is empty"),
            (b"\xff", "secret: is not UTF-8 text"),
        ],
    )
    @pytest.mark.parametrize("setting", ["password_file", "sentinel_password_file"])
    def test_a_password_file_that_cannot_be_used(
        self, setting: str, content: bytes | None, says: str, tmp_path: Path
    ) -> None:
        """The line names the setting and the file."""
        if content is not None:
            (tmp_path / "secret").write_bytes(content)
        told = refused("redis+sentinel://host/m", **{setting: tmp_path / "secret"})
        assert told.startswith(f"redis.{setting}: {tmp_path}")
        assert told.endswith(says)

    def test_a_user_without_a_password(self) -> None:
        """It would be the default user that logs in, or nobody."""
        told = refused("redis://joe@host")
        assert told.startswith("redis.url: names a user and no password")
        assert "joe" not in told
        told = refused("redis+sentinel://host/m", sentinel_username="joe")
        assert told == "redis.sentinel_username: wants redis.sentinel_password_file as well"

    @pytest.mark.parametrize(
        "url",
        ["embedded", "redis://host", "unix:///r.sock", "redis+sentinel://h/m", "redis+cluster://h"],
    )
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("tls_ca_file", "ca.pem"),
            ("tls_cert_file", "cert.pem"),
            ("tls_key_file", "key.pem"),
            ("tls_check_hostname", False),
        ],
    )
    def test_tls_without_tls(self, url: str, name: str, value: object) -> None:
        """Someone believes to be protected: the start ends."""
        assert refused(url, **{name: value}) == (
            f"redis.{name}: is of use only with a redis.url that starts with rediss"
        )

    @pytest.mark.parametrize(
        "url", ["embedded", "redis://host", "rediss://h", "unix:///r.sock", "redis+cluster://h"]
    )
    @pytest.mark.parametrize("name", ["sentinel_username", "sentinel_password_file"])
    def test_sentinel_settings_without_sentinels(self, url: str, name: str) -> None:
        assert refused(url, **{name: "joe"}) == (
            f"redis.{name}: is of use only with a redis.url that starts with redis+sentinel:// "
            "or rediss+sentinel://"
        )

    def test_what_the_embedded_store_does_not_have(self) -> None:
        """A password, replicas."""
        assert refused("embedded", password_file="x") == (
            "redis.password_file: the embedded store has no password"
        )
        assert refused("embedded", wait_replicas=1) == (
            "redis.wait_replicas: the embedded store has no replicas"
        )
        assert refused("embedded", wait_for_disk=True) == (
            "redis.wait_for_disk: the embedded store always does"
        )

    def test_disks_without_replicas(self) -> None:
        """Who is not waited for has no disk to wait for."""
        assert refused("redis://host", wait_for_disk=True) == (
            "redis.wait_for_disk: is of use only with redis.wait_replicas: set that as well, or "
            "leave this out"
        )
