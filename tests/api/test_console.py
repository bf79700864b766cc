"""The console's files, what only it asks for, and writes that a browser may not send."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from csms_redis.access.secret import hash_of
from csms_redis.contract.operations import OPERATIONS, Operation
from csms_redis.telemetry.audit import AuditTrail
from tests.conftest import API, DATA, Service, StartService, password_hash, running_service

FOLDER = files("csms_redis.api") / "console"
VENDOR = FOLDER / "vendor"
LOCK: dict[str, dict[str, Any]] = json.loads((VENDOR / "lock.json").read_text("utf-8"))
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
JSON = {"Content-Type": "application/json"}
LINES = {"Content-Type": "application/jsonl"}
TOKEN = {
    "countryCode": "GB",
    "partyId": "TWK",
    "type": "RFID",
    "uid": "written",
    "contractId": "GBTWK012345678V",
    "issuer": "Thoughtworks",
    "valid": True,
    "cacheMode": "ALWAYS",
}
CERTIFICATE = (DATA / "certificates" / "root-V2G-cert.pem").read_text(encoding="ascii")
HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak="
BODIES: dict[str, object] = {
    "registerChargeStation": {"securityProfile": 2},
    "setToken": TOKEN,
    "uploadCertificate": {"certificate": CERTIFICATE},
    "setChargeStationPassword": {"base64SHA256Password": password_hash("another")},
    "setRegistrationStatus": {"registrationStatus": "Rejected"},
}
WRITES = [operation for operation in OPERATIONS if operation.method != "GET"]


def sha512(data: bytes) -> str:
    return base64.b64encode(hashlib.sha512(data).digest()).decode()


# The files


def loaded(service: Service) -> dict[str, bytes]:
    """The page and all that it needs, by path."""
    found: dict[str, bytes] = {}
    paths = ["/console"]
    while paths:
        path = paths.pop()
        if path in found:
            continue
        reply = service.request("GET", path)
        assert reply.status == 200, path
        assert reply.headers["Content-Security-Policy"] == CSP
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        found[path] = reply.body
        text = reply.body.decode()
        if path == "/console":
            paths += re.findall(r'(?:src|href)="([^"]+)"', text)
        else:
            folder = path.rpartition("/")[0]
            for module in re.findall(r"""(?m)^\s*(?:import|export)\b.*?["'](\.[^"']+)["']""", text):
                paths.append(f"{folder}/{module.removeprefix('./')}")
    return found


def test_the_page_and_all_it_needs_is_served(service: Service) -> None:
    """As what it is, under a strict policy; every file in the package is needed."""
    paths = loaded(service)
    types = {"js": "text/javascript", "mjs": "text/javascript", "css": "text/css"}
    for path in paths:
        reply = service.request("GET", path)
        ending = path.rpartition(".")[2]
        expected = {"/console": "text/html", "/console/icon.svg": "image/svg+xml"}
        assert reply.headers["Content-Type"] == expected.get(path, types.get(ending))
    own = {f"/console/{file.name}" for file in FOLDER.iterdir() if file.name.endswith(".js")}
    assert own <= paths.keys()
    vendored = {
        f"/console/vendor/{folder}/{name}"
        for folder, package in LOCK.items()
        for name in package["files"]
        if name != "LICENSE"
    }
    assert {path for path in paths if "/vendor/" in path} == vendored
    page = paths["/console"].decode()
    asked_early = set(re.findall(r'(?:src|modulepreload" href)="([^"]+)"', page))
    assert asked_early == {path for path in paths if path.endswith("js")}


def test_nothing_is_in_line_and_no_other_host_is_named(service: Service) -> None:
    """No script or style in the page, no attribute that is one, no address but this service's."""
    paths = loaded(service)
    page = paths["/console"].decode()
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", page) == []
    for path, body in paths.items():
        text = body.decode()
        if "/vendor/" not in path and not path.endswith(".svg"):
            assert re.findall(r"(?:https?:)?//[\w-]+\.\w+", text) == [], path
            assert "innerHTML" not in text
            assert len(text.splitlines()) < 400, path
        if "/vendor/" not in path:
            assert not re.search(r"\beval\(|new Function|dangerouslySetInnerHTML", text), path


def test_what_is_vendored_is_what_the_lock_says() -> None:
    """No file is changed, and none is there that the lock does not name."""
    folders = {folder.name for folder in VENDOR.iterdir() if folder.is_dir()}
    assert folders == LOCK.keys()
    for folder, package in LOCK.items():
        assert {file.name for file in (VENDOR / folder).iterdir()} == package["files"].keys()
        assert "LICENSE" in package["files"]
        for name, file in package["files"].items():
            assert sha512((VENDOR / folder / name).read_bytes()) == file["sha512"], name


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("npm"), reason="needs npm")
@pytest.mark.parametrize("folder", LOCK)
def test_what_is_vendored_is_what_npm_has(folder: str, tmp_path: Path) -> None:
    """The package that npm gives out has the lock's integrity and these files."""
    package = LOCK[folder]
    named = f"{package['package']}@{package['version']}"
    subprocess.run(["npm", "pack", "--silent", named], cwd=tmp_path, check=True, timeout=120)
    (archive,) = tmp_path.glob("*.tgz")
    assert f"sha512-{sha512(archive.read_bytes())}" == package["integrity"]
    with tarfile.open(archive) as packed:
        for name, file in package["files"].items():
            member = packed.extractfile(f"package/{file['path']}")
            assert member is not None
            assert member.read() == (VENDOR / folder / name).read_bytes()


@pytest.mark.parametrize(
    ("accept", "status", "location"),
    [
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", 302, "/console"),
        ("*/*", 404, None),
        ("application/json", 404, None),
    ],
)
def test_a_browser_is_led_to_it(
    service: Service, accept: str, status: int, location: str | None
) -> None:
    """Who is no browser is told that there is no such path, as before."""
    for path in ("/", "/console/"):
        reply = service.request("GET", path, headers={"Accept": accept})
        assert (reply.status, reply.headers.get("Location")) == (status, location)


# A browser's writes


@pytest.fixture(scope="module")
def own() -> Iterator[Service]:
    """A service whose log is this module's own."""
    with running_service() as running:
        yield running


def target(operation: Operation) -> str:
    path = operation.path.replace("{csId}", "written").replace("{tokenUid}", "written")
    return API + path.replace("{certificateHash}", HASH)


def stored(service: Service) -> list[int]:
    """What there is, as the lookups' statuses."""
    return [
        service.get(path).status
        for path in ("/cs/written/auth", "/token/written", f"/certificate/{HASH}")
    ]


@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.id)
@pytest.mark.parametrize(
    "by_browser",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "{url}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example", "X-Requested-By": ""},
    ],
    ids=str,
)
def test_every_write_of_a_browser_needs_the_header(
    own: Service, operation: Operation, by_browser: dict[str, str]
) -> None:
    """Without it nothing is done, whatever its body; no answer allows another origin anything."""
    own.post("/cs/written", {"securityProfile": 1, "base64SHA256Password": password_hash("x")})
    own.post("/token", TOKEN)
    own.post("/certificate", {"certificate": CERTIFICATE})
    before = own.get("/cs/written").json
    headers = {name: value.replace("{url}", own.url) for name, value in by_browser.items()}
    body = json.dumps(BODIES[operation.id]) if operation.request else None
    for kind in (JSON, LINES, {"Content-Type": "text/plain"}):
        reply = own.request(operation.method, target(operation), body, headers | kind)
        assert reply.status == 403
        assert "X-Requested-By" in reply.error
        assert "WWW-Authenticate" not in reply.headers  # other credentials would not help
        assert not [name for name in reply.headers if name.startswith("Access-Control")]
    line = own.events("write")[-1]
    assert (line["operation"], line["outcome"]) == (operation.id, "refused")
    assert own.get("/cs/written").json == before
    assert stored(own) == [200, 200, 200]


@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.id)
@pytest.mark.parametrize(
    "headers",
    [
        {},  # a program: Go's client, curl, aiohttp
        {"Sec-Fetch-Mode": "cors"},  # Node's fetch
        {"Sec-Fetch-Site": "same-origin", "Origin": "{url}", "X-Requested-By": "a page"},
        {"Origin": "http://behind-a-proxy", "X-Requested-By": "a page"},
    ],
    ids=str,
)
def test_programs_need_none_and_pages_send_it(
    own: Service, operation: Operation, headers: dict[str, str]
) -> None:
    own.post("/cs/written", {"securityProfile": 2})
    own.post("/token", TOKEN)
    own.post("/certificate", {"certificate": CERTIFICATE})
    body = json.dumps(BODIES[operation.id]) if operation.request else None
    sent = {name: value.replace("{url}", own.url) for name, value in headers.items()}
    kind = LINES if operation.takes_lines else JSON
    reply = own.request(operation.method, target(operation), body, kind | sent)
    assert reply.status == operation.status


@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.id)
def test_no_origin_is_allowed_to_ask_first(own: Service, operation: Operation) -> None:
    """A preflight is answered as any method that there is not."""
    asks = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": operation.method,
        "Access-Control-Request-Headers": "x-requested-by",
    }
    reply = own.request("OPTIONS", target(operation), headers=asks)
    assert reply.status == 405
    assert not [name for name in reply.headers if name.startswith("Access-Control")]


# What the console asks for


def test_who_asks_and_what_that_client_may_do(start_service: StartService) -> None:
    """Each sees its own; with no clients everyone may do all."""
    clients = {
        name: {"roles": roles, "secret_hashes": [hash_of(name.encode()).hex()]}
        for name, roles in (("ops", ["operator"]), ("both", ["gateway", "metrics"]))
    }
    service = start_service(auth__clients=json.dumps(clients))

    def said(secret: str) -> Any:
        headers = {"Authorization": f"Bearer {secret}"}
        return service.request("GET", f"{API}/client", headers=headers).json

    lookups = {"lookupChargeStationAuth", "lookupToken", "lookupCertificate"}
    every = {operation.id for operation in OPERATIONS}
    ops, both = said("ops"), said("both")
    assert (ops["client"], ops["roles"]) == ("ops", ["operator"])
    assert set(ops["operations"]) == every - lookups
    assert (both["client"], both["roles"]) == ("both", ["gateway", "metrics"])
    assert set(both["operations"]) == lookups | {"getClient"}
    assert service.request("GET", f"{API}/client").status == 401


def test_while_everyone_may_call_there_is_no_name(service: Service) -> None:
    said = service.get("/client").json
    assert said == {
        "roles": ["gateway", "metrics", "operator"],
        "operations": [operation.id for operation in OPERATIONS],
    }


class TestAudit:
    """The last writes, as the log tells them."""

    def test_it_has_what_the_log_has(self, own: Service) -> None:
        """Of those that were refused too, the latest first; and no more than was asked for."""
        own.post("/cs/told", {"securityProfile": 1, "base64SHA256Password": password_hash("x")})
        own.post("/cs/told", {"securityProfile": 9})
        own.request("PUT", f"{API}/cs/told/registrationStatus", '{"registrationStatus":"Pending"}')
        own.delete("/token/nobody")
        own.request("PUT", "/nowhere?secret=hunter2")
        lines = own.get("/audit?limit=5").json
        logged = own.events("write")[-5:]
        names = ["operation", "csId", "uid", "path", "status", "outcome", "reason"]
        assert [[line.get(name) for name in names] for line in lines] == [
            [line.get(name) for name in names] for line in reversed(logged)
        ]
        assert [line["requestId"] for line in lines] == [
            line["request_id"] for line in reversed(logged)
        ]
        assert lines[2]["registrationStatus"] == "Pending"
        times = [line["time"] for line in lines]
        assert times == sorted(times, reverse=True)
        shown = own.get("/audit?limit=1000").body.decode()
        assert password_hash("x") not in shown
        assert "hunter2" not in shown

    def test_it_is_bounded(self, own: Service) -> None:
        """A thousand are kept, the latest."""
        trail = AuditTrail()
        for number in range(1005):
            trail.add({"uid": number})
        assert [line["uid"] for line in trail.latest()] == list(range(1004, 4, -1))
        assert own.get("/audit?limit=1001").status == HTTPStatus.BAD_REQUEST


def test_tokens_are_found_by_how_their_uids_begin(own: Service) -> None:
    """In any case, across pages; other filters hold besides."""
    for number in range(30):
        own.post("/token", TOKEN | {"uid": f"PreFix-{number:02}", "valid": number % 2 == 0})
        own.post("/token", TOKEN | {"uid": f"other-{number:02}"})
    found = []
    path: str | None = "/token?uidPrefix=prefix-&limit=7&valid=true"
    while path:
        reply = own.get(path)
        found += [token["uid"] for token in reply.json]
        link = re.search(rf"<{API}([^>]+)>", reply.headers.get("Link", ""))
        path = link[1] if link else None
    assert sorted(set(found)) == [f"PreFix-{number:02}" for number in range(0, 30, 2)]
    assert own.get("/token?uidPrefix=").status == 400
    assert own.get("/token?uidPrefix=%C3%A4").status == 400
