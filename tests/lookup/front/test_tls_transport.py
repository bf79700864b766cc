"""A connection gets the same bytes over TLS as without it, however its records come."""

import asyncio
import gc
import re
import socket
import ssl
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from random import Random
from typing import Any, Final, TypeAlias

import pytest
import uvloop
from structlog.testing import capture_logs

from csms_redis.access.tls import server_context
from csms_redis.lookup.answers import OK, tail
from csms_redis.lookup.counts import ROUTE_AT
from csms_redis.lookup.front.request_heads import MAX_HEAD
from csms_redis.lookup.front.tls_transport import TlsTransport
from csms_redis.settings import TlsSettings
from tests.support.front_bytes import HASH, HEALTH, REGISTER, SLOW, get, station
from tests.support.front_corpus import CORPUS
from tests.support.front_site import Site, running_site
from tests.support.topologies.authority import Authority

AUTH = b"/api/v0/cs/cs001/auth"
CLOSE = get(AUTH, b"Connection: close")
CERTIFICATE = b"/api/v0/certificate/" + HASH.encode()
BIG = b'{"certificate":"%b"}' % (b"x" * 2**20)
AT_ONCE: Final = 50
PATIENCE: Final = 10.0  # seconds
QUIET: Final = 0.1  # seconds in which nothing comes
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

Test: TypeAlias = Callable[[Site], Coroutine[Any, Any, None]]
Run: TypeAlias = Callable[[Test], None]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The listener's, as from `[server.tls]`."""
    pair = Authority(tmp_path_factory.mktemp("tls")).issue("server", "localhost")
    return server_context(TlsSettings(certificate_file=pair.certificate, key_file=pair.key))


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, context: ssl.SSLContext) -> Run:
    """Runs a test with a site that has TLS, in an event loop of a kind."""

    async def with_site(test: Test) -> None:
        async with running_site(tls=context) as site:
            await test(site)
            site.lookup_server.connections.abort()
            await asyncio.sleep(QUIET)
            assert not site.lookup_server.connections.handshakes

    def run_it(test: Test) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(with_site(test))

    return run_it


def of_client(version: ssl.TLSVersion = TLS_1_3) -> ssl.SSLContext:
    """A client's context; that the certificate is right is asked elsewhere."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context


def pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """The client's end of a connection, and ours."""
    client, accepted = socket.socketpair()
    for end in (client, accepted):
        end.settimeout(0)
    return stack.enter_context(client), accepted


class Client:
    """A client whose records can be cut, held back and broken."""

    def __init__(
        self,
        site: Site,
        stack: ExitStack,
        context: ssl.SSLContext,
        *,
        session: ssl.SSLSession | None = None,
        step: int = 2**16,
    ) -> None:
        """Connect; the handshake does not begin yet.

        Args:
            site: what it connects to.
            stack: closes its socket.
            context: its TLS.
            session: is resumed.
            step: bytes of a segment; the server may look at each before the next comes.
        """
        self.socket, accepted = pair(stack)
        self._step = step
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self.outgoing, session=session)
        site.lookup_server.handshakes.begin(accepted)

    async def shake_hands(self) -> None:
        """Shake hands; what the client says last is not sent yet."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send()
                self._incoming.write(await self._received(PATIENCE))
            else:
                return

    async def send(self) -> None:
        """Send all that was said."""
        data = self.outgoing.read()
        for start in range(0, len(data), self._step):
            with suppress(ConnectionError):
                await asyncio.get_running_loop().sock_sendall(
                    self.socket, data[start : start + self._step]
                )
            if self._step < len(data):
                for _ in range(4):
                    await asyncio.sleep(0)

    async def say(self, *parts: bytes) -> None:
        """Send parts, each in a record of its own."""
        for part in parts:
            self.tls.write(part)
        await self.send()

    async def _received(self, seconds: float) -> bytes:
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.sock_recv(self.socket, 2**16), seconds)

    async def read(self, expected: tuple[bytes, str] = (b"", "open")) -> tuple[bytes, str]:
        """What is said to it, and how it ends: closed, cut off, reset, an alert's name, or open.

        It waits long for what is expected, and a moment for anything else.
        """
        said: list[bytes] = []
        notified = False
        while True:
            try:
                while data := self.tls.read(2**16):
                    said.append(data)
                notified = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                return b"".join(said), str(error.reason)
            found = b"".join(said)
            there = expected[1] == "open" and (
                not expected[0] or len(expected[0]) <= len(same((found, ""))[0])
            )
            try:
                data = await self._received(QUIET if there else PATIENCE)
            except TimeoutError:
                return found, "open"
            except ConnectionError:
                return found, "reset"
            if not data:
                return found, "closed" if notified else "cut off"
            self._incoming.write(data)


def same(found: tuple[bytes, str]) -> tuple[bytes, str]:
    """Without what is new in each answer."""
    answers, end = found
    return re.sub(rb"\r\n(Date|X-Request-Id): [^\r]*", b"", answers), end


async def plain(site: Site, request: bytes) -> tuple[bytes, str]:
    """What is said to a request without TLS, and how it ends."""
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        client, accepted = pair(stack)
        client.sendall(request)
        site.lookup_server.plain_sockets.begin(accepted)
        found = b""
        try:
            while data := await asyncio.wait_for(
                loop.sock_recv(client, 2**16), QUIET if found else 5 * QUIET
            ):
                found += data
        except TimeoutError:
            return same((found, "open"))
        return same((found, "closed"))


async def secured(
    site: Site,
    *parts: bytes,
    expected: tuple[bytes, str],
    context: ssl.SSLContext | None = None,
    step: int = 2**16,
    together: bool = False,
) -> tuple[bytes, str]:
    """What is said to a request over TLS, and how it ends.

    Args:
        site: is asked.
        parts: of the request, each in a record.
        expected: what should be said.
        context: the client's.
        step: bytes of a segment.
        together: whether the request comes with the end of the handshake.
    """
    with ExitStack() as stack:
        client = Client(site, stack, context or of_client(), step=step)
        await client.shake_hands()
        if not together:
            await client.send()
            await asyncio.sleep(0.01)
        await client.say(*parts)
        return same(await client.read(expected))


def batched(requests: Collection[str]) -> Iterator[list[str]]:
    """Their names, some at a time."""
    names = list(requests)
    for start in range(0, len(names), AT_ONCE):
        yield names[start : start + AT_ONCE]


def test_every_request_of_the_corpus(run: Run) -> None:
    """In two records, after TLS 1.2's handshake, or together with the end of TLS 1.3's."""

    async def test(site: Site) -> None:
        together = isinstance(asyncio.get_running_loop(), uvloop.Loop)
        requests = {name: each for name, each in CORPUS.items() if len(each) < MAX_HEAD}
        expected: dict[str, tuple[bytes, str]] = {}
        for names in batched(requests):
            answers = await asyncio.gather(*(plain(site, requests[name]) for name in names))
            expected |= zip(names, answers, strict=True)
        context = of_client(TLS_1_3 if together else TLS_1_2)

        async def ask(name: str) -> tuple[bytes, str]:
            request, middle = requests[name], len(requests[name]) // 2
            parts = request[:middle], request[middle:]
            return await secured(
                site, *parts, expected=expected[name], context=context, together=together
            )

        for names in batched(requests):
            found = await asyncio.gather(*(ask(name) for name in names))
            assert dict(zip(names, found, strict=True)) == {n: expected[n] for n in names}

    run(test)


REQUESTS = [
    station("cs001") + REGISTER + station("nobody"),
    station("cs001") + station("cs002") + HEALTH + CLOSE,
]


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize("request_", REQUESTS)
def test_in_small_segments_and_small_records(
    run: Run, version: ssl.TLSVersion, request_: bytes
) -> None:
    """Its handshake too."""

    async def test(site: Site) -> None:
        expected = await plain(site, request_)
        context = of_client(version)
        ask = partial(secured, site, expected=expected, context=context)
        assert expected == await ask(request_, step=1)
        small = [request_[at : at + 1] for at in range(len(request_))]
        assert expected == await ask(*small, together=True)
        assert expected == await ask(*small, step=7)

    run(test)


def test_requests_one_after_the_other(run: Run) -> None:
    """The first that is no lookup gives the records to the event loop's transport, for good."""

    async def test(site: Site) -> None:
        segments = [station("cs001"), station("nobody"), HEALTH, station("cs002"), REGISTER, CLOSE]
        with ExitStack() as stack:
            client = Client(site, stack, of_client())
            await client.shake_hands()
            found = b""
            for segment in segments:
                await client.say(segment)
                answer, end = await client.read()
                assert answer.startswith(b"HTTP/1.1 ")
                found += answer
            assert end == "closed"
        assert same((found, end)) == await plain(site, b"".join(segments))
        assert site.handed_over == 2 * 2

    run(test)


@pytest.mark.parametrize("request_", [get(CERTIFICATE), get(CERTIFICATE, b"Connection: close")])
def test_an_answer_that_the_kernel_does_not_take_whole(run: Run, request_: bytes) -> None:
    """What is left follows when the client reads."""

    async def test(site: Site) -> None:
        site.lookups.cache.put(site.lookups.source.generation, CERTIFICATE, tail(BIG))
        expected = await plain(site, request_)
        assert expected[0].endswith(BIG)
        assert await secured(site, request_, expected=expected) == expected
        more = [request_, station("cs002"), REGISTER]
        expected = await plain(site, b"".join(more))
        assert await secured(site, *more, expected=expected) == expected

    run(test)


def test_nothing_is_answered_to_a_client_that_does_not_read(run: Run) -> None:
    """Until it reads; then everything is."""

    async def test(site: Site) -> None:
        site.lookups.cache.put(site.lookups.source.generation, CERTIFICATE, tail(BIG))
        with ExitStack() as stack:
            client = Client(site, stack, of_client())
            await client.shake_hands()
            await client.say(get(CERTIFICATE) * 2)
            await asyncio.sleep(QUIET)
            await client.say(get(CERTIFICATE) * 3)
            await asyncio.sleep(QUIET)
            assert site.lookups.counts.hit[CERTIFICATE[ROUTE_AT]] == 1
            found, end = await client.read()
            assert found.count(BIG) == 5
            assert end == "open"

    run(test)


@pytest.mark.parametrize("first", [get(SLOW), REGISTER + get(SLOW)])
def test_little_is_read_while_an_answer_is_awaited(run: Run, first: bytes) -> None:
    """On the plain socket and on the event loop's transport; nothing is lost."""

    async def test(site: Site) -> None:
        site.lookups.slow.add(SLOW)
        with ExitStack() as stack:
            client = Client(site, stack, of_client())
            await client.shake_hands()
            await client.say(first)
            while not site.lookups.waiting:  # noqa: ASYNC110 nothing tells
                await asyncio.sleep(0.001)
            count = 8_000
            for _ in range(count // 100):
                client.tls.write(station("cs001") * 100)
            whole = client.outgoing.pending
            flood = asyncio.create_task(client.send())
            done, _ = await asyncio.wait([flood], timeout=5 * QUIET)
            assert not done, f"{whole} bytes were read"
            site.lookups.answer(OK, tail(b"{}"))
            answers = 0
            async with asyncio.timeout(PATIENCE):
                while answers < count + 1:
                    answers += (await client.read())[0].count(b"HTTP/1.1 200")
            await flood

    run(test)


def test_a_client_that_says_that_it_leaves(run: Run) -> None:
    """What it asked before is answered, and so is its close_notify."""

    async def test(site: Site) -> None:
        with ExitStack() as stack:
            client = Client(site, stack, of_client())
            await client.shake_hands()
            client.tls.write(station("cs001") * 3)
            with suppress(ssl.SSLWantReadError):
                client.tls.unwrap()
            await client.send()
            received = b""
            while data := await client._received(PATIENCE):
                received += data
            assert received  # it can be decrypted only by who has not said that it leaves
        assert len(site.lookup_server.connections) == 0

    run(test)


def test_a_broken_record_ends_one_connection(run: Run) -> None:
    """The client gets an alert; the others go on."""

    async def test(site: Site) -> None:
        for before in (b"", station("cs001"), REGISTER):
            with ExitStack() as stack:
                client, other = (Client(site, stack, of_client()) for _ in range(2))
                for each in (client, other):
                    await each.shake_hands()
                    await each.say(before or station("cs002"))
                    await each.read()
                client.tls.write(station("cs001"))
                record = bytearray(client.outgoing.read())
                record[-1] ^= 1
                client.socket.sendall(record)
                assert await client.read() == (b"", "SSLV3_ALERT_BAD_RECORD_MAC")
                await other.say(CLOSE)
                assert (await other.read())[1] == "closed"

    run(test)


def spoiled(said: bytes, random: Random) -> bytes:
    """Some bytes are others, missing, there twice or in another order; or what follows is noise."""
    at, to = sorted(random.randrange(len(said) + 1) for _ in range(2))
    before, piece, after = said[:at], said[at:to], said[to:]
    noise = random.randbytes(random.randrange(1, 100))
    flipped = bytearray(said)
    flipped[random.randrange(len(said))] ^= 1 << random.randrange(8)
    return random.choice(
        [
            before + after,
            before + piece * 2 + after,
            after + piece + before,
            before + noise + after,
            before + noise,
            said + noise,
            bytes(flipped),
        ]
    )


async def spoiled_connection(site: Site, stack: ExitStack, random: Random) -> None:
    """What one client says is spoiled: its hello, the end of its handshake, or a request."""
    version = random.choice([TLS_1_2, TLS_1_3])
    client = Client(site, stack, of_client(version), step=random.choice([1, 7, 100, 2**16]))
    when = random.randrange(3)
    if when == 0:
        with suppress(ssl.SSLWantReadError):
            client.tls.do_handshake()
    else:
        await client.shake_hands()
        if when == 2:
            await client.send()
        client.tls.write(random.choice([station("cs001"), CLOSE, SLOW, REGISTER]))
    spoiled_bytes = spoiled(client.outgoing.read(), random)
    with suppress(ConnectionError):
        await asyncio.get_running_loop().sock_sendall(client.socket, spoiled_bytes)
    for _ in range(random.randrange(5)):
        await asyncio.sleep(0)
    if random.random() < 0.5:
        client.socket.shutdown(socket.SHUT_WR)
    else:
        client.socket.close()


@pytest.mark.parametrize(
    "rounds", [300, pytest.param(30_000, marks=pytest.mark.slow)], ids=["300", "30000"]
)
def test_whatever_a_client_says(run: Run, rounds: int) -> None:
    """Nothing is raised, no connection is left behind, and the others go on."""
    random = Random(rounds)

    async def test(site: Site) -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        with capture_logs():
            for start in range(0, rounds, AT_ONCE):
                with ExitStack() as stack:
                    for _ in range(start, start + AT_ONCE):
                        await spoiled_connection(site, stack, random)
                async with asyncio.timeout(PATIENCE):
                    while len(site.lookup_server.connections):  # noqa: ASYNC110 nothing tells
                        await asyncio.sleep(0.001)
                assert (await secured(site, CLOSE, expected=(b"", "closed")))[1] == "closed"
        assert not faults

    run(test)


@pytest.mark.parametrize(
    ("said", "level"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "warning"),
        (b"\x16\x03\x01\0\x05\x01\0\0\x01\0", "debug"),
        (b"\x16\x03\x01", "debug"),
        (b"", "debug"),
    ],
)
def test_a_handshake_that_fails(run: Run, said: bytes, level: str) -> None:
    """Is logged, and its connection is gone."""

    async def test(site: Site) -> None:
        with ExitStack() as stack, capture_logs() as logs:
            client, accepted = pair(stack)
            site.lookup_server.handshakes.begin(accepted)
            assert len(site.lookup_server.connections.handshakes) == 1
            if said:
                client.sendall(said)
            client.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(PATIENCE):
                while len(site.lookup_server.connections):  # noqa: ASYNC110 nothing tells
                    await asyncio.sleep(0.001)
            assert not site.lookup_server.connections.handshakes
        (logged,) = logs
        assert (logged["event"], logged["log_level"]) == ("TLS handshake failed", level)
        assert logged["reason"]

    run(test)


def test_a_client_that_leaves_is_forgotten(run: Run) -> None:
    """In its handshake, idle, while its lookup is under way, and before the event loop's transport.

    No garbage is left that only a collection finds.
    """

    async def leave(site: Site, before: bytes | None) -> None:
        with ExitStack() as stack:
            client = Client(site, stack, of_client())
            if before is None:
                with suppress(ssl.SSLWantReadError):
                    client.tls.do_handshake()
                await client.send()
            else:
                await client.shake_hands()
                await client.say(before)
        async with asyncio.timeout(PATIENCE):
            while len(site.lookup_server.connections):  # noqa: ASYNC110 nothing tells
                await asyncio.sleep(0.001)

    async def test(site: Site) -> None:
        site.lookups.slow.add(SLOW)
        connections = site.lookup_server.connections
        gc.collect()
        gc.disable()
        try:
            for before in (None, b"", station("cs001"), station("cs001")[:-1], get(SLOW), CLOSE):
                await leave(site, before)
            for _ in range(5):
                await asyncio.sleep(0)
            site.lookups.waiting.clear()
            assert not [each for each in gc.get_objects() if isinstance(each, TlsTransport)]
        finally:
            gc.enable()
        await leave(site, REGISTER)
        assert not any((connections.idle, connections.reading, connections.closing))

    run(test)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_session_is_resumed(run: Run, version: ssl.TLSVersion) -> None:
    async def test(site: Site) -> None:
        context, session = of_client(version), None
        for again in range(3):
            with ExitStack() as stack:
                client = Client(site, stack, context, session=session)
                await client.shake_hands()
                await client.say(CLOSE)
                assert (await client.read())[1] == "closed"
                assert client.tls.session_reused == bool(again)
                session = client.tls.session

    run(test)


def test_a_drain_closes_them(run: Run) -> None:
    """The idle at once, the others with their answer; who shakes hands may ask once."""

    async def test(site: Site) -> None:
        site.lookups.slow.add(SLOW)
        with ExitStack() as stack:
            idle, slow, writing, late = (Client(site, stack, of_client()) for _ in range(4))
            for client, said in ((idle, station("cs001")), (slow, get(SLOW))):
                await client.shake_hands()
                await client.say(said)
            await writing.shake_hands()
            await writing.say(REGISTER[:-1])
            await asyncio.sleep(QUIET)
            drain = asyncio.create_task(site.lookup_server.drain(PATIENCE))
            await asyncio.sleep(0.01)
            site.lookups.answer(OK, tail(b"{}"))
            await writing.say(REGISTER[-1:])
            await late.shake_hands()
            await late.say(station("nobody"))
            await drain
            found = [await client.read() for client in (idle, slow, writing, late)]
            assert [end for _, end in found] == ["closed"] * 4
            assert [answer[9:12] for answer, _ in found] == [b"200", b"200", b"201", b"404"]
            closes = [b"Connection: close" in answer for answer, _ in found]
            assert closes == [False, True, True, True]

    run(test)


def test_a_fault_ends_one_connection(run: Run) -> None:
    """And is reported."""

    async def test(site: Site) -> None:
        def fault(*_: object) -> None:
            raise RuntimeError("a fault")

        with ExitStack() as stack:
            client = Client(site, stack, of_client())
            await client.shake_hands()
            site.lookups.read = fault  # type: ignore[assignment,method-assign]
            await client.say(station("nobody"))
            assert await client.read() == (b"", "cut off")
        assert len(site.lookup_server.connections) == 0
        (reported,) = site.loop_errors
        assert str(reported["exception"]) == "a fault"
        site.loop_errors.clear()

    run(test)
