"""Sentinels behind a name: each of its addresses is one, and TLS is asked for the name."""

from pathlib import Path

from csms_redis.redis.address import Address, Tls
from tests.support.sentinel_peers import HOST, OLD, Fake, Names, acquaint, asking, masters
from tests.support.topologies.authority import Authority


async def test_one_name_for_all(names: Names, behind_a_name: list[Fake]) -> None:
    names.hosts["sentinels.test"] = [fake.host for fake in behind_a_name]
    address = Address(host="sentinels.test", port=behind_a_name[0].port)
    async with asking([address]) as sentinel:
        await sentinel.look()
        assert sentinel.masters == masters(OLD)
        assert [fake.questions for fake in behind_a_name] == [1, 1, 1]
        await behind_a_name[1].stop()
        await behind_a_name[2].stop()
        await sentinel.look()
        assert str(sentinel.problem).startswith("1 of 3 sentinels answers, 2 must agree; ")


async def test_name_that_comes_to_mean_others(names: Names, behind_a_name: list[Fake]) -> None:
    """They were started anew somewhere else; while the name is unknown, that is said."""
    port = behind_a_name[0].port
    async with asking([Address(host="sentinels.test", port=port)]) as sentinel:
        await sentinel.look()
        assert sentinel.problem == (
            "0 of 1 sentinels answer, 1 must agree; sentinels.test: its name is not resolved"
        )
        names.hosts["sentinels.test"] = ["127.0.0.1"]
        await sentinel.look()
        assert sentinel.masters == masters(OLD)
        asked = names.questions
        await sentinel.look()
        assert names.questions == asked  # all is well
        await behind_a_name[0].stop()
        names.hosts["sentinels.test"] = ["127.0.0.3"]
        await sentinel.look()  # finds that it is gone
        await sentinel.look()
        await sentinel.look()
        assert sentinel.problem is None
        assert behind_a_name[2].questions


async def test_ipv4_and_ipv6_of_one(names: Names) -> None:
    """One that listens on both is still one, also where IPv6 leads nowhere."""
    fake = Fake(0)
    await fake.start()
    names.hosts["both.test"] = ["::1", HOST]
    async with asking([Address(host="both.test", port=fake.port)]) as sentinel:
        await sentinel.look()
        assert sentinel.masters == masters(OLD)
    await fake.stop()


async def test_ipv6_and_host_names_are_announced(names: Names) -> None:
    fakes = [Fake(0, host="::1"), Fake(1), Fake(2)]
    for fake in fakes:
        fake.master = "master.test", 6379
        await fake.start()
    acquaint(fakes)
    fakes[1].host = fakes[2].host = "named.test"
    names.hosts["named.test"] = [HOST]
    async with asking([fakes[0].address]) as sentinel:
        await sentinel.look()
        assert sentinel.masters == masters(("master.test", 6379))
        assert [fake.questions for fake in fakes] == [1, 1, 1]
    for fake in fakes:
        await fake.stop()


async def test_certificate_is_for_the_name(
    names: Names, behind_a_name: list[Fake], tmp_path: Path
) -> None:
    """Each address behind the name is spoken to as the name; another name is refused."""
    authority = Authority(tmp_path)
    for fake in behind_a_name:
        await fake.stop()
        fake.tls = authority.server_context("sentinels.test")
        await fake.start()
    hosts = [fake.host for fake in behind_a_name]
    names.hosts.update({"sentinels.test": hosts, "other.test": hosts})
    tls, port = Tls(ca_file=authority.ca), behind_a_name[0].port
    async with asking([Address(host="sentinels.test", port=port, tls=tls)]) as sentinel:
        await sentinel.look()
        assert sentinel.problem is None
        assert [fake.questions for fake in behind_a_name] == [1, 1, 1]
    async with asking([Address(host="other.test", port=port, tls=tls)]) as sentinel:
        await sentinel.look()
        assert "has a certificate that is refused: Hostname mismatch" in str(sentinel.problem)
