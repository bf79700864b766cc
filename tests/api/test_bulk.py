"""`/bulk`: many records at once, streamed both ways within bounds."""

import asyncio
import contextlib
import http.client
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis

from csms_redis.api.bulk import MOST_IMPORTS, _Import
from csms_redis.contract.queries import ImportQuery
from csms_redis.rows.kinds import KINDS
from csms_redis.settings import ApiSettings
from tests.conftest import DATA, Service, Valkey, running_service, running_valkey, wait_for
from tests.support.bulk import LINES, STATIONS, answered, sent
from tests.support.listed import HASHED, TOKEN

PEM = (DATA / "certificates" / "root-V2G-cert.pem").read_text()


@pytest.fixture(scope="module")
def behind() -> Iterator[Valkey]:
    with running_valkey() as valkey:
        yield valkey


@pytest.fixture(scope="module")
def service(behind: Valkey) -> Iterator[Service]:
    """A service with short time-outs."""
    with running_service(
        redis__url=behind.url,
        server__request_timeout="1",
        server__keepalive_timeout="1",
        server__max_body="4096",
    ) as running:
        yield running


@pytest.fixture
def redis(behind: Valkey, service: Service) -> Iterator[Redis]:
    """Its Redis, without a record."""
    del service
    with Redis(unix_socket_path=behind.socket, decode_responses=True) as client:
        for key in client.scan_iter():
            if key not in {"layout", "dataset"}:
                client.delete(key)
        yield client


def open_connections(service: Service) -> int:
    """How many there are, with the one that asks."""
    text = service.request("GET", "/metrics").body.decode()
    found = re.search(r"^csms_connections_open (\d+)", text, re.MULTILINE)
    assert found
    return int(found[1])


def counts(**given: int) -> dict[str, Any]:
    none = dict.fromkeys(("rows", "written", "existing", "refused", "failed"), 0)
    return {"counts": none | given}


class TestRows:
    def test_what_is_well_is_told_as_done(self, service: Service, redis: Redis) -> None:
        """One line says how far it is, and the last one how it ended."""
        rows = [{"csId": f"s{n}", "securityProfile": 2} for n in range(3)]
        assert sent(service, *rows) == [{"done": 3}, counts(rows=3, written=3)]
        assert redis.hgetall("cs:s1")["securityProfile"] == "2"
        assert redis.hgetall("cs:s1")["registrationStatus"] == '"Pending"'

    def test_a_bad_row_spoils_no_other(self, service: Service, redis: Redis) -> None:
        """Each is told of by its line, without its values; blank lines count as lines."""
        found = sent(
            service,
            {"csId": "s1", "securityProfile": 7},
            "",
            "{",
            "[]",
            '"secret"',
            "[" * 5000,
            {"securityProfile": 2},
            {"csId": "s2", "securityProfile": 1, "password": "secret", "authorizationKey": "00"},
            {"csId": "s3", "securityProfile": 2},
        )
        assert found[-1] == counts(rows=8, written=1, refused=7)
        assert [row["line"] for row in found if "line" in row] == [1, 3, 4, 5, 6, 7, 8]
        assert {row["outcome"] for row in found if "line" in row} == {"refused"}
        assert "secret" not in json.dumps(found)
        assert redis.keys("cs:*") == ["cs:s3"]

    def test_a_byte_order_mark_is_no_part_of_the_first_row(
        self, service: Service, redis: Redis
    ) -> None:
        """Programs on Windows write one before a text (RFC 8259, 8.1)."""
        found = answered(service, b'\xef\xbb\xbf{"csId": "s1", "securityProfile": 2}\n')
        assert found == [{"done": 1}, counts(rows=1, written=1)]
        assert redis.keys("cs:*") == ["cs:s1"]

    def test_a_row_that_is_too_long(self, service: Service, redis: Redis) -> None:
        """It is left out, wherever it is, and however long."""
        long = json.dumps({"csId": "x" * 5000, "securityProfile": 2})
        longer = " " * 1_000_000
        found = sent(service, long, {"csId": "s1", "securityProfile": 2}, longer, long)
        assert [row["line"] for row in found if "line" in row] == [1, 3, 4]
        assert "server.max_body" in found[0]["error"]
        assert redis.keys("cs:*") == ["cs:s1"]

    def test_what_a_row_does_not_say(self, service: Service, redis: Redis) -> None:
        """Stays; with replace it goes, and onlyNew leaves all of it alone."""
        sent(service, {"csId": "s1", "securityProfile": 1, "base64SHA256Password": HASHED})
        row = {"csId": "s1", "securityProfile": 1}
        assert sent(service, row)[:-1] == [{"done": 1}]
        assert json.loads(str(redis.hget("cs:s1", "base64SHA256Password"))) == HASHED
        found = sent(service, row, path=f"{STATIONS}?onlyNew=true&replace=true")
        assert found == [
            {"line": 1, "outcome": "existing"},
            {"done": 1},
            counts(rows=1, existing=1),
        ]
        found = sent(service, row, path=f"{STATIONS}?replace=true")
        assert found[0] == {
            "line": 1,
            "outcome": "written",
            "removed": ["base64SHA256Password"],
            "doubts": ["profile-without-password"],
        }

    def test_a_blocked_station_stays_so(self, service: Service, redis: Redis) -> None:
        sent(service, {"csId": "s1", "securityProfile": 2, "registrationStatus": "Rejected"})
        row = {"csId": "s1", "securityProfile": 2, "registrationStatus": "Accepted"}
        assert sent(service, row)[0] == {"line": 1, "outcome": "written", "stays": "Rejected"}
        assert redis.hget("cs:s1", "registrationStatus") == '"Rejected"'

    def test_of_two_rows_the_later_counts(self, service: Service, redis: Redis) -> None:
        rows = [{"csId": "s1", "securityProfile": n % 3} for n in range(10)]
        assert sent(service, *rows)[-1] == counts(rows=10, written=10)
        assert redis.hget("cs:s1", "securityProfile") == "0"

    def test_what_is_no_record(self, service: Service, redis: Redis) -> None:
        redis.set("cs:s1", "another program's")
        found = sent(service, {"csId": "s1", "securityProfile": 2})
        assert found[0]["outcome"] == "refused"
        assert "is a string" in found[0]["error"]
        assert redis.get("cs:s1") == "another program's"

    def test_the_other_kinds(self, service: Service, redis: Redis) -> None:
        assert sent(service, TOKEN | {"uid": "t1"}, path="/api/v0/bulk/tokens")[-1] == counts(
            rows=1, written=1
        )
        found = sent(service, {"certificate": PEM}, {}, path="/api/v0/bulk/certificates")
        assert [row.get("outcome") for row in found] == ["written", "refused", None, None]
        assert sorted(key.partition(":")[0] for key in redis.scan_iter("*:*")) == [
            "certificate",
            "token",
        ]

    def test_it_is_looked_up_at_once(self, service: Service, redis: Redis) -> None:
        """By who wrote it, before Redis' invalidation arrives."""
        for profile in (2, 1, 0) * 5:
            row = {"csId": "s1", "securityProfile": profile, "base64SHA256Password": HASHED}
            sent(service, row)
            found = service.request("GET", "/api/v0/cs/s1/auth").json
            assert found["securityProfile"] == profile
        assert redis.exists("cs:s1")


async def test_others_have_their_turn_while_rows_are_refused() -> None:
    """Refusing takes time as storing does, and what is told of it takes memory."""
    registry: Any = SimpleNamespace(prefix=b"")  # no row gets farther
    importing = _Import(registry, registry, ApiSettings(), KINDS["stations"], ImportQuery())
    turns = 0

    async def rows() -> AsyncIterator[list[bytes | None]]:
        yield [b"{}"] * 20_000

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    watching = asyncio.create_task(others())
    told = [len(lines.splitlines()) async for lines in importing.run(rows())]
    watching.cancel()
    assert (sum(told) - len(told), importing.counts["refused"]) == (20_000, 20_000)
    assert max(told) <= 501
    assert turns > 5


def test_nothing_is_there_to_import(service: Service) -> None:
    assert answered(service, b"") == [counts()]
    assert answered(service, b"\n\n\n")[-1] == counts()


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"Content-Type": "text/csv"}, STATIONS, 415),
        ({"Content-Type": "application/jsonl", "Content-Encoding": "gzip"}, STATIONS, 415),
        (LINES, f"{STATIONS}?onlyNew=yes", 400),
        (LINES, f"{STATIONS}?only_new=true", 400),
        (LINES, "/api/v0/bulk/drivers", 404),
    ],
)
def test_a_request_that_is_refused(
    service: Service, headers: dict[str, str], path: str, status: int
) -> None:
    assert service.request("POST", path, b"{}", headers=headers).status == status


class Upload:
    """An import whose rows are sent bit by bit over a connection of its own.

    They go in chunks by `send`; where the body's length is told, by the socket itself.
    """

    def __init__(self, service: Service, path: str = STATIONS, length: int | None = None) -> None:
        url = urlsplit(service.url)
        self.socket = socket.create_connection((url.hostname, url.port), timeout=20)
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        self.socket.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
            f"{framing}\r\n\r\n".encode()
        )

    def send(self, data: bytes) -> None:
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def read_until(self, wanted: bytes) -> bytes:
        """What is answered up to something; all of it where the connection ends before."""
        received = b""
        with contextlib.suppress(ConnectionError):
            while wanted not in received:
                data = self.socket.recv(65536)
                if not data:
                    break
                received += data
        return received


class TestStreaming:
    def test_one_connection_for_several(self, service: Service, redis: Redis) -> None:
        """A body whose length is told leaves the connection as it was."""
        connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=20)
        with contextlib.closing(connection):
            for number in range(3):
                row = b'{"csId":"s%d","securityProfile":2}\n' % number
                connection.request("POST", STATIONS, row, LINES)
                ours = connection.sock.getsockname()
                assert b'"written":1' in connection.getresponse().read()
                assert connection.sock.getsockname() == ours
        assert redis.exists("cs:s0", "cs:s1", "cs:s2") == 3

    def test_answers_come_before_the_end_of_the_rows(self, service: Service, redis: Redis) -> None:
        """And the head says that the connection ends with it, as after each body of chunks."""
        upload = Upload(service)
        with upload.socket:
            for number in range(3):
                upload.send(b'{"csId":"s%d","securityProfile":2}\n' % number)
                received = upload.read_until(b'{"done":%d}' % (number + 1))
                assert (b"\r\nConnection: close\r\n" in received) == (number == 0)
                assert redis.exists(f"cs:s{number}")
            upload.send(b'{"csId":"cut off at the end","securityProfile":2}')
            upload.socket.sendall(b"0\r\n\r\n")
            assert b'"written":4' in upload.read_until(b"0\r\n\r\n")
            assert upload.read_until(b"more") == b""

    def test_a_short_body_is_answered_when_it_was_read(
        self, service: Service, redis: Redis
    ) -> None:
        """Its length is told: nginx sends no more of it once the answer has begun."""
        rows = b"".join(b'{"csId":"s%d","securityProfile":2}\n' % number for number in range(9))
        upload = Upload(service, length=len(rows))
        with upload.socket:
            upload.socket.sendall(rows[:-1])
            wait_for(lambda: redis.exists("cs:s7"), "what has arrived is written")
            upload.socket.settimeout(0.2)
            with pytest.raises(TimeoutError):
                upload.socket.recv(1)
            upload.socket.settimeout(20)
            upload.socket.sendall(rows[-1:])
            assert b'"written":9' in upload.read_until(b"0\r\n\r\n")

    def test_a_long_body_is_answered_meanwhile(self, service: Service, redis: Redis) -> None:
        """Longer than `server.max_body`, though its length is told."""
        del redis
        upload = Upload(service, length=4097)
        with upload.socket:
            upload.socket.sendall(b'{"csId":"s1","securityProfile":2}\n')
            assert b'{"done":1}' in upload.read_until(b'{"done":1}')

    def test_a_row_in_many_pieces(self, service: Service, redis: Redis) -> None:
        upload = Upload(service)
        with upload.socket:
            for byte in b'{"csId":"s1","securityProfile":2}\n{"csId":"s2","securityProfile":2}':
                upload.send(bytes([byte]))
            upload.socket.sendall(b"0\r\n\r\n")
            assert b'"written":2' in upload.read_until(b"0\r\n\r\n")
        assert redis.exists("cs:s1", "cs:s2") == 2

    def test_a_client_that_stops_sending(self, service: Service, redis: Redis) -> None:
        """It is told so and ended, what it has sent is written, and the audit says all this."""
        before = len(service.events("write"))
        upload = Upload(service)
        with upload.socket:
            upload.send(b'{"csId":"s1","securityProfile":2}\n{"csId":')
            received = upload.read_until(b"never")
        assert b"did not arrive in time" in received
        assert b"counts" not in received
        assert redis.exists("cs:s1")
        wait_for(lambda: len(service.events("write")) > before, "the audit has its line")
        line = service.events("write")[-1]
        assert (line["outcome"], line["written"]) == ("refused", 1)
        assert "in time" in line["reason"]

    def test_a_client_that_goes_away(self, service: Service, redis: Redis) -> None:
        before = len(service.events("write"))
        upload = Upload(service)
        upload.send(b'{"csId":"s1","securityProfile":2}\n')
        upload.read_until(b"done")
        upload.socket.close()
        wait_for(lambda: len(service.events("write")) > before, "the audit has its line")
        assert service.events("write")[-1]["outcome"] == "refused"
        assert redis.exists("cs:s1")

    def test_a_client_that_stops_reading(self, service: Service) -> None:
        """What it does not take is not heaped up: no more is read of it, and it is ended."""
        upload = Upload(service)
        rows = b'{"securityProfile":2}\n' * 2000
        size = 0
        with upload.socket, contextlib.suppress(OSError):
            upload.socket.settimeout(20)
            while size < 200_000_000:
                upload.send(rows)
                size += len(rows)
        assert size < 100_000_000
        assert service.request("GET", "/health/ready").status == 200

    def test_too_many_at_once(self, service: Service) -> None:
        """The others are asked to come again, and are served when there is room."""
        uploads = [Upload(service) for _ in range(MOST_IMPORTS)]
        for upload in uploads:
            upload.send(b"\n")
            assert upload.read_until(b"200 OK")
        refused = service.request("POST", STATIONS, b"", headers=LINES)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        for upload in uploads:
            upload.socket.close()
        wait_for(
            lambda: service.request("POST", STATIONS, b"", headers=LINES).status == 200,
            "there is room",
        )


class TestAway:
    def test_rows_that_could_not_be_stored(self, service: Service, behind: Valkey) -> None:
        """They are told of as failed, each by its line, and the import goes on."""
        rows = [{"csId": f"s{n}", "securityProfile": 2} for n in range(2)]
        before = len(service.events("write"))
        behind.freeze()
        try:
            found = sent(service, *rows)
        finally:
            behind.thaw()
        assert found[-1] == counts(rows=2, failed=2)

        def outcomes() -> list[str]:  # the line of what was answered just before may come later
            return [line["outcome"] for line in service.events("write")[before:]]

        wait_for(lambda: "unknown" in outcomes(), "the audit has its line")
        assert outcomes().count("unknown") == 1
        assert {row["outcome"] for row in found if "line" in row} == {"failed"}
        wait_for(
            lambda: sent(service, *rows)[-1] == counts(rows=2, written=2), "Redis answers again"
        )


class TestExport:
    def test_what_it_gives_an_import_takes(self, service: Service, redis: Redis) -> None:
        """As it is; and the last line says that it is whole."""
        rows = [
            {"csId": f"s {n}", "securityProfile": 1, "base64SHA256Password": HASHED}
            for n in range(2000)
        ]
        for start in (0, 1000):
            sent(service, *rows[start : start + 1000])
        redis.set("cs:other", "another program's")
        reply = service.request("GET", f"{STATIONS}?credentials=true")
        *lines, last = reply.body.splitlines()
        assert json.loads(last) == {"counts": {"written": 2000, "leftOut": 0}}
        before = {key: redis.hgetall(key) for key in redis.scan_iter("cs:s*")}
        redis.delete(*before)
        assert answered(service, b"\n".join(lines))[-1] == counts(rows=2000, written=2000)
        assert {key: redis.hgetall(key) for key in redis.scan_iter("cs:s*")} == before

    def test_credentials_are_asked_for(self, service: Service, redis: Redis) -> None:
        del redis
        sent(service, {"csId": "s1", "securityProfile": 1, "base64SHA256Password": HASHED})
        assert HASHED not in service.request("GET", STATIONS).body.decode()

    def test_a_client_that_does_not_read(self, service: Service, redis: Redis) -> None:
        """It is ended, and costs nothing meanwhile."""
        pipeline = redis.pipeline(transaction=False)
        for number in range(300):
            pipeline.hset(
                f"certificate:{number:042d}A=", mapping={"certificate": f'"{"x" * 60000}"'}
            )
        pipeline.execute()
        url = urlsplit(service.url)
        with socket.create_connection((url.hostname, url.port), timeout=20) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /api/v0/bulk/certificates HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: open_connections(service) == 2, "it is begun")
            wait_for(lambda: open_connections(service) == 1, "it is ended")

    def test_head(self, service: Service) -> None:
        connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=20)
        with contextlib.closing(connection):
            connection.request("HEAD", STATIONS)
            reply = connection.getresponse()
            assert (reply.status, reply.read()) == (200, b"")


def test_metrics_have_the_operations(service: Service) -> None:
    text = service.request("GET", "/metrics").body.decode()
    for kind in ("ChargeStations", "Tokens", "Certificates"):
        assert f'csms_writes_total{{operation="import{kind}",outcome="done"}}' in text


def test_rules(service: Service) -> None:
    assert service.request("GET", "/api/v0/rules").json == {"strict": False, "anyStationId": False}
