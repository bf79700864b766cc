"""`/docs` in a real browser: it shows the operations, tries one out, and asks nobody else."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.service import HOST, Service

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # The browser's own curiosity reaches nobody either.
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}",
    "--window-size=1200,2000",
)
OPERATIONS = {
    "registerChargeStation": ("POST", "/cs/{csId}"),
    "lookupChargeStationAuth": ("GET", "/cs/{csId}/auth"),
    "setToken": ("POST", "/token"),
    "lookupToken": ("GET", "/token/{tokenUid}"),
    "uploadCertificate": ("POST", "/certificate"),
    "lookupCertificate": ("GET", "/certificate/{certificateHash}"),
    "deleteCertificate": ("DELETE", "/certificate/{certificateHash}"),
    "listChargeStations": ("GET", "/cs"),
    "getChargeStation": ("GET", "/cs/{csId}"),
    "deleteChargeStation": ("DELETE", "/cs/{csId}"),
    "setRegistrationStatus": ("PUT", "/cs/{csId}/registrationStatus"),
    "setChargeStationPassword": ("PUT", "/cs/{csId}/password"),
    "listTokens": ("GET", "/token"),
    "deleteToken": ("DELETE", "/token/{tokenUid}"),
    "listCertificates": ("GET", "/certificate"),
    "listRefusedStations": ("GET", "/refused"),
}
PATIENCE = 30  # seconds

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER),
    reason="needs Chromium and its driver (Debian: chromium chromium-driver)",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with its embedded store."""
    with Service(tmp_path_factory.mktemp("docs")) as running:
        yield running.ready()


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chrome]:
    """A Chromium with a profile of its own that keeps a log of its requests."""
    monkeypatch.setenv("SE_OFFLINE", "true")
    monkeypatch.setenv("SE_AVOID_STATS", "true")
    monkeypatch.setenv("NO_PROXY", f"{HOST},localhost")
    monkeypatch.setenv("no_proxy", f"{HOST},localhost")
    assert CHROMIUM
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Driver(executable_path=CHROMEDRIVER, env={**os.environ, "HOME": str(tmp_path)})
    chrome = Chrome(options=options, service=driver)
    try:
        yield chrome
    finally:
        chrome.quit()


def show(browser: Chrome, service: Service) -> dict[str, WebElement]:
    """Open the page and give the block of each operation when all of it is drawn."""
    browser.get("about:blank")
    sent(browser)  # what Chromium's own first page asked for
    browser.get(f"{service.url}/docs")
    WebDriverWait(browser, PATIENCE).until(
        lambda page: len(page.find_elements(By.CSS_SELECTOR, ".opblock")) >= len(OPERATIONS)
    )
    blocks = browser.find_elements(By.CSS_SELECTOR, ".opblock")
    return {(block.get_attribute("id") or "").rpartition("-")[2]: block for block in blocks}


def sent(browser: Chrome) -> list[str]:
    """The URL of every request that pages and their workers sent, web sockets too."""
    events: list[dict[str, Any]] = [
        json.loads(entry["message"])["message"]
        for entry in browser.get_log("performance")  # type: ignore[no-untyped-call]
    ]
    return [
        event["params"]["request"]["url"]
        if event["method"] == "Network.requestWillBeSent"
        else event["params"]["url"]
        for event in events
        if event["method"] in {"Network.requestWillBeSent", "Network.webSocketCreated"}
    ]


def elsewhere(urls: list[str]) -> list[str]:
    """Those of the URLs that leave the machine; `data:` is in the page itself."""
    return [url for url in urls if not url.startswith("data:") and urlsplit(url).hostname != HOST]


def complaints(browser: Chrome) -> list[Any]:
    """What stands in the console as an error or warning: violations of the CSP among them."""
    log = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry for entry in log if entry["level"] != "INFO"]


def test_it_shows_all_operations(browser: Chrome, service: Service) -> None:
    """Each with its method and path; nothing is asked of another machine."""
    blocks = show(browser, service)
    shown = {
        name: (
            block.find_element(By.CSS_SELECTOR, ".opblock-summary-method").text,
            block.find_element(By.CSS_SELECTOR, ".opblock-summary-path").text.replace("\u200b", ""),
        )
        for name, block in blocks.items()
    }
    assert shown == OPERATIONS
    assert all(block.is_displayed() for block in blocks.values())
    urls = sent(browser)
    assert f"{service.url}/docs/swagger-ui-bundle.js" in urls
    assert f"{service.url}/api/openapi.json" in urls
    assert elsewhere(urls) == []
    assert complaints(browser) == []


def test_an_operation_can_be_tried_out(browser: Chrome, service: Service) -> None:
    """A station registered on the page is registered: 201 there, 200 over HTTP."""
    block = show(browser, service)["registerChargeStation"]
    wait = WebDriverWait(browser, PATIENCE)
    block.find_element(By.CSS_SELECTOR, ".opblock-summary-control").click()
    station = wait.until(lambda _: block.find_element(By.CSS_SELECTOR, "tr[data-param-name] input"))
    # React puts back what `clear` takes away.
    select_all = Keys.CONTROL + "a" + Keys.NULL
    station.send_keys(select_all, "page/1 ä")
    body = block.find_element(By.CSS_SELECTOR, "textarea")
    body.send_keys(select_all, '{"securityProfile": 2, "invalidUsernameAllowed": true}')
    block.find_element(By.CSS_SELECTOR, "button.execute").click()
    status = wait.until(
        lambda _: block.find_element(By.CSS_SELECTOR, ".live-responses-table tr.response td")
    )
    assert status.text == "201"

    path = "/api/v0/cs/page%2F1%20%C3%A4"
    assert service.request("GET", f"{path}/auth").json == {
        "securityProfile": 2,
        "invalidUsernameAllowed": True,
    }
    urls = sent(browser)
    assert f"{service.url}{path}" in urls
    assert elsewhere(urls) == []
    assert complaints(browser) == []
