"""The states of a connection: the table says which may follow which, and all of them do."""

from csms_redis.lookup.answers import OK, tail
from csms_redis.lookup.front.connection import TRANSITIONS, State
from tests.support.front_bytes import HEALTH, REGISTER, SLOW, get, station
from tests.support.front_client import settle
from tests.support.front_site import Site


async def test_the_table_has_each_transition_and_no_other(
    site: Site, transitions: set[tuple[State, State]]
) -> None:
    site.lookups.slow.add(SLOW)
    clients = [site.client() for _ in range(5)]
    waits, left_alone, handed_over, odd, idle = clients
    await waits.ask(station("cs001") + station("slow"))
    site.lookups.answer(OK, tail(b"{}"))
    await waits.ask(HEALTH)
    await waits.ask(get(b"/api/v0/cs/cs001/auth", b"Connection: close"))
    await left_alone.ask(station("slow"))
    left_alone.transport.abort()
    await handed_over.ask(REGISTER[:-1])
    handed_over.transport.abort()
    await odd.ask(get(b"http://h/api/v0/cs/cs001/auth"))
    idle.transport.abort()
    await settle(*clients)
    assert {(before, after) for before in State for after in TRANSITIONS[before]} == transitions
