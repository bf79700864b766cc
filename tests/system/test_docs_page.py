"""`/docs` in a real browser: it shows the operations, tries one out, and asks nobody else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from csms_redis.contract.operations import OPERATIONS
from tests.support.browser import (
    PATIENCE,
    chromium,
    complaints,
    elsewhere,
    needs_chromium,
    sent,
)
from tests.support.service import Service

SHOWN = {operation.id: (operation.method, operation.path) for operation in OPERATIONS}

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with its embedded store."""
    with Service(tmp_path_factory.mktemp("docs")) as running:
        yield running.ready()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A Chromium of the test's own."""
    with chromium(tmp_path) as running:
        yield running


def show(browser: Chrome, service: Service) -> dict[str, WebElement]:
    """Open the page and give the block of each operation when all of it is drawn."""
    browser.get("about:blank")
    sent(browser)  # what Chromium's own first page asked for
    browser.get(f"{service.url}/docs")
    WebDriverWait(browser, PATIENCE).until(
        lambda page: len(page.find_elements(By.CSS_SELECTOR, ".opblock")) >= len(SHOWN)
    )
    blocks = browser.find_elements(By.CSS_SELECTOR, ".opblock")
    return {(block.get_attribute("id") or "").rpartition("-")[2]: block for block in blocks}


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
    assert shown == SHOWN
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
