"""`check` over TLS, and on a password that goes without it."""

from pathlib import Path

import pytest

from csms_redis.check.exposure import exposure
from csms_redis.redis.address import Address
from csms_redis.redis.url import parse
from tests.support.check_report import about, check
from tests.support.service import PASSWORD
from tests.support.topologies.authority import Authority
from tests.support.topologies.standalone import Standalone


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
