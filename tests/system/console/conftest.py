"""One service and one browser for all of the console's tests."""

from collections.abc import Iterator

import pytest
from redis import Redis
from selenium.webdriver import Chrome

from tests.support.browser import chromium, sent
from tests.support.console_page import ConsolePage
from tests.support.service import Service


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that everyone may call."""
    with Service(tmp_path_factory.mktemp("console")) as running:
        yield running.ready()


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser."""
    with chromium(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def page(service: Service, browser: Chrome) -> Iterator[ConsolePage]:
    """The console of a service without records."""
    with Redis(unix_socket_path=str(service.data_dir / "valkey.sock")) as redis:
        for key in redis.scan_iter("*:*"):
            redis.delete(key)
    browser.get("about:blank")
    sent(browser)
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    yield ConsolePage(browser, service.url)
    browser.get("about:blank")
