"""A real browser: Debian's Chromium, without a window, that reaches nothing but this machine."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service as Driver

from tests.support.service import HOST

PATIENCE = 10  # seconds

_CHROMIUM = shutil.which("chromium")
_CHROMEDRIVER = shutil.which("chromedriver")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # any name of .test is this machine, and no other is known
    f"--host-resolver-rules=MAP *.test {HOST}, MAP * ~NOTFOUND, EXCLUDE {HOST}, EXCLUDE localhost",
    "--window-size=1200,2000",
)
_OWN = {  # selenium's own curiosity reaches nobody either
    "SE_OFFLINE": "true",
    "SE_AVOID_STATS": "true",
    "NO_PROXY": f"{HOST},localhost",
    "no_proxy": f"{HOST},localhost",
}

needs_chromium = pytest.mark.skipif(
    not (_CHROMIUM and _CHROMEDRIVER),
    reason="needs Chromium and its driver (Debian: chromium chromium-driver)",
)


@contextmanager
def chromium(home: Path) -> Iterator[Chrome]:
    """A Chromium with a profile of its own in `home`, that keeps a log of its requests."""
    assert _CHROMIUM
    options = ChromeOptions()
    options.binary_location = _CHROMIUM
    for flag in (*_FLAGS, f"--user-data-dir={home / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Driver(executable_path=_CHROMEDRIVER, env={**os.environ, "HOME": str(home)})
    with pytest.MonkeyPatch.context() as environment:
        for name, value in _OWN.items():
            environment.setenv(name, value)
        chrome = Chrome(options=options, service=driver)
        try:
            yield chrome
        finally:
            chrome.quit()


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
