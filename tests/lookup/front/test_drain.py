"""The drain: the idle connections close, the others with their next answer."""

import asyncio

import pytest

from csms_redis.lookup.answers import OK, tail
from tests.support.front_bytes import HEALTH, REGISTER, SLOW, post, station, statuses
from tests.support.front_client import settle
from tests.support.front_site import Site


async def test_drain_closes_what_is_idle(site: Site) -> None:
    clients = [site.client() for _ in range(3)]
    await clients[1].ask(station("cs001"))
    await clients[2].ask(HEALTH)
    await site.lookup_server.drain(5)
    assert [client.ended for client in clients] == [True] * 3


@pytest.mark.parametrize("follows", [b"", station("cs001"), REGISTER])
async def test_drain_answers_the_lookup_under_way_and_closes(site: Site, follows: bytes) -> None:
    site.lookups.slow.add(SLOW)
    client = site.client()
    await client.send(station("slow") + follows)
    drain = asyncio.create_task(site.lookup_server.drain(5))
    await settle(client)
    site.lookups.answer(OK, tail(b"{}"))
    await drain
    [reply] = client.replies
    assert (reply.status, reply.headers["Connection"]) == (200, "close")


async def test_drain_answers_the_request_that_arrives_and_closes(site: Site) -> None:
    requests = [station("cs001"), REGISTER, HEALTH]
    clients = [site.client() for _ in requests]
    for client, request in zip(clients, requests, strict=True):
        await client.send(request[:-3])
    drain = asyncio.create_task(site.lookup_server.drain(5))
    await settle(*clients)
    for client, request in zip(clients, requests, strict=True):
        await client.send(request[-3:])
    await drain
    assert [statuses(client.replies) for client in clients] == [[200], [201], [200]]
    assert [client.replies[0].headers["Connection"] for client in clients] == ["close"] * 3


async def test_drain_closes_after_a_body_whose_answer_was_early(site: Site) -> None:
    request = post(b"/nowhere", b" " * 100)
    client = site.client()
    await client.ask(request[:-10])
    drain = asyncio.create_task(site.lookup_server.drain(5))
    await settle(client)
    await client.send(request[-10:])
    await drain
    assert statuses(client.replies) == [404]
    assert not client.transport.aborted


async def test_drain_ends_what_does_not_end_by_itself(site: Site) -> None:
    site.lookups.slow.add(SLOW)
    clients = [site.client() for _ in range(3)]
    await clients[0].send(station("slow"))
    await clients[1].send(REGISTER[:-1])
    await clients[2].send(b"GET /")
    await site.lookup_server.drain(0.01)
    await settle(*clients)
    assert [client.transport.aborted for client in clients] == [True] * 3
