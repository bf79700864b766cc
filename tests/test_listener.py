"""The listening sockets at their end."""

import asyncio
import socket

import pytest

from csms_redis import listener as module
from csms_redis.listener import listen
from csms_redis.listening_sockets import CannotListen
from csms_redis.settings import ServerSettings


def greet(connection: socket.SocketType) -> None:
    """Say a word and close."""
    connection.recv(1)
    connection.send(b"here")
    connection.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_nobody_connects_while_it_stops(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who would connect then is refused a second later, and not reset after a while."""
    monkeypatch.setattr(module, "_SETTLE", 0.5)
    try:
        listening = await listen(ServerSettings(host=host, port=0))
    except CannotListen:
        pytest.skip("the machine has no IPv6")
    listening.start(greet)
    port = int(listening.urls[0].rpartition(":")[2])
    reader, before = await asyncio.open_connection(host, port)
    before.write(b"?")
    assert await reader.read() == b"here"
    before.close()

    stopping = asyncio.create_task(listening.stop())
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)
    await stopping


async def test_an_answer_does_not_wait_for_the_one_before() -> None:
    """Each leaves at once, though the client's kernel has not confirmed the last one."""
    found: list[int] = []

    def look(connection: socket.SocketType) -> None:
        found.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        greet(connection)

    listening = await listen(ServerSettings(port=0))
    listening.start(look)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(listening.urls[0].rpartition(":")[2])
    )
    writer.write(b"?")
    assert await reader.read() == b"here"
    assert found[0]
    writer.close()
    await listening.stop()


async def test_a_name_that_is_none_cannot_be_listened_on() -> None:
    with pytest.raises(CannotListen, match=r"^cannot listen on no\.invalid port 1: \w"):
        await listen(ServerSettings(host="no.invalid", port=1))


class TestBothFamilies:
    """`::` is every address, of IPv6 and of IPv4."""

    @pytest.fixture(autouse=True)
    def _needs_ipv6(self) -> None:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("the machine has no IPv6")

    async def ask(self, host: str, port: int) -> bytes:
        """What is said to who connects."""
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"?")
        said = await reader.read()
        writer.close()
        return said

    @pytest.mark.parametrize("host", ["::", ""])
    async def test_one_port(self, host: str) -> None:
        """Also where the kernel chooses it."""
        listening = await listen(ServerSettings(host=host, port=0))
        listening.start(greet)
        (url,) = listening.urls
        port = int(url.rpartition(":")[2])
        assert [await self.ask(address, port) for address in ("127.0.0.1", "::1")] == [b"here"] * 2
        await listening.stop()

    async def test_nobody_is_reset_at_its_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of neither family: who would connect then is refused a second later."""
        monkeypatch.setattr(module, "_SETTLE", 0.5)
        listening = await listen(ServerSettings(host="::", port=0))
        listening.start(greet)
        port = int(listening.urls[0].rpartition(":")[2])
        stopping = asyncio.create_task(listening.stop())
        await asyncio.sleep(0)
        late = [asyncio.open_connection(address, port) for address in ("127.0.0.1", "::1")]
        found = await asyncio.gather(*late, return_exceptions=True)
        assert [type(each) for each in found] == [ConnectionRefusedError] * 2
        await stopping

    async def test_several_processes(self) -> None:
        """They share the port, also with one that was started for IPv4 only."""
        first = await listen(ServerSettings(host="::", port=0, reuse_port=True))
        port = int(first.urls[0].rpartition(":")[2])
        others = [
            await listen(ServerSettings(host=host, port=port, reuse_port=True))
            for host in ("::", "0.0.0.0")
        ]
        for each in (first, *others):
            each.close()

    @pytest.mark.parametrize(
        ("family", "host"), [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]
    )
    async def test_a_port_that_one_family_has_taken(
        self, family: socket.AddressFamily, host: str
    ) -> None:
        """It does not serve the other family alone."""
        with socket.create_server((host, 0), family=family) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(CannotListen, match=f"on :: port {port}: address already in use"):
                await listen(ServerSettings(host="::", port=port))


async def test_all_addresses_of_a_name() -> None:
    """Each is listened on; nothing is left open when one is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match="address already in use"):
            await listen(ServerSettings(host="localhost", port=port))
    listening = await listen(ServerSettings(host="localhost", port=port))
    assert f"http://127.0.0.1:{port}" in listening.urls
    listening.close()
