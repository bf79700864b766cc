"""What was filled is true only as long as the connection is proved.

The other end of the read connection is the test (`wire`).
"""

import pytest

from csms_redis.lookup.lookups import Lookups
from tests.support.wire import (
    AWAY,
    FOUND,
    LEASE,
    NO_RECORD,
    Client,
    Clock,
    Wire,
    array,
    connect,
    fill,
    lease_of,
    record,
    rests,
)


class TestLease:
    """What was filled is true only as long as the connection is proved."""

    async def test_without_it_redis_is_asked(
        self, client: Client, wire: Wire, clock: Clock
    ) -> None:
        """After a stall of this process, what is kept is checked first; an unknown one as well."""
        await fill(client, wire, "a", record(1))
        await fill(client, wire, "b", NO_RECORD)
        clock.now += LEASE + 0.1

        assert await fill(client, wire, "a", record(2)) == FOUND[2]
        assert await fill(client, wire, "b", record(1)) == FOUND[1]

    async def test_counts_from_when_the_probe_left(self, lookups: Lookups) -> None:
        """A reply that took its time proves nothing of the time since it was made."""
        connect(lookups, at=100.0)

        assert lease_of(lookups) == 100.0 + LEASE

    async def test_is_not_renewed_by_what_is_read(
        self, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """A demoted master would go on answering."""
        before = lease_of(lookups)
        await fill(client, wire, "a", record(1))

        assert lease_of(lookups) == before

    @pytest.mark.parametrize("code", ["LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "NOAUTH"])
    async def test_ends_when_redis_is_not_the_one_to_ask(
        self, code: str, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """The connection closes; what it had said is stale, what comes after that is not kept."""
        await fill(client, wire, "a", record(1))
        for cs_id in "bc":
            client.ask(cs_id)
        await wire.sent()
        wire.receive(b"-%b no\r\n" % code.encode(), record(2))
        wire.receive(record(2))

        assert wire.transport.aborted
        assert lease_of(lookups) == 0
        client.ask("a")
        assert client.take() == [AWAY, FOUND[1]], "b at once, a although Redis is away"

        again = connect(lookups)
        assert await again.asked() == [b"cs:c"], "it is asked again"
        again.receive(record(1))
        assert client.take() == [FOUND[1]]

    @pytest.mark.parametrize(
        "reply",
        [
            b":1\r\n",
            b"+OK\r\n",
            b"_\r\n",
            b"%1\r\n:1\r\n:2\r\n",
            b"*0\r\n",
            b"*-1\r\n",
            array(b"1"),
            array(b"1", None, None),  # would lack what may say that it is blocked
            array(b"1", None, None, None, None),
            array(None, None, None),
            b"*4\r\n:1\r\n_\r\n_\r\n_\r\n",
            b"*4\r\n$1\r\n1\r\n_\r\n_\r\n#f\r\n",
            b"*4\r\n$1\r\n1\r\n_\r\n_\r\n*0\r\n",
            b"*4\r\n$1\r\n1\r\n-ERR no\r\n_\r\n_\r\n",
            b"*4\r\n$1\r\n1\r\n_\r\n_\r\n-ERR no\r\n",
            b"*4\r\n_\r\n*0\r\n_\r\n_\r\n",
            b"*4\r\n*0\r\n_\r\n_\r\n_\r\n",
        ],
    )
    async def test_a_reply_of_another_kind_closes(
        self, reply: bytes, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """Replies and reads are no more in step: nothing of it is served or kept."""
        for cs_id in "ab":
            client.ask(cs_id)
        wire.receive(reply, record(1))

        assert wire.transport.aborted
        assert client.take() == [AWAY]
        assert len(lookups.cache) == 0
        again = connect(lookups)
        assert await again.asked() == [b"cs:b"]
        again.receive(record(2))
        assert client.take() == [FOUND[2]]
        assert rests(lookups)

    @pytest.mark.parametrize("code", [b"WRONGTYPE", b"ERR", b"NOPERM"])
    async def test_another_error_fails_its_own_read_only(
        self, code: bytes, client: Client, wire: Wire, lookups: Lookups
    ) -> None:
        """503 for that one, and the connection stays."""
        client.ask("a")
        client.ask("b")
        wire.receive(b"-%b no\r\n" % code, record(1))

        assert client.take() == [AWAY, FOUND[1]]
        assert not wire.transport.aborted
        assert lease_of(lookups) > 0
