"""The parts of access control: addresses, throttle, secrets and their files."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from csms_redis.access import throttle
from csms_redis.access.addresses import Forwarding, client_address, plain, plain_networks
from csms_redis.access.clients import Client, read_clients
from csms_redis.access.control import AccessControl, Refused
from csms_redis.access.refusals import Reason
from csms_redis.access.secret import hash_of, new_secret
from csms_redis.access.throttle import BURST, MAX_DELAY, Throttle
from csms_redis.settings import AuthSettings, BadSettings, ClientSettings, Role

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
NOWHERE = Forwarding("", "")


@pytest.mark.parametrize(
    ("peer", "x_forwarded_for", "forwarded", "expected"),
    [
        ("192.0.2.1", "", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", "", "192.0.2.1"),
        ("10.0.0.1", "", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1", "", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1, 10.9.9.9", "", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, nonsense", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", "", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::7]:4711", "", "2001:db8::/64"),
        ("10.0.0.1", "2001:db8::1", "", "2001:db8::/64"),
        ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "", "198.51.100.1"),
        ("10.0.0.1", "", "for=198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "", 'proto=https;For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::/64"),
        ("10.0.0.1", "", "for=1.2.3.4, for=198.51.100.1;by=10.0.0.1", "198.51.100.1"),
        ("10.0.0.1", "", "for=_hidden", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "for=1.2.3.4", "198.51.100.1"),
        ("", "", "", "unknown"),
        ("", "198.51.100.1", "", "unknown"),
    ],
)
def test_client_address(peer: str, x_forwarded_for: str, forwarded: str, expected: str) -> None:
    assert client_address(peer, Forwarding(x_forwarded_for, forwarded), TRUSTED) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:a00:0/112", "10.0.0.0/16"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("fd00::/8", "fd00::/8"),
        ("::/0", "::/0"),  # every IPv6 address, and none of IPv4
        ("::fffe:0:0/96", "::fffe:0:0/96"),
    ],
)
def test_networks_of_mapped_addresses_are_of_ipv4(written: str, expected: str) -> None:
    assert plain_networks([ip_network(written)]) == [ip_network(expected)]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:0:1", "::ffff:0:1"),
        ("", ""),
    ],
)
def test_a_plain_address(address: str, expected: str) -> None:
    assert plain(address) == expected


class TestThrottle:
    """Failures are answered one a second, after some at once."""

    def test_the_first_are_answered_at_once(self) -> None:
        slow = Throttle()
        assert [slow.delay("a", 100.0) for _ in range(BURST)] == [0.0] * BURST

    def test_then_one_a_second_and_no_more_than_can_wait(self) -> None:
        slow = Throttle()
        found = [slow.delay("a", 100.0) for _ in range(BURST + 8)][BURST:]
        assert found == [1.0, 2.0, 3.0, 4.0, MAX_DELAY, None, None, None]
        assert slow.delay("a", 101.0) == MAX_DELAY
        assert slow.delay("b", 101.0) == 0.0

    def test_patience_is_restored(self) -> None:
        slow = Throttle()
        for _ in range(100):
            slow.delay("a", 100.0)
        assert [slow.delay("a", 200.0) for _ in range(BURST)] == [0.0] * BURST

    def test_its_memory_is_bounded(self) -> None:
        slow = Throttle()
        for number in range(3 * throttle._MAX_ADDRESSES):
            slow.delay(str(number), 100.0)
        assert len(slow._used_until) == throttle._MAX_ADDRESSES

    def test_so_is_what_waits_for_all_addresses(self) -> None:
        slow = Throttle()
        found = [slow.delay(str(n), 100.0) for n in range(1000) for _ in range(BURST + 2)]
        assert sum(delay is not None and delay > 0 for delay in found) == throttle._MAX_HELD
        assert slow.delay("0", 103.0) is not None


class TestSecrets:
    """Secrets and their files."""

    def test_are_long_and_never_the_same(self) -> None:
        made = {new_secret() for _ in range(1000)}
        assert len(made) == 1000
        assert {len(secret) for secret in made} == {32}  # 192 bits

    def test_a_file_holds_a_hash_a_line(self, tmp_path: Path) -> None:
        file = tmp_path / "secrets"
        hashes = [hash_of(b"one"), hash_of(b"two")]
        file.write_text(f"# ours\n{hashes[0].hex()}\n\n{hashes[1].hex().upper()} # new\n", "utf-8")
        (client,) = read_clients(of_file(file))
        assert list(client.hashes) == hashes

    @pytest.mark.parametrize("content", [b"", b"\n", b"hunter2\n", b"\xff", b"00" * 31, b"00" * 33])
    def test_what_is_no_hash_is_refused_without_being_told(
        self, tmp_path: Path, content: bytes
    ) -> None:
        file = tmp_path / "secrets"
        file.write_bytes(content)
        with pytest.raises(BadSettings) as caught:
            read_clients(of_file(file))
        assert "hunter2" not in str(caught.value)

    def test_a_comment_alone_revokes_all(self, tmp_path: Path) -> None:
        file = tmp_path / "secrets"
        file.write_text("# none\n", "utf-8")
        (client,) = read_clients(of_file(file))
        assert client.hashes == ()

    def test_a_file_that_is_missing_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadSettings, match="cannot be read"):
            read_clients(of_file(tmp_path / "missing"))

    def test_two_clients_may_not_share_one(self) -> None:
        same = ClientSettings(roles=[Role.GATEWAY], secret_hashes=[hash_of(b"x").hex()])
        with pytest.raises(BadSettings, match="a and b have the same"):
            read_clients(AuthSettings(clients={"a": same, "b": same}))


def of_file(file: Path) -> AuthSettings:
    """One client with a secret file."""
    return AuthSettings(clients={"a": ClientSettings(roles=[Role.GATEWAY], secret_file=file)})


def test_the_log_counts_failures_and_tells_no_secret() -> None:
    access_control = AccessControl()
    access_control.use((Client("a", frozenset([Role.GATEWAY]), (hash_of(b"right"),)),))
    with capture_logs() as logged:
        for number in range(100):
            with pytest.raises(Refused):
                access_control.admit(Role.GATEWAY, b"Bearer hunter%d" % number, None, NOWHERE)
    (line,) = logged
    assert line == {
        "event": "credentials refused",
        "log_level": "warning",
        "reason": "unknown",
        "requests": 1,
        "remote": "unknown",
        "role": "gateway",
        "user_agent": "",
    }
    assert access_control.refusals.by_reason[Reason.UNKNOWN] == 100
    assert access_control.admit(Role.GATEWAY, b"Bearer right", None, NOWHERE) == "a"
