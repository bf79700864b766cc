"""`[redis]`: every form of URL, and every one that makes no sense."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from csms_redis.redis.address import Address, Tls
from csms_redis.redis.cluster import Cluster
from csms_redis.redis.sentinel import Sentinel
from csms_redis.redis.url import BadUrl, RedisUrl, configured, parse
from csms_redis.settings import BadSettings, RedisSettings
from tests.support.service import PASSWORD
from tests.support.topologies.authority import Authority

QUOTED = "".join(f"%{byte:02X}" for byte in PASSWORD.encode())


def settings(url: str, **others: Any) -> RedisSettings:
    """`[redis]` with a URL."""
    return RedisSettings(url=SecretStr(url), **others)


def refused(url: str, **others: Any) -> str:
    """The line with which `[redis]` is refused."""
    with pytest.raises(BadSettings) as caught:
        configured(settings(url, **others))
    (line,) = str(caught.value).splitlines()
    assert caught.value.__cause__ is None
    return line


def hosts(*pairs: tuple[str, int], **rest: Any) -> RedisUrl:
    """What a URL with these hosts says."""
    return replace(RedisUrl(kind="standalone", tls=False, hosts=pairs), **rest)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://host", hosts(("host", 6379))),
        ("redis://host/", hosts(("host", 6379))),
        ("redis://host:", hosts(("host", 6379))),
        ("REDIS://Host:7000/2", hosts(("host", 7000), db=2)),
        ("redis://10.0.0.1:7000", hosts(("10.0.0.1", 7000))),
        ("redis://[::1]", hosts(("::1", 6379))),
        ("redis://[2001:DB8:0::1]:7000/1", hosts(("2001:db8::1", 7000), db=1)),
        ("redis://[fe80::1%eth0]:7000", hosts(("fe80::1%eth0", 7000))),
        ("rediss://host:7000", hosts(("host", 7000), tls=True)),
        ("Rediss://host", hosts(("host", 6379), tls=True)),
        ("redis://:s%40crt@host", hosts(("host", 6379), password="s@crt")),
        ("redis://joe:p@host", hosts(("host", 6379), username="joe", password="p")),
        ("redis://j%3Ae:@host", hosts(("host", 6379), username="j:e", password="")),
        ("redis://joe@host", hosts(("host", 6379), username="joe")),
        ("redis://:@host", hosts(("host", 6379))),
        ("redis://@host", hosts(("host", 6379))),
        ("redis://joe:a:b@host", hosts(("host", 6379), username="joe", password="a:b")),
        (
            "redis://joe:gr%C3%BC%C3%9Fe@host",
            hosts(("host", 6379), username="joe", password="grüße"),
        ),
        ("redis://joe:a+b@host", hosts(("host", 6379), username="joe", password="a+b")),
        (f"redis://:{QUOTED}@host", hosts(("host", 6379), password=PASSWORD)),
        ("unix:///run/r.sock", RedisUrl(kind="unix", tls=False, path="/run/r.sock")),
        ("unix:///run/r.sock?db=3", RedisUrl(kind="unix", tls=False, path="/run/r.sock", db=3)),
        ("unix:///a%20b%23%40%25", RedisUrl(kind="unix", tls=False, path="/a b#@%")),
        (
            "unix://joe:p@/r.sock",
            RedisUrl(kind="unix", tls=False, path="/r.sock", username="joe", password="p"),
        ),
        (
            "redis+sentinel://host/mymaster",
            hosts(("host", 26379), kind="sentinel", name="mymaster"),
        ),
        (
            "redis+sentinel://joe:p%2Cq@h1:1,[::1]:2,H3,[::2]/my.master-1_/3",
            hosts(
                *(("h1", 1), ("::1", 2), ("h3", 26379), ("::2", 26379)),
                kind="sentinel",
                name="my.master-1_",
                db=3,
                username="joe",
                password="p,q",
            ),
        ),
        (
            "rediss+sentinel://host:1/m",
            hosts(("host", 1), kind="sentinel", name="m", tls=True),
        ),
        ("redis+cluster://h1,h2:7000", hosts(("h1", 6379), ("h2", 7000), kind="cluster")),
        ("redis+cluster://h1/", hosts(("h1", 6379), kind="cluster")),
        (
            "rediss+cluster://:p@[::1]:7000,[::1]:7001",
            hosts(("::1", 7000), ("::1", 7001), kind="cluster", tls=True, password="p"),
        ),
    ],
)
def test_a_url_that_makes_sense(url: str, said: RedisUrl) -> None:
    """Hosts, ports, database, name, user and password, each percent-decoded."""
    assert parse(url) == said


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must be embedded, or start with redis://, rediss://, unix://, redis+sentinel://"),
        ("redis", "must be embedded"),
        ("embedded ", "must be embedded"),
        ("Embedded", "must be embedded"),
        ("//host", "must be embedded"),
        ("host:6379", "must be embedded"),
        ("http://host", "must be embedded"),
        ("redis//host", "must be embedded"),
        ("redis:host", "must be embedded"),
        ("unixs:///run/r.sock", "must be embedded"),
        ("redis+nonsense://host", "must be embedded"),
        ("redis+sentinel", "must be embedded"),
        ("redis+sentinels://host/m", "must be embedded"),
        ("redis+unix:///r.sock", "must be embedded"),
        (" redis://host", "must be embedded"),
        ("redis://", "names no host"),
        ("redis:///0", "names no host"),
        ("redis://:6379", "names no host"),
        ("redis://host:x", "the port must be a number from 1 to 65535"),
        ("redis://host:0", "the port must be"),
        ("redis://host:65536", "the port must be"),
        ("redis://host:-1", "the port must be"),
        ("redis://host:+1", "the port must be"),
        ("redis://host:6_379", "the port must be"),
        ("redis://host:\u0661", "the port must be"),
        ("redis://::1", "names no host"),
        ("redis://2001:db8::1", "too many colons in a host: IPv6 goes in brackets"),
        ("redis://::1:6379", "names no host"),
        ("redis://[::1", "has a bracket that is not closed"),
        ("redis://[::1]x", "has a bracket that is not closed"),
        ("redis://[::1]6379", "has a bracket that is not closed"),
        ("redis://[10.0.0.1]", "brackets"),
        ("redis://[host]", "brackets"),
        ("redis://[]", "brackets"),
        ("redis://h]ost", "no host"),
        ("redis://ho st", "has a space"),
        ("redis://host\n", "has a space or a control character"),
        ("redis://host\t", "has a space or a control character"),
        ("redis://host/\x00", "has a space or a control character"),
        ("redis://h%6Fst", "no host"),
        ("redis://hÖst", "no host"),
        ("redis://host/x", "the database must be a number"),
        ("redis://host/-1", "the database must be a number"),
        ("redis://host/1/2", "the database must be a number"),
        ("redis://host//1", "the database must be a number"),
        ("redis://host/999999", "the database must be a number"),
        ("redis://host?db=1", "takes no options"),
        ("redis://host?", "takes no options"),
        ("redis://host#", "percent-encode it as %23"),
        ("redis://host,host2", "names several hosts, which only"),
        ("rediss://host:1,host:2/0", "names several hosts, which only"),
        ("redis://joe:pass@word@host", "has a '@' in a user name or password: percent-encode it"),
        ("redis://joe:pass@word@", "has a '@' in a user name or password: percent-encode it"),
        ("redis://joe:pa/ss@host", "has a '/' before an '@'"),
        ("redis://:pa/ss@host:6379/0", "percent-encode it as %2F"),
        ("rediss://joe:/@host", "percent-encode it as %2F"),
        ("redis://joe:6379/1@host", "percent-encode it as %2F"),
        ("redis+sentinel://joe:a/b@h1,h2/mymaster", "percent-encode it as %2F"),
        ("rediss+cluster://joe:a/b@h1,h2", "percent-encode it as %2F"),
        ("unix://joe:a/b@/run/r.sock", "percent-encode it as %2F"),
        ("unix://joe:a@/run/r@.sock", "percent-encode it as %40"),
        ("redis://joe:a?b@host", "'?' is %3F"),
        ("redis://joe:a#b@host", "percent-encode it as %23"),
        ("redis://joe:%@host", "percent-encode it as %25"),
        ("redis://joe:50%off@host", "percent-encode it as %25"),
        ("redis://joe:%FF@host", "not UTF-8"),
        ("redis://user:{password}@", "'#'"),
        ("redis://user:{password}@host", "'#'"),
        ("redis://{password}@host/x", "'#'"),
        ("redis://user:{quoted}@", "names no host"),
        ("redis://:pass/word@host", "percent-encode it as %2F"),
        ("redis://:123/word@host", "percent-encode it as %2F"),
        ("redis://joe:123/word@host", "percent-encode it as %2F"),
        ("redis://:a@pass/word@host", "percent-encode it as %2F"),
        ("redis://:pass?word@host", "takes no options"),
        ("redis://:123?word@host", "takes no options"),
        ("redis://:pass#word@host", "'#'"),
        ("redis://:pass word@host", "a space as %20"),
        ("redis://:{quoted}@host:x", "the port must be"),
        ("redis://:{quoted}@host/x", "the database must be"),
        ("unix://", "names no socket"),
        ("unix:///", "names no socket"),
        ("unix://?db=1", "names no socket"),
        ("unix:///run/%00", "names no socket"),
        ("unix://run/redis.sock", "must be absolute"),
        ("unix://joe:p@run/redis.sock", "must be absolute"),
        ("unix://joe:pass/word@/run/redis.sock", "percent-encode it as %2F"),
        ("unix://:123/word@/run/redis.sock", "percent-encode it as %2F"),
        ("unix://joe:p@/word@/run/redis.sock", "has a '@'"),
        ("unix:///run/redis.sock?db=x", "the database must be"),
        ("unix:///run/redis.sock?timeout=1", "takes only ?db="),
        ("unix:///run/redis.sock?db=1&db=2", "the database must be"),
        ("redis+sentinel://host", "names no master"),
        ("redis+sentinel://host/", "names no master"),
        ("redis+sentinel://host//1", "names no master"),
        ("redis+sentinel://host/my%20master", "names no master"),
        ("redis+sentinel:///mymaster", "names no host"),
        ("redis+sentinel://h1,/mymaster", "names no host"),
        ("redis+sentinel://,h1/mymaster", "names no host"),
        ("redis+sentinel://h1,,h2/mymaster", "names no host"),
        ("redis+sentinel://h1, h2/mymaster", "has a space"),
        ("redis+sentinel://h1;h2/mymaster", "no host"),
        ("redis+sentinel://h1,H1:26379/mymaster", "names a host and port twice"),
        ("redis+sentinel://::1,h2/mymaster", "names no host"),
        ("redis+sentinel://h1,2001:db8::1/mymaster", "IPv6 goes in brackets"),
        ("redis+sentinel://h1/mymaster/x", "the database must be"),
        ("redis+sentinel://h1/mymaster/1/2", "the database must be"),
        ("redis+sentinel://h1/mymaster?db=1", "takes no options"),
        ("redis+sentinel://:a@pass/word@h1/mymaster", "percent-encode it as %2F"),
        ("redis+sentinel://:pass/word@h1/mymaster", "percent-encode it as %2F"),
        ("redis+sentinel://a:p@h1,b:word@h2/mymaster", "has a '@' in a user name"),
        ("redis+cluster://", "names no host"),
        ("redis+cluster://h1/0", "no databases"),
        ("redis+cluster://h1/1", "no databases"),
        ("redis+cluster://h1:x,h2", "the port must be"),
        ("redis+cluster://:a@pass/word@h1", "percent-encode it as %2F"),
        ("redis+cluster://h1?x=1", "takes no options"),
    ],
)
def test_a_url_that_makes_no_sense(url: str, says: str) -> None:
    """One line that names redis.url and how to write it, and quotes nothing of it."""
    told = refused(url.format(password=PASSWORD, quoted=QUOTED))
    assert told.startswith("redis.url: ")
    assert says in told
    for secret in (PASSWORD, QUOTED, "pass", "word@", "123"):
        assert secret not in told.replace("password", "").replace("/run/redis/redis.sock", "")


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
            "redis.wait_for_disk: is of use only with redis.wait_replicas"
        )


class TestTlsFiles:
    """A file that cannot be used ends the start; the line names the setting and the file."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> dict[str, Path]:
        """Good ones."""
        authority = Authority(tmp_path)
        pair = authority.issue("client")
        return {
            "tls_ca_file": authority.ca,
            "tls_cert_file": pair.certificate,
            "tls_key_file": pair.key,
        }

    @pytest.mark.parametrize("setting", ["tls_ca_file", "tls_cert_file", "tls_key_file"])
    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (None, "No such file or directory"),
            ("directory", "it is no regular file"),
            (b"", "holds no {what} (PEM)"),
            (b"\x30\x82\x01\x0a", "holds no {what} (PEM)"),
            (b"-----BEGIN {PEM}-----\nAAAA\n-----END {PEM}-----\n", "OpenSSL cannot read it"),
        ],
    )
    def test_what_is_none(
        self,
        setting: str,
        content: bytes | str | None,
        says: str,
        files: dict[str, Path],
        tmp_path: Path,
    ) -> None:
        """Missing, a directory, empty, DER, garbage."""
        bad = tmp_path / "bad"
        what = "private key" if setting == "tls_key_file" else "certificate"
        if isinstance(content, bytes):
            bad.write_bytes(content.replace(b"{PEM}", what.upper().encode()))
        elif content is not None:
            bad.mkdir()
        told = refused("rediss://host", **files | {setting: bad})
        blamed = setting
        if "OpenSSL" in says and setting == "tls_cert_file":
            # it reads the two together
            blamed, bad = "tls_key_file", files["tls_key_file"]
        assert told == f"redis.{blamed}: {bad}: {says.format(what=what)}"

    def test_the_key_of_another(self, files: dict[str, Path], tmp_path: Path) -> None:
        other = Authority(tmp_path / "other").issue("other").key
        assert refused("rediss://host", **files | {"tls_key_file": other}) == (
            f"redis.tls_key_file: {other}: the key is not that of the certificate in "
            "redis.tls_cert_file"
        )

    def test_a_key_alone(self, files: dict[str, Path]) -> None:
        assert refused("rediss://host", tls_key_file=files["tls_key_file"]) == (
            "redis.tls_key_file: wants redis.tls_cert_file as well"
        )

    def test_a_certificate_without_a_key(self, files: dict[str, Path]) -> None:
        certificate = files["tls_cert_file"]
        assert refused("rediss://host", tls_cert_file=certificate) == (
            f"redis.tls_cert_file: {certificate}: holds no private key (PEM)"
        )

    def test_an_encrypted_key(self, files: dict[str, Path], tmp_path: Path) -> None:
        """OpenSSL would stop the start and ask whoever sits at a terminal."""
        (tmp_path / "locked").write_text(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
        )
        told = refused("rediss://host", **files | {"tls_key_file": tmp_path / "locked"})
        assert told.startswith(f"redis.tls_key_file: {tmp_path / 'locked'}: the key is encrypted")


def test_bad_url_is_a_value_error() -> None:
    with pytest.raises(BadUrl):
        parse("redis://")
