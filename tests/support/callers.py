"""Callers with a role each, and requests that are asked both ways: of the front, and of aiohttp."""

from base64 import b64encode

from csms_redis.access.clients import Client
from csms_redis.access.secret import hash_of
from csms_redis.settings import Role
from tests.support.front_bytes import Answer, answers
from tests.support.front_client import settle
from tests.support.front_site import Site

SECRETS = {role: f"right-secret-of-{role}" for role in Role}
AUTH = b"/api/v0/cs/cs001/auth"
PROXY = "192.0.2.1"  # the mock transport's peer


def clients(**secrets: str) -> tuple[Client, ...]:
    """A client for each role, named like it."""
    given = {role: secrets.get(role, SECRETS[role]) for role in Role}
    return tuple(
        Client(role.value, frozenset([role]), (hash_of(secret.encode()),))
        for role, secret in given.items()
    )


def basic(name: str, secret: str) -> bytes:
    """An Authorization header."""
    return b"Authorization: Basic " + b64encode(f"{name}:{secret}".encode())


def bearer(secret: str) -> bytes:
    """An Authorization header."""
    return b"Authorization: Bearer " + secret.encode()


def both(name: str, secret: str) -> tuple[bytes, bytes]:
    """The two ways to present a secret."""
    return basic(name, secret), bearer(secret)


RIGHT = basic("gateway", SECRETS[Role.GATEWAY])


async def both_ways(site: Site, request: bytes) -> Answer:
    """Ask aiohttp and the front protocol, which must say the same."""
    found = []
    for client in (site.aiohttp_client(), site.client()):
        await client.send(request)
        await settle(client)
        (answer,) = answers(client.received)
        found.append(answer)
        client.transport.abort()
        await settle(client)
    by_aiohttp, by_front = found
    assert by_front == by_aiohttp
    return by_front
