"""The listening sockets at their end."""

import asyncio
import socket

import pytest

from csms_redis import listener as module
from csms_redis.listener import CannotListen, listen
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


async def test_a_name_that_is_none_cannot_be_listened_on() -> None:
    with pytest.raises(CannotListen, match=r"^cannot listen on no\.invalid port 1: \w"):
        await listen(ServerSettings(host="no.invalid", port=1))


async def test_all_addresses_of_a_name() -> None:
    """Each is listened on; nothing is left open when one is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match="address already in use"):
            await listen(ServerSettings(host="localhost", port=port))
    listening = await listen(ServerSettings(host="localhost", port=port))
    assert f"http://127.0.0.1:{port}" in listening.urls
    listening.close()
