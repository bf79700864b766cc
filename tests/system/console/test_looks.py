"""How the page looks, and whether everyone can use it: pictures, and what axe-core finds."""

import datetime as dt
import subprocess
import tarfile
from base64 import b64decode, b64encode
from collections.abc import Iterator
from hashlib import sha512
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tests.conftest import password_hash
from tests.support.browser import needs_chromium
from tests.support.console_page import ConsolePage
from tests.support.listed import signed
from tests.support.made import TOKEN
from tests.support.service import Service

API = "/api/v0"
AXE = "axe-core@4.14.1"
AXE_INTEGRITY = (
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
VIEWS = {
    "overview": "Overview",
    "stations": "Stations",
    "tokens": "Tokens",
    "certificates": "Certificates",
    "refused": "Turned away",
    "audit": "Audit",
}
DIALOGS = {
    "station": ("stations", ["depot-north-0001"]),
    "register": ("stations", ["Register a station"]),
    "password": ("stations", ["depot-north-0001", "New password", "Make it"]),
    "block": ("stations", ["depot-north-0002", "Block"]),
    "add-token": ("tokens", ["Add a token"]),
    "upload": ("certificates", ["Upload a certificate"]),
}

# some lookups, so that there is something to draw; the points of a line
_LOOK_UP_AND_COUNT = """
for (let number = 0; number < 3; number++) fetch('/api/v0/cs/depot-north-0001/auth');
fetch('/api/v0/cs/nobody/auth');
return document.querySelector('.line.hit')?.points.numberOfItems;
"""

pytestmark = [needs_chromium, pytest.mark.slow]


@pytest.fixture
def filled(page: ConsolePage, service: Service) -> ConsolePage:
    """Some of everything."""
    for number in range(40):
        name = f"depot-{'north' if number < 25 else 'south'}-{number:04}"
        body: dict[str, Any] = {"securityProfile": number % 3}
        body |= {"base64SHA256Password": password_hash("x")} if number % 3 < 2 else {}
        service.request("POST", f"{API}/cs/{name}", body)
        if status := {1: "Accepted", 2: "Accepted", 7: "Rejected"}.get(number % 9):
            said = {"registrationStatus": status}
            service.request("PUT", f"{API}/cs/{name}/registrationStatus", said)
        service.request("GET", f"{API}/cs/{name}/auth")
        service.request("POST", f"{API}/token", TOKEN | {"uid": f"04A1B2C3D4{number:02}80"})
    service.request("POST", f"{API}/cs/depot-north-0001", {"securityProfile": 9})
    for station in ("CP-unknown", "CP-unknown", "4711", "x" * 48, "depot-north-0007", "%0A"):
        service.request("GET", f"{API}/cs/{station}/auth")
    today = dt.datetime.now(dt.UTC)
    for days in (-3, 9, 45, 80):
        pem, _, _ = signed(f"station-{days}.example", today + dt.timedelta(days=days, hours=1))
        service.request("POST", f"{API}/certificate", {"certificate": pem})
    return page


def show(page: ConsolePage, size: str, scheme: str) -> None:
    """Have a screen of this size, light or dark."""
    width, height = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def open_view(page: ConsolePage, view: str) -> None:
    page.open(view, VIEWS[view])
    page.until(lambda: "…" not in page.text("main"), "it has read")
    if view == "overview":
        page.until(lambda: (page.run(_LOOK_UP_AND_COUNT) or 0) >= 3, "figures")


def places(page: ConsolePage) -> Iterator[str]:
    """Each view and dialog in turn, by its name."""
    for view in VIEWS:
        open_view(page, view)
        yield view
    for name, (view, buttons) in DIALOGS.items():
        open_view(page, view)
        for button in buttons:
            page.press(button)
        page.until(lambda: page.dialog and "Working" not in page.dialog, "the dialog")
        yield name


@pytest.fixture
def normal(page: ConsolePage) -> Iterator[None]:
    yield
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.usefixtures("normal")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_pictures(filled: ConsolePage, tmp_path: Path, size: str, scheme: str) -> None:
    """One of each view and dialog, for people to look at; nothing is wider than the screen."""
    show(filled, size, scheme)
    for name in places(filled):
        data = filled.browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
        (tmp_path / f"{size}-{scheme}-{name}.png").write_bytes(b64decode(data))
        assert filled.run("return document.documentElement.scrollWidth <= innerWidth"), name
    print(f"pictures in {tmp_path}")  # noqa: T201 what they are made for


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's script, as npm has it."""
    if not which("npm"):
        pytest.skip("needs npm")
    home = tmp_path_factory.mktemp("axe")
    subprocess.run(["npm", "pack", "--silent", AXE], cwd=home, check=True, timeout=120)
    (archive,) = home.glob("*.tgz")
    assert b64encode(sha512(archive.read_bytes()).digest()).decode() == AXE_INTEGRITY
    with tarfile.open(archive) as packed:
        script = packed.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


@pytest.mark.usefixtures("normal")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing(filled: ConsolePage, axe: str, size: str, scheme: str) -> None:
    """In no view and no dialog, by WCAG 2.2 AA and axe's own practices."""
    show(filled, size, scheme)
    found = {}
    for name in places(filled):
        filled.run(axe)
        violations = filled.run("return axe.run().then(({ violations }) => violations)")
        found[name] = [
            (each["id"], each["impact"], [node["html"][:200] for node in each["nodes"]])
            for each in violations
        ]
    assert {name: each for name, each in found.items() if each} == {}
