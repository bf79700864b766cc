"""What an operator looks at: figures, who is turned away, the last writes; and the page itself."""

from selenium.webdriver.common.keys import Keys

from tests.conftest import password_hash
from tests.support.browser import elsewhere, needs_chromium, sent
from tests.support.console_page import ConsolePage
from tests.support.service import Service

API = "/api/v0"

pytestmark = needs_chromium


def test_a_browser_is_led_to_the_console(page: ConsolePage) -> None:
    """From /, to the overview; nothing is asked of another machine."""
    page.browser.get(page.url)
    page.until(lambda: page.text("h1") == "Overview", "the overview")
    assert page.browser.current_url == f"{page.url}/console"
    page.press("Stations")
    page.until(lambda: page.text("h1") == "Stations", "the stations")
    assert page.browser.title == "Stations · csms-redis"
    assert elsewhere(sent(page.browser)) == []
    assert page.faults() == []


def test_the_overview_shows_what_the_process_does(page: ConsolePage, service: Service) -> None:
    """Figures as /metrics has them, and lines that grow while the page is open."""
    body = {"securityProfile": 1, "base64SHA256Password": password_hash("x")}
    assert service.request("POST", f"{API}/cs/cs001", body).status == 201
    page.open("overview", "Overview")

    def card(title: str) -> str:
        values: dict[str, str] = page.run(
            "return Object.fromEntries([...document.querySelectorAll('.card')].map((each) =>"
            " [...each.children].map((part) => part.innerText)))"
        )
        return values.get(title, "")

    page.until(lambda: card("All records known") == "whole", "whole")
    assert card("Redis masters read from") == "1 of 1"
    assert card("Replicas that answered") == "1"

    def hits() -> float:
        for _ in range(20):
            service.request("GET", f"{API}/cs/cs001/auth")
        return float(card("Lookups a second") or 0)

    page.until(lambda: hits() > 0, "lookups")
    page.until(lambda: card("Answered from memory") == "100 %", "from memory")
    line = "return document.querySelector('.line.hit').points.numberOfItems"
    before = page.until(lambda: page.run(line), "a line")
    page.press("Audit")
    page.press("Overview")
    page.until(lambda: page.run(line) > before, "it goes on")
    rows = page.rows("Records in memory")
    assert {(row[0], row[1]) for row in rows} == {
        (kind, "whole") for kind in ("stations", "tokens", "certificates")
    }
    assert page.rows("Redis masters")[0][1:3] == ["read from", "master"]
    assert page.faults() == []


def test_who_is_turned_away_is_registered_or_allowed(page: ConsolePage, service: Service) -> None:
    """One step from the list; who is let in now is not in it any more."""
    service.request("POST", f"{API}/cs/blocked", {"securityProfile": 2})
    body = {"registrationStatus": "Rejected"}
    assert service.request("PUT", f"{API}/cs/blocked/registrationStatus", body).status == 204
    for station in ("new", "new", "new", "blocked", "%0A"):
        assert service.request("GET", f"{API}/cs/{station}/auth").status == 404
    table = "Stations that are turned away"
    page.open("refused", "Turned away")

    def listed() -> set[tuple[str, str]]:
        return {(row[0], row[1]) for row in page.rows(table)}

    page.until(lambda: ("new", "unknown") in listed(), "it is listed")
    assert {("new", "unknown"), ("blocked", "blocked"), ("%0A", "malformed")} <= listed()
    page.press("Register new")
    assert page.field("Station's id").get_attribute("value") == "new"
    page.press("Register it")
    password = str(page.field("Password").get_attribute("value"))
    page.press("I have it")
    page.until(lambda: ("new", "unknown") not in listed(), "it is not turned away any more")
    auth = service.request("GET", f"{API}/cs/new/auth").json
    assert auth == {"securityProfile": 1, "base64SHA256Password": password_hash(password)}

    page.press("Allow blocked")
    page.press("Allow it")
    page.until_told("blocked is Accepted.")
    page.until(lambda: ("blocked", "blocked") not in listed(), "nor is that")
    assert service.request("GET", f"{API}/cs/blocked/auth").status == 200
    assert page.faults() == []


def test_the_audit_shows_the_last_writes(page: ConsolePage, service: Service) -> None:
    """Those of the page and of others, the refused ones too, the latest first."""
    service.request("POST", f"{API}/cs/audited", {"securityProfile": 2})
    service.request("POST", f"{API}/cs/audited", {"securityProfile": 9})
    page.open("stations", "Stations")
    page.press("audited")
    page.press("Block")
    page.press("Block it")
    page.until(lambda: "Rejected" in page.dialog, "blocked")
    page.press("Close")
    page.press("Audit")
    rows = page.until(lambda: page.rows("The last writes"), "lines")
    assert [row[1:4] for row in rows[:3]] == [
        ["127.0.0.1", "setRegistrationStatus", "audited → Rejected"],
        ["127.0.0.1", "registerChargeStation", "audited"],
        ["127.0.0.1", "registerChargeStation", "audited"],
    ]
    assert [row[4].split()[0] for row in rows[:3]] == ["done", "refused", "done"]
    assert page.faults() == []


def test_the_keyboard_is_enough(page: ConsolePage, service: Service) -> None:
    """Each step shows where it is; Escape closes a dialog, and the focus is where it was."""
    service.request("POST", f"{API}/cs/keyed", {"securityProfile": 2})
    page.open("stations", "Stations")
    page.until_rows("Stations", "keyed")

    def focused() -> str:
        return str(page.run("return document.activeElement.innerText.trim()"))

    def outlined() -> bool:
        return bool(
            page.run("return getComputedStyle(document.activeElement).outlineStyle !== 'none'")
        )

    page.field("Begins with").send_keys("")
    passed = []
    for _ in range(20):
        page.browser.switch_to.active_element.send_keys(Keys.TAB)
        passed.append(focused())
        assert outlined(), passed
        if passed[-1] == "keyed":
            break
    assert passed[-1] == "keyed"
    assert "Register a station" in passed
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    page.until(lambda: "2: TLS, certificate" in page.dialog, "the station")
    page.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.until_closed()
    assert focused() == "keyed"


def test_it_fits_a_phone(page: ConsolePage, service: Service) -> None:
    """390 pixels wide: nothing of any view is beyond the edge."""
    service.request("POST", f"{API}/cs/{'x' * 48}", {"securityProfile": 2})
    service.request("GET", f"{API}/cs/{'y' * 48}/auth")
    narrow = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    try:
        for view, title in (
            ("overview", "Overview"),
            ("stations", "Stations"),
            ("tokens", "Tokens"),
            ("certificates", "Certificates"),
            ("refused", "Turned away"),
            ("audit", "Audit"),
        ):
            page.open(view, title)
            page.until(lambda: "…" not in page.text("main"), "it has read")
            wide = page.run("return [document.documentElement.scrollWidth, innerWidth]")
            assert wide == [390, 390], view
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_service_that_is_away_is_said_to_be(page: ConsolePage) -> None:
    """In words, where the table is; what was there stays."""
    page.open("refused", "Turned away")
    page.browser.execute_cdp_cmd("Network.enable", {})
    away = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", away)
    try:
        page.choose("First", "those that came last")
        page.until(lambda: "The service cannot be reached." in page.text(".problem"), "it says so")
    finally:
        back = away | {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
        page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", back)
    page.choose("First", "those that came most often")
    page.until(lambda: page.text(".problem") == "", "and when it is back")
