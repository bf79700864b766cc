"""What the log tells and what it does not."""

import re
import time
from collections.abc import Iterator

import pytest

from tests.conftest import (
    API,
    DATA,
    Reply,
    Service,
    StartService,
    Valkey,
    password_hash,
    running_service,
    running_valkey,
    segment,
    wait_for,
)
from tests.support.made import TOKEN

JSON = {"Content-Type": "application/json"}
SECRET = "hunter2-xyzzy"
HASHED = password_hash(SECRET)
PEM = (DATA / "certificates" / "HUBOpenProvCert001.pem").read_text(encoding="ascii")
PEM_LINES = [line for line in PEM.splitlines() if len(line) > 60]
PEM_HASH = "1KOlEbBBpCleKkKEbIDwfq_u-zHhkzzH7mGYdfHz1SU"


@pytest.fixture
def own() -> Iterator[Service]:
    """A service whose log is one test's own."""
    with running_service() as service:
        yield service


def every_kind_of_write(service: Service) -> list[Reply]:
    """Writes that succeed and writes that fail, each with a secret in it."""
    station = {"securityProfile": 1, "base64SHA256Password": HASHED}
    key = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"
    replies = [
        service.post("/cs/secret", station),
        service.post("/cs/secret", station | {"base64SHA256Password": SECRET}),
        service.post("/cs/secret", station | {"base64SHA256Password": [HASHED, SECRET]}),
        service.post("/cs/secret", station | {"base64SHA256Password": SECRET * 99}),
        service.post("/cs/secret", station | {"securityProfile": SECRET}),
        service.post("/cs/secret", station | {"securityProfile": HASHED}),
        service.post("/cs/secret", station | {"invalidUsernameAllowed": SECRET}),
        service.post("/cs/secret", station | {SECRET: HASHED}),
        service.post("/cs/secret", [HASHED, SECRET]),
        service.post("/certificate", {"certificate": PEM}),
        service.post("/certificate", {"certificate": PEM + key}),
        service.post("/certificate", {"certificate": key}),
        service.post("/certificate", {"certificate": PEM[:-40]}),
        service.post("/certificate", {"certificate": PEM.replace("\n", "")}),
        service.post("/certificate", {"certificate": PEM * 40}),
        service.post("/certificate", {"certificate": [PEM]}),
        service.post("/certificate", {"certificates": PEM}),
        service.post("/token", TOKEN),
        service.post("/token", TOKEN | dict.fromkeys(TOKEN, SECRET * 9)),
        service.delete(f"/certificate/{PEM_HASH}"),
        service.delete(f"/certificate/{PEM_HASH}"),
        service.delete(f"/certificate/{SECRET}"),
    ]
    for body in (f'{{"base64SHA256Password":"{HASHED}","x":', f"{HASHED}{SECRET}", PEM):
        for path in ("/cs/secret", "/token", "/certificate"):
            replies += [
                service.request("POST", API + path, body, JSON),
                service.request("POST", API + path, body, {"Content-Type": "text/plain"}),
                service.request("PUT", API + path, body, JSON),
            ]
    replies.append(service.get("/cs/secret/auth?password=" + SECRET))
    with service.raw() as connection:
        connection.send(f"POST /{SECRET} {HASHED} HTTP/1.1\r\n{PEM}\r\n\r\n".encode())
        replies.append(connection.reply())
    return replies


def secrets_in(text: str) -> list[str]:
    """The secrets that a text tells."""
    shown = [secret for secret in (SECRET, HASHED, HASHED.rstrip("=")) if secret in text]
    return shown + [line for line in PEM_LINES if line in text]


def test_no_secret_is_in_the_log_or_in_an_error(own: Service) -> None:
    """Neither a password, nor its hash, nor what is in a certificate, nor a private key."""
    replies = every_kind_of_write(own)

    assert {201, 204, 400, 404, 405, 415} <= {reply.status for reply in replies}
    for reply in replies:
        if reply.status != 200:
            assert secrets_in(reply.body.decode()) == []
            assert secrets_in(repr(reply.headers)) == []
    assert len(own.events("write")) > 30
    assert secrets_in(own.log) == []


def test_no_secret_is_in_the_log_when_redis_fails(
    start_service: StartService, valkey: Valkey
) -> None:
    """Though redis-py puts what it sent into its errors."""
    service = start_service(redis__url=valkey.url, redis__timeout="0.2")
    valkey.freeze()
    statuses = {reply.status for reply in every_kind_of_write(service)}
    valkey.thaw()
    valkey.kill()
    statuses |= {reply.status for reply in every_kind_of_write(service)}

    assert 503 in statuses
    assert statuses.isdisjoint({500})
    assert secrets_in(service.log) == []


def test_no_secret_is_in_the_log_when_redis_refuses(start_service: StartService) -> None:
    with running_valkey("--replicaof", "127.0.0.1", "1") as replica:
        service = start_service(redis__url=replica.url)

        statuses = {reply.status for reply in every_kind_of_write(service)}

        assert 503 in statuses
        assert secrets_in(service.log) == []


def test_the_password_of_redis_is_not_in_the_log(start_service: StartService) -> None:
    """Right or wrong, though the address is there."""
    with running_valkey("--requirepass", SECRET) as guarded:
        for password in (SECRET, f"{SECRET}-wrong"):
            url = guarded.url.replace("unix://", f"unix://user:{password}@")
            service = start_service(redis__url=url, lookup__timeout="0.5")
            wait_for(lambda s=service: "valkey.sock" in s.log, "a line about Redis")  # type: ignore[misc]
            service.get("/cs/cs001/auth")

            assert SECRET not in service.log


def test_one_line_per_write_with_what_it_was_about(own: Service) -> None:
    """And none per lookup, found or not."""
    wait_for(lambda: own.events("all records are known"), "all records are known")
    own.post("/cs/cs%20001", {"securityProfile": 2})
    own.post("/token", TOKEN)
    own.post("/certificate", {"certificate": PEM})
    lines = len(own.log.splitlines())
    for path in ("/cs/cs%20001/auth", "/cs/x/auth", "/token/deadbeef", "/token/x"):
        own.get(path)
        own.get(f"{path}?x=1")  # not on the hot path
    own.get(f"/certificate/{PEM_HASH}")
    own.get("/certificate/x")
    own.request("GET", "/health")
    assert len(own.log.splitlines()) == lines
    own.delete(f"/certificate/{PEM_HASH}")

    told = [
        {
            name: event.get(name)
            for name in ("method", "operation", "status", "csId", "uid", "certificateHash")
            if name in event
        }
        for event in own.events("write")
    ]
    certificate = f"{PEM_HASH}="
    assert told == [
        {"method": "POST", "operation": "registerChargeStation", "status": 201, "csId": "cs 001"},
        {"method": "POST", "operation": "setToken", "status": 201, "uid": "DEADBEEF"},
        {
            "method": "POST",
            "operation": "uploadCertificate",
            "status": 201,
            "certificateHash": certificate,
        },
        {
            "method": "DELETE",
            "operation": "deleteCertificate",
            "status": 204,
            "certificateHash": certificate,
        },
    ]
    assert all(event["level"] == "info" for event in own.events("write"))


def test_one_line_per_error_with_its_reason(own: Service) -> None:
    own.post("/cs/cs001", {"securityProfile": 9})
    own.request("GET", "/nowhere")
    own.request("PUT", f"{API}/token")

    told = [
        (event["event"], event["level"], event["status"], event["reason"])
        for event in own.events()
        if "status" in event
    ]
    assert [line[:3] for line in told] == [
        ("write", "warning", 400),
        ("request", "warning", 404),
        ("write", "warning", 405),
    ]
    assert told[0][3].startswith("securityProfile: ")


@pytest.mark.parametrize(
    "request_id",
    ["abc", "0af7651916cd43dd8448eb211c80319c", "a.b:c/d+e=f-g_h", "x" * 128, "0"],
)
def test_a_sane_request_id_is_taken(service: Service, request_id: str) -> None:
    """It comes back, and the line in the log has it."""
    headers = JSON | {"X-Request-Id": request_id}

    reply = service.request("POST", f"{API}/cs/traced", '{"securityProfile":2}', headers)

    assert reply.headers["X-Request-Id"] == request_id
    assert service.events("write")[-1]["request_id"] == request_id


@pytest.mark.parametrize(
    "request_id",
    [
        "",
        "x" * 129,
        "two words",
        "tab\there",
        "quote\"'",
        "<script>",
        "{}",
        "a,b",
        "\u00e9",
        "%0A",
        "a;b",
        "a\\nb",
        "\x1b[31m",
    ],
)
def test_any_other_request_id_is_replaced(service: Service, request_id: str) -> None:
    """By one that is in the reply, in the log, and another each time."""
    replaced = set()
    for _ in range(2):
        head = (
            f"POST {API}/cs/traced HTTP/1.1\r\nHost: a\r\nX-Request-Id: {request_id}\r\n"
            "Content-Type: application/json\r\nContent-Length: 21\r\n\r\n"
        )
        with service.raw() as connection:
            connection.send(head.encode() + b'{"securityProfile":2}')
            reply = connection.reply()
        if reply.status == 400 and "\x1b" in request_id:  # not HTTP at all
            return
        given = reply.headers["X-Request-Id"]
        assert reply.status == 201
        assert re.fullmatch(r"[0-9a-f]{32}", given)
        assert service.events("write")[-1]["request_id"] == given
        replaced.add(given)

    assert len(replaced) == 2


def test_an_error_has_the_request_id_too(service: Service) -> None:
    headers = {"X-Request-Id": "traced-error"}

    reply = service.request("GET", "/nowhere", headers=headers)

    assert reply.headers["X-Request-Id"] == "traced-error"
    assert service.events("request")[-1]["request_id"] == "traced-error"


ODD_TEXTS = [
    "\u2028",
    "\u2029",
    "\x85"[:0] + "\u200b",
    "\u202e",
    '"',
    "\\",
    "'",
    "\\n",
    "\U0001f50c",
]


def test_every_line_is_json(own: Service) -> None:
    """Whatever ids hold; a line ends where its newline is and nowhere else."""
    for text in ODD_TEXTS:
        assert own.post(f"/cs/{segment(text)}", {"securityProfile": 2}).status == 201
    every_kind_of_write(own)

    lines = own.log.split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(own.events())
    assert all({"event", "level", "timestamp"} <= event.keys() for event in own.events())
    logged = [event["csId"] for event in own.events("write") if "csId" in event]
    assert logged[: len(ODD_TEXTS)] == ODD_TEXTS


@pytest.fixture
def texted() -> Iterator[Service]:
    """A service that logs text, as for people."""
    with running_service(telemetry__log_format="text") as service:
        yield service


def test_no_line_of_text_can_be_forged(texted: Service) -> None:
    """What an outsider sends is quoted: it starts no line and moves no cursor."""
    forged = "2026-01-01T00:00:00Z [info] write status=201"
    for character in ("\n", "\r", "\x1b[2K", "\u2028", "\u2029", "\x0b", "\u009b", "\x7f"):
        texted.post(f"/cs/{segment(character + forged)}", {"securityProfile": 2})
        texted.post("/token", TOKEN | {"uid": character + forged, "issuer": character + forged})
        texted.post("/token", TOKEN | {character + forged: 1, "issuer": character + forged})
        texted.request("GET", f"/{segment(character + forged)}")
        texted.request("DELETE", f"{API}/certificate/{segment(character + forged)}")
        with texted.raw() as connection:
            connection.send(f"GET /x HTTP/1.1\r\nX: {character}{forged}\r\n\r\n".encode())
            connection.finish()
            connection.rest()
    wait_for(lambda: "DELETE" in texted.log, "the last line")

    log = texted.log  # once: it goes on
    assert log.isascii() or not re.search(r"[\u0080-\u009f\u2028\u2029]", log)
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f]", log) is None
    starts = {line[:2] for line in log.split("\n") if line}
    assert starts == {time.strftime("%Y")[:2]}
    # splitlines also ends lines at what only some viewers take for an end
    assert len(log.splitlines()) == log.count("\n")
    assert not any(line.startswith(forged) for line in log.splitlines())
