"""What an operator does with stations, tokens and certificates on the page."""

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from selenium.webdriver.common.keys import Keys

from tests.conftest import password_hash
from tests.support.browser import elsewhere, needs_chromium, sent
from tests.support.console_page import ConsolePage
from tests.support.listed import add_all, signed
from tests.support.made import TOKEN
from tests.support.service import Service

API = "/api/v0"
PASSWORD = re.compile(r"[2-9A-HJ-NP-Za-km-z]{32}")

pytestmark = needs_chromium


@pytest.fixture
def fleet(page: ConsolePage, service: Service) -> ConsolePage:
    """Six stations."""
    for number in range(6):
        body = {"securityProfile": number % 3, "base64SHA256Password": password_hash("x")}
        assert service.request("POST", f"{API}/cs/depot-{number}", body).status == 201
    return page


def hash_of(service: Service, station: str) -> Any:
    return service.request("GET", f"{API}/cs/{station}/auth").json.get("base64SHA256Password")


def status_of(service: Service, station: str) -> Any:
    reply = service.request("GET", f"{API}/cs/{station}")
    return reply.json["registrationStatus"] if reply.status == 200 else None


def written(service: Service) -> list[tuple[Any, ...]]:
    """The audit lines: operation, station, outcome."""
    return [
        (line["operation"], line.get("csId"), line["outcome"])
        for line in service.log
        if line["event"] == "write"
    ]


def take_password(page: ConsolePage) -> str:
    """The password that the dialog shows; the dialog is closed."""
    password = str(page.field("Password").get_attribute("value"))
    assert PASSWORD.fullmatch(password)
    page.press("I have it")
    page.until(lambda: "I have it" not in page.dialog, "it is closed")
    assert password not in str(page.run("return document.documentElement.outerHTML"))
    return password


def test_stations_are_found_as_one_types(fleet: ConsolePage) -> None:
    """By how their ids begin, by status, by profile; the address keeps what is asked for."""
    fleet.open("stations", "Stations")
    fleet.until_rows("Stations", *(f"depot-{number}" for number in range(6)))
    fleet.fill("Begins with", "depot-4")
    fleet.until_rows("Stations", "depot-4")
    assert fleet.rows("Stations")[0][1:3] == ["Pending", "1: TLS, password"]
    fleet.fill("Begins with", "depot-")
    fleet.choose("Security profile", "2: TLS, certificate")
    fleet.until_rows("Stations", "depot-2", "depot-5")
    fleet.browser.refresh()
    fleet.until_rows("Stations", "depot-2", "depot-5")
    fleet.choose("Status", "Rejected")
    fleet.until(lambda: "There is no such station." in fleet.text(".foot"), "none")
    assert elsewhere(sent(fleet.browser)) == []
    assert fleet.faults() == []


def test_a_long_list_is_shown_page_by_page(page: ConsolePage, service: Service) -> None:
    records = {f"cs:many-{number:03}": {"securityProfile": 2} for number in range(120)}
    with Redis(unix_socket_path=str(service.data_dir / "valkey.sock")) as redis:
        add_all(redis, records)
    page.open("stations", "Stations")
    page.until(lambda: "there may be more" in page.text(".foot"), "the first page")
    assert 50 <= len(page.rows("Stations")) < 120
    while page.has("Show more"):
        page.press("Show more")
        page.until(lambda: "Reading" not in page.text(".foot"), "the next page")
    assert page.first_cells("Stations") == {f"many-{number:03}" for number in range(120)}
    assert len(page.rows("Stations")) == 120


def test_a_station_from_its_registration_to_its_removal(
    page: ConsolePage, service: Service
) -> None:
    """Its password is shown once, and only its hash is stored; each step is in the audit."""
    before = len(written(service))
    page.open("stations", "Stations")
    page.press("Register a station")
    page.fill("Station's id", "north/1 ä")
    page.press("Register it")
    first = take_password(page)
    path = "north%2F1%20%C3%A4"
    assert hash_of(service, path) == password_hash(first)
    page.until_told("north/1 ä is registered.")

    page.press("north/1 ä")
    page.press("New password")
    page.press("Make it")
    second = take_password(page)
    assert second != first
    assert hash_of(service, path) == password_hash(second)

    page.press("Block")
    assert status_of(service, path) == "Pending"  # it is only asked for
    page.press("Block it")
    page.until(lambda: "Rejected" in page.dialog, "blocked")
    assert status_of(service, path) == "Rejected"
    assert not page.has("Block")
    page.press("Allow")
    page.press("Allow it")
    page.until(lambda: "Accepted" in page.dialog, "allowed")
    page.press("Remove")
    page.press("Remove it")
    page.until_closed()
    page.until_told("north/1 ä is removed.")
    page.until_rows("Stations")
    assert status_of(service, path) is None
    assert written(service)[before:] == [
        (operation, "north/1 ä", "done")
        for operation in (
            "registerChargeStation",
            "setChargeStationPassword",
            "setRegistrationStatus",
            "setRegistrationStatus",
            "deleteChargeStation",
        )
    ]
    assert first not in service.log_text
    assert second not in service.log_text
    assert page.faults() == []


def test_a_station_that_is_there_is_not_registered_over(
    fleet: ConsolePage, service: Service
) -> None:
    before = hash_of(service, "depot-1")
    fleet.open("stations", "Stations")
    fleet.press("Register a station")
    fleet.fill("Station's id", "depot-1")
    fleet.press("Register it")
    fleet.until(lambda: "depot-1 is registered already" in fleet.dialog, "refused")
    assert hash_of(service, "depot-1") == before


def test_a_refusal_is_shown_with_its_reason(page: ConsolePage) -> None:
    """What the service says, in the dialog, which stays with what was typed."""
    page.open("stations", "Stations")
    page.press("Register a station")
    page.fill("Station's id", "a+b")
    page.press("Register it")
    page.until(lambda: "no MQTT topic may have" in page.dialog, "refused")
    assert page.field("Station's id").get_attribute("value") == "a+b"
    page.press("Cancel")
    page.until_closed()


def test_many_stations_at_once(fleet: ConsolePage, service: Service) -> None:
    """Those that are chosen, and no other."""
    fleet.open("stations", "Stations")
    fleet.until_rows("Stations", *(f"depot-{number}" for number in range(6)))
    for number in (1, 3, 5):
        fleet.tick(f"Choose depot-{number}")
    fleet.press("Block")
    assert "depot-3" in fleet.dialog
    fleet.press("Block 3 stations")
    fleet.until_told("3 stations blocked.")
    blocked = [status_of(service, f"depot-{number}") == "Rejected" for number in range(6)]
    assert blocked == [False, True, False, True, False, True]
    fleet.until(lambda: [row[1] for row in fleet.rows("Stations")].count("Rejected") == 3, "shown")

    fleet.choose("Status", "Rejected")
    fleet.until_rows("Stations", "depot-1", "depot-3", "depot-5")
    fleet.tick("Choose all that are shown")
    fleet.press("Allow")
    fleet.press("Allow 3 stations")
    fleet.until_told("3 stations allowed.")
    assert [status_of(service, f"depot-{number}") for number in (1, 3, 5)] == ["Accepted"] * 3

    fleet.choose("Status", "Pending")
    fleet.until_rows("Stations", "depot-0", "depot-2", "depot-4")
    fleet.tick("Choose all that are shown")
    fleet.press("Remove")
    fleet.press("Remove 3 stations")
    fleet.until_told("3 stations removed.")
    assert [status_of(service, f"depot-{number}") for number in range(6)] == [
        *(None, "Accepted"),
        *(None, "Accepted"),
        *(None, "Accepted"),
    ]
    assert fleet.faults() == []


def test_what_is_chosen_and_gone_is_told(fleet: ConsolePage, service: Service) -> None:
    """The others are done."""
    fleet.open("stations", "Stations")
    for number in (0, 1):
        fleet.tick(f"Choose depot-{number}")
    service.request("DELETE", f"{API}/cs/depot-1")
    fleet.press("Block")
    fleet.press("Block 2 stations")
    fleet.until(lambda: "1 station blocked. 1 not: depot-1: " in fleet.dialog, "what failed")
    assert status_of(service, "depot-0") == "Rejected"
    fleet.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    fleet.until_closed()
    fleet.until(lambda: "depot-1" not in fleet.first_cells("Stations"), "it is gone")


def test_a_token_from_its_addition_to_its_removal(page: ConsolePage, service: Service) -> None:
    service.request("POST", f"{API}/token", TOKEN | {"uid": "other"})
    page.open("tokens", "Tokens")
    page.until_rows("Tokens", "other")
    page.press("Add a token")
    for label, text in (
        ("Uid", "DeadBeef"),
        ("Contract id (eMAID)", "GB-TWK-012345678"),
        ("Issuer", "Thoughtworks"),
        ("Country code", "GB"),
        ("Party id", "TWK"),
        ("Group id (optional)", "fleet"),
    ):
        page.fill(label, text)
    page.choose("Cache mode", "ALLOWED")
    page.press("Store it")
    page.until_told("Token DeadBeef is stored.")
    token = service.request("GET", f"{API}/token/deadbeef").json
    token.pop("lastUpdated")
    assert token == TOKEN | {"uid": "DeadBeef", "groupId": "fleet", "cacheMode": "ALLOWED"}

    page.fill("Uid begins with", "dead")
    page.until_rows("Tokens", "DeadBeef")
    page.press("DeadBeef")
    page.press("Change")
    page.field("Valid").click()
    page.press("Store it")
    page.until(lambda: page.rows("Tokens")[0][1] == "not valid", "changed")
    changed = service.request("GET", f"{API}/token/deadbeef").json
    changed.pop("lastUpdated")
    assert changed == token | {"valid": False}

    page.press("DeadBeef")
    page.press("Remove")
    page.press("Remove it")
    page.until_told("Token DeadBeef is removed.")
    assert service.request("GET", f"{API}/token/deadbeef").status == 404
    assert service.request("GET", f"{API}/token/other").status == 200
    assert page.faults() == []


def test_certificates_that_run_out_first(
    page: ConsolePage, service: Service, tmp_path: Path
) -> None:
    """Uploaded as a file, found by their end, shown, removed."""
    today = dt.datetime.now(dt.UTC)
    pems = {
        days: signed(f"in {days} days", today + dt.timedelta(days=days, hours=1))[0]
        for days in (-3, 9, 60, 500)
    }
    for days in (500, 9, -3):
        body = {"certificate": pems[days]}
        assert service.request("POST", f"{API}/certificate", body).status == 201
    page.open("certificates", "Certificates")
    page.press("Upload a certificate")
    file = tmp_path / "station.pem"
    file.write_text(pems[60], "ascii")
    page.field("A file (PEM)").send_keys(str(file))
    page.until(lambda: page.field("or its text").get_attribute("value") == pems[60], "read")
    page.press("Upload it")
    page.until_told("The certificate is stored.")

    def shown() -> list[str]:
        return [row[1] for row in page.rows("Certificates, those that run out first")]

    def names(*days: int) -> list[str]:
        return [f"CN=in {day} days,C=DE" for day in days]

    page.until(lambda: shown() == names(-3, 9, 60), "those of 90 days")
    ends = [row[0] for row in page.rows("Certificates, those that run out first")]
    assert ends[0].endswith("has run out")
    assert ends[1].endswith("9 days")
    page.choose("Certificates that", "all")
    page.until(lambda: shown() == names(-3, 9, 60, 500), "all")
    page.press("CN=in -3 days,C=DE")
    assert "CN=authority" in page.dialog
    page.press("Remove")
    page.press("Remove it")
    page.until_told("The certificate is removed.")
    page.until(lambda: shown() == names(9, 60, 500), "the others")
    assert page.faults() == []
