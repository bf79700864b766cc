"""The master that sentinels watch: sentinels that answer as the test says, and real ones."""
# What these tests wait for is set by others, and some of what they measure is told:
# ruff: noqa: ASYNC110, T201

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import hiredis
import pytest
from structlog.testing import capture_logs

from csms_redis.redis import names as names_module
from csms_redis.redis import topology
from csms_redis.redis.address import Address, Tls
from csms_redis.redis.sentinel import Sentinel
from tests.support.topologies.authority import Authority
from tests.support.topologies.node import Node, free_port
from tests.support.topologies.sentinels import MASTER, SentinelGroup

HOST = "127.0.0.1"
OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6380)
PATIENCE = 30.0  # seconds until something that should happen is given up
SECRET = "hush-hush"
NEVER = 3600.0  # seconds


def resp(reply: Any) -> bytes:
    match reply:
        case None:
            return b"*-1\r\n"
        case bytes():
            return reply
        case int():
            return b":%d\r\n" % reply
        case str():
            return b"$%d\r\n%b\r\n" % (len(reply), reply.encode())
        case _:
            return b"*%d\r\n%b" % (len(reply), b"".join(resp(one) for one in reply))


class Fake:
    """A sentinel that knows one master, called `mymaster`, and the others it is told of."""

    def __init__(self, number: int, *, host: str = HOST, port: int = 0) -> None:
        self.id = f"{number:040x}"
        self.host = host
        self.port = port or free_port()
        self.master: tuple[str, int] | None = OLD
        self.others: Sequence[Fake] = ()
        self.silent = False
        self.hangs_up = False
        self.tells_id = True
        self.password = ""
        self.tls: ssl.SSLContext | None = None
        self.questions = 0
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()
        self.subscribers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> Address:
        return Address(host=self.host, port=self.port)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in [*self.open]:
            writer.transport.abort()
        while self.open:
            await asyncio.sleep(0.001)

    def switch(self, master: tuple[str, int], *, name: str = MASTER) -> None:
        """Have another master, and tell those who subscribed."""
        self.master = master
        for writer in self.subscribers:
            text = f"{name} {OLD[0]} {OLD[1]} {master[0]} {master[1]}"
            writer.write(resp(["message", "+switch-master", text]))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        commands = hiredis.Reader(encoding="utf-8")
        known = not self.password
        try:
            while data := await reader.read(65536):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    assert isinstance(command, list)
                    if command[0] == "AUTH":
                        known = command[-1] == self.password
                        writer.write(b"+OK\r\n" if known else f"-WRONGPASS {command}\r\n".encode())
                    elif not known:
                        writer.write(b"-NOAUTH Authentication required.\r\n")
                    elif self.hangs_up:
                        self.questions += 1
                        return
                    elif not self.silent:
                        self._answer(command, writer)
        except OSError:
            pass
        finally:
            self.open.discard(writer)
            self.subscribers.discard(writer)
            writer.transport.abort()

    def _answer(self, command: list[str], writer: asyncio.StreamWriter) -> None:
        match command:
            case ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]:
                self.questions += 1
                where = self.master if name == MASTER else None
                writer.write(resp(where and (where[0], str(where[1]))))
            case ["SENTINEL", "MYID"]:
                writer.write(resp(self.id) if self.tells_id else b"-ERR Unknown subcommand\r\n")
            case ["SENTINEL", "SENTINELS", name]:
                others = [
                    ["name", "x", "ip", one.host, "port", str(one.port), "runid", one.id]
                    for one in self.others
                ]
                known = name == MASTER and self.master is not None
                writer.write(resp(others) if known else b"-ERR No such master with that name\r\n")
            case ["SUBSCRIBE", channel]:
                self.subscribers.add(writer)
                writer.write(resp(["subscribe", channel, 1]))
            case _:
                writer.write(b"-ERR unknown command\r\n")


def acquaint(fakes: Sequence[Fake]) -> None:
    """Let each know all others."""
    for fake in fakes:
        fake.others = [other for other in fakes if other is not fake]


@pytest.fixture
async def three() -> AsyncIterator[list[Fake]]:
    """Three sentinels that know one another."""
    fakes = [Fake(number) for number in range(3)]
    acquaint(fakes)
    async with AsyncExitStack() as stack:
        for fake in fakes:
            await fake.start()
            stack.push_async_callback(fake.stop)
        yield fakes


@asynccontextmanager
async def asking(
    addresses: Sequence[Address], *, name: str = MASTER, patience: float = 5, **template: Any
) -> AsyncIterator[Sentinel]:
    sentinel = Sentinel(addresses, name, Address(**template), timeout=patience)
    try:
        yield sentinel
    finally:
        await sentinel.close()


@asynccontextmanager
async def following(sentinel: Sentinel) -> AsyncIterator[None]:
    running = asyncio.create_task(sentinel.run())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def until(condition: Callable[[], Any], what: str) -> None:
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        await asyncio.sleep(0.002)


def addresses(fakes: Sequence[Fake]) -> list[Address]:
    return [fake.address for fake in fakes]


def masters(*where: tuple[str, int]) -> tuple[Address, ...]:
    return tuple(Address(host=host, port=port) for host, port in where)


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what sentinels tell makes a second look."""
    monkeypatch.setattr(topology, "POLL", NEVER)


@pytest.fixture
def quick_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "POLL", 0.02)


# What one look finds


async def test_all_agree(three: list[Fake]) -> None:
    """The master is what the template says, at the address on which they agree."""
    async with asking(addresses(three), db=3, username="u", password=SECRET) as sentinel:
        assert sentinel.owner(b"any") is None
        before = monotonic()
        await sentinel.look()
        expected = Address(host=OLD[0], port=OLD[1], db=3, username="u", password=SECRET)
        assert sentinel.masters == (expected,)
        assert sentinel.owner(b"any") == expected
        assert sentinel.problem is None
        assert before <= sentinel.confirmed(expected) <= monotonic()
        assert sentinel.confirmed(Address(host=NEW[0], port=NEW[1])) == -inf


async def test_one_connection_is_kept(three: list[Fake]) -> None:
    async with asking(addresses(three)) as sentinel:
        for _ in range(5):
            await sentinel.look()
    assert [fake.connections for fake in three] == [1, 1, 1]
    assert [fake.questions for fake in three] == [5, 5, 5]


async def test_a_majority_is_enough(three: list[Fake]) -> None:
    """One of three is behind."""
    three[0].master = NEW
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        assert sentinel.masters == masters(OLD)
        assert sentinel.problem is None


async def test_one_of_three_is_no_majority(three: list[Fake]) -> None:
    await three[0].stop()
    await three[1].stop()
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        assert sentinel.masters == ()
        assert sentinel.problem is not None
        assert sentinel.problem.startswith("1 of 3 sentinels answers, 2 must agree; 127.0.0.1:")
        assert sentinel.problem.endswith(" cannot be reached: connection refused")


async def test_disagreement(three: list[Fake]) -> None:
    three[0].master = NEW
    three[2].master = None
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        assert sentinel.masters == ()
        assert sentinel.problem == (
            "the sentinels disagree, 2 of 3 must agree: "
            "10.0.0.1:6379 (1), 10.0.0.2:6380 (1), none (1)"
        )


async def test_silent_sentinel(three: list[Fake]) -> None:
    """It costs the look that finds it out its time, and no other one."""
    three[1].silent = True
    async with asking(addresses(three), patience=0.5) as sentinel:
        await sentinel.look()
        assert sentinel.masters == masters(OLD)
        assert sentinel.problem is None
        silent = three[1].connections
        for _ in range(20):
            await sentinel.look()
        # had each waited, it would have been asked anew each time
        assert three[1].connections - silent < 20
        assert three[0].questions == 21
        three[1].silent = False
        while not three[1].questions:
            await sentinel.look()
            await asyncio.sleep(0.01)


async def test_all_silent(three: list[Fake]) -> None:
    for fake in three:
        fake.silent = True
    async with asking(addresses(three), patience=0.1) as sentinel:
        await sentinel.look()
        assert str(sentinel.problem).startswith("0 of 3 sentinels answer, 2 must agree; ")
        assert str(sentinel.problem).endswith(" does not answer")


async def test_unknown_name(three: list[Fake]) -> None:
    async with asking(addresses(three), name="other") as sentinel:
        await sentinel.look()
        assert sentinel.problem == "the sentinels know no master called other"
        assert sentinel.masters == ()


@pytest.mark.parametrize(
    ("password", "reason"),
    [(SECRET, "refuses the user or the password"), (None, "wants a password")],
)
async def test_password(three: list[Fake], password: str | None, reason: str) -> None:
    """What is wrong with it is told, and never the password, though the server quotes it."""
    for fake in three:
        fake.password = "other"
    own = [Address(host=HOST, port=fake.port, password=password) for fake in three]
    with capture_logs() as logs:
        async with asking(own) as sentinel:
            await sentinel.look()
            assert str(sentinel.problem).endswith(reason)
            assert SECRET not in f"{logs}{sentinel.problem}{sentinel}{vars(sentinel)}"


async def test_right_password_for_those_discovered_too(three: list[Fake]) -> None:
    for fake in three:
        fake.password = SECRET
    async with asking([Address(host=HOST, port=three[0].port, password=SECRET)]) as sentinel:
        await sentinel.look()
        assert sentinel.masters == masters(OLD)


async def test_not_a_sentinel() -> None:
    """Whatever answers there, nothing is raised."""
    answers = iter([b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown\r\n" * 3, b":1\r\n" * 3])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(next(answers))
        await reader.read(65536)
        writer.transport.abort()

    port = free_port()
    async with (
        await asyncio.start_server(serve, HOST, port),
        asking([Address(host=HOST, port=port)]) as sentinel,
    ):
        for _ in range(3):
            await sentinel.look()
            assert sentinel.masters == ()
            assert str(sentinel.problem).startswith("0 of 1 sentinels answer, 1 must agree; ")


# Who is asked


async def test_those_they_name_are_asked(three: list[Fake]) -> None:
    """One is configured, three are known: two must agree, so the others are asked at once."""
    async with asking(addresses(three[:1])) as sentinel:
        await sentinel.look()
        assert sentinel.masters == masters(OLD)
        assert [fake.questions for fake in three] == [1, 1, 1]
        await three[0].stop()
        await sentinel.look()
        assert [fake.questions for fake in three] == [1, 2, 2]
        assert sentinel.problem is None


async def test_one_configured_of_three_known_is_no_majority(three: list[Fake]) -> None:
    await three[1].stop()
    await three[2].stop()
    async with asking(addresses(three[:1])) as sentinel:
        await sentinel.look()
        assert sentinel.masters == ()
        assert str(sentinel.problem).startswith("1 of 3 sentinels answers, 2 must agree; ")


async def test_one_of_three_configured_that_knows_no_other(three: list[Fake]) -> None:
    """Its word alone is not enough: it may have been started without a past."""
    three[0].others = ()
    await three[1].stop()
    await three[2].stop()
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        assert sentinel.masters == ()
        assert str(sentinel.problem).startswith("1 of 3 sentinels answers, 2 must agree; ")


async def test_who_is_named_no_more_is_left(three: list[Fake]) -> None:
    """Else its vote would count for ever, and be missed."""
    async with asking(addresses(three[:1])) as sentinel:
        await sentinel.look()
        acquaint(three[:2])
        await sentinel.look()
        assert three[2].questions == 2
        await until(lambda: not three[2].open, "its connection is closed")
        await sentinel.look()
        assert three[2].questions == 2


async def test_one_sentinel_has_one_vote(three: list[Fake]) -> None:
    """However many addresses it has."""
    again = Fake(0)
    again.others = three[1:]
    await again.start()
    three[1].master = three[2].master = NEW
    async with asking(addresses([three[0], again, three[1], three[2]])) as sentinel:
        await sentinel.look()
        assert sentinel.masters == ()  # of four configured, three must agree
        assert str(sentinel.problem).endswith(": 10.0.0.1:6379 (1), 10.0.0.2:6380 (2)")
    await again.stop()


async def test_without_ids(three: list[Fake]) -> None:
    """Old sentinels do not tell their own, but those of the others."""
    for fake in three:
        fake.tells_id = False
    three[2].master = NEW
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        assert sentinel.masters == masters(OLD)


class Names:
    """A name server."""

    def __init__(self) -> None:
        self.hosts: dict[str, list[str]] = {}
        self.questions = 0

    def look_up(self, host: str, port: int) -> list[names_module.Place]:
        self.questions += 1
        if host not in self.hosts:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, (ip, port)) for ip in self.hosts[host]]


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    server = Names()
    monkeypatch.setattr(names_module, "_look_up", server.look_up)
    return server


@pytest.fixture
async def behind_a_name() -> AsyncIterator[list[Fake]]:
    """Three that are found at one port and do not know one another."""
    port = free_port()
    fakes = [Fake(number, host=f"127.0.0.{number + 1}", port=port) for number in range(3)]
    for fake in fakes:
        await fake.start()
    yield fakes
    for fake in fakes:
        await fake.stop()


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


# What comes later


async def test_lost_majority_keeps_the_master(three: list[Fake]) -> None:
    """Its confirmation gets old, and is renewed when the sentinels are back."""
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        (master,) = sentinel.masters
        lost = monotonic()
        await three[0].stop()
        await three[1].stop()
        for _ in range(3):
            await sentinel.look()
        assert sentinel.masters == (master,)
        assert sentinel.confirmed(master) < lost
        assert str(sentinel.problem).startswith("1 of 3 sentinels answers")
        await three[0].start()
        await sentinel.look()
        assert sentinel.problem is None
        assert sentinel.confirmed(master) > lost


async def test_a_minority_confirms_nothing(three: list[Fake]) -> None:
    """Nor does the old master count as confirmed when most know another, or none."""
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        (master,) = sentinel.masters
        lost = monotonic()
        three[0].master = NEW
        three[1].master = None
        await sentinel.look()
        assert sentinel.masters == (master,)
        assert sentinel.confirmed(master) < lost
        assert "disagree" in str(sentinel.problem)


async def test_switch_is_told_once(three: list[Fake]) -> None:
    told: list[tuple[Address, ...]] = []
    async with asking(addresses(three)) as sentinel:
        sentinel.changed.append(lambda _slots: told.append(sentinel.masters))
        await sentinel.look()
        for fake in three:
            fake.master = NEW
            await sentinel.look()
        await sentinel.look()
        assert told == [masters(OLD), masters(NEW)]
        assert sentinel.confirmed(masters(OLD)[0]) == -inf
        assert sentinel.confirmed(masters(NEW)[0]) > 0


@pytest.mark.usefixtures("no_poll")
async def test_message_makes_a_look(three: list[Fake]) -> None:
    """Those of other masters do not."""
    async with asking(addresses(three)) as sentinel, following(sentinel):
        await until(lambda: all(fake.subscribers for fake in three), "all are listened to")
        three[2].switch(OLD, name="other")
        await asyncio.sleep(0.2)
        assert [fake.questions for fake in three] == [1, 1, 1]
        for fake in three[:2]:
            fake.switch(NEW)
        await until(lambda: sentinel.masters == masters(NEW), "the switch is followed")


@pytest.mark.usefixtures("quick_poll")
async def test_listens_again(three: list[Fake]) -> None:
    """A sentinel that comes back is subscribed to as before."""
    async with asking(addresses(three)) as sentinel, following(sentinel):
        await until(lambda: all(fake.subscribers for fake in three), "all are listened to")
        await three[0].stop()
        await until(lambda: not three[0].subscribers, "it is gone")
        await three[0].start()
        await until(lambda: three[0].subscribers, "it is listened to again")


@pytest.mark.usefixtures("quick_poll")
async def test_asked_again_and_again(three: list[Fake]) -> None:
    """The sentinels are asked anew by each look, once: nothing is left to a library's retries."""
    for fake in three:
        fake.hangs_up = True
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        assert [fake.questions for fake in three] == [1, 1, 1]
        assert [fake.connections for fake in three] == [1, 1, 1]
        async with following(sentinel):
            await until(lambda: min(fake.questions for fake in three) >= 10, "they are asked")
            for fake in three:
                fake.hangs_up = False
            await until(lambda: sentinel.masters, "the master is found")


async def test_restarted_sentinel_is_asked_in_the_same_look(three: list[Fake]) -> None:
    """A connection that ended meanwhile is no reason to be without an answer."""
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        for fake in three:
            await fake.stop()
            await fake.start()
        await asyncio.sleep(0.05)  # until the ends have arrived
        await sentinel.look()
        assert [fake.questions for fake in three] == [2, 2, 2]


@pytest.mark.usefixtures("quick_poll")
@pytest.mark.parametrize("silent", [False, True])
async def test_cancelled(three: list[Fake], *, silent: bool) -> None:
    """Nothing is left behind, also not when the end comes in the middle of a look."""
    before = asyncio.all_tasks()
    three[1].silent = silent
    async with asking(addresses(three)) as sentinel:
        async with following(sentinel):
            await until(lambda: three[0].subscribers and three[1].open, "it is under way")
        await until(lambda: not any(fake.open for fake in three), "all connections are closed")
        assert asyncio.all_tasks() - before == set()


# Real sentinels


@pytest.fixture(scope="module")
def group() -> Iterator[SentinelGroup]:
    """A master, two replicas and three sentinels, with passwords."""
    with SentinelGroup(password=SECRET, sentinel_password="theirs") as running:
        yield running


def real(group: SentinelGroup) -> list[Address]:
    return [
        Address(host=node.address.host, port=node.address.port, password="theirs")
        for node in group.sentinels
    ]


def knows(sentinel: Sentinel, node: Node) -> bool:
    return [(one.host, one.port) for one in sentinel.masters] == [node.address]


async def time_until_replaced(group: SentinelGroup, sentinel: Sentinel) -> float:
    """Kill the master; seconds until another one is known here."""
    await asyncio.to_thread(group.wait_until_settled)
    old = await asyncio.to_thread(group.master)
    await until(lambda: knows(sentinel, old), "the old master is known")
    await asyncio.sleep(0.5)  # until all are listened to
    killed = monotonic()
    old.kill()
    await until(lambda: not knows(sentinel, old), "another master is known")
    took = monotonic() - killed
    new = await asyncio.to_thread(group.wait_for_new_master, old)
    await until(lambda: knows(sentinel, new) and sentinel.problem is None, "it is the right one")
    await asyncio.to_thread(old.start)
    return took


async def test_killed_master(group: SentinelGroup) -> None:
    async with asking(real(group), patience=1) as sentinel, following(sentinel):
        print(f"after SIGKILL: {await time_until_replaced(group, sentinel):.2f} s (polled, told)")


@pytest.mark.usefixtures("no_poll")
async def test_killed_master_is_told(group: SentinelGroup) -> None:
    """The sentinels' messages alone are enough."""
    async with asking(real(group), patience=1) as sentinel, following(sentinel):
        print(f"after SIGKILL: {await time_until_replaced(group, sentinel):.2f} s (told alone)")


@pytest.mark.slow
async def test_killed_master_is_found_by_polling(
    group: SentinelGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is asking alone."""
    monkeypatch.setattr(Sentinel, "doubt", lambda _: None)
    async with asking(real(group), patience=1) as sentinel, following(sentinel):
        print(f"after SIGKILL: {await time_until_replaced(group, sentinel):.2f} s (polled alone)")


async def test_discovered(group: SentinelGroup) -> None:
    """One is configured and goes; the others were named by it."""
    async with asking(real(group)[:1], patience=1) as sentinel:
        await asyncio.to_thread(group.wait_until_settled)
        await sentinel.look()
        group.sentinels[0].kill()
        (master,) = sentinel.masters
        confirmed = sentinel.confirmed(master)
        await sentinel.look()
        assert sentinel.confirmed(master) > confirmed
        await asyncio.to_thread(group.sentinels[0].start)


async def test_start_without_sentinels(group: SentinelGroup) -> None:
    """They are found when they come, the master with them."""
    await asyncio.to_thread(group.wait_until_settled)
    for node in group.sentinels:
        node.kill()
    async with asking(real(group), patience=1) as sentinel, following(sentinel):
        await until(lambda: "0 of 3 sentinels answer" in str(sentinel.problem), "they are away")
        assert sentinel.masters == ()
        for node in group.sentinels:
            await asyncio.to_thread(node.start)
        started = monotonic()
        await until(lambda: sentinel.masters, "the master is known")
        print(f"after the sentinels' start: {monotonic() - started:.2f} s")
        assert knows(sentinel, await asyncio.to_thread(group.master))
