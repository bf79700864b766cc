"""The recipes of a CSMS that asks the registry: real stations knock, and the right ones are let in.

They need packages that nothing else here needs, so all but the first tests are slow ones
(`pytest -m slow`).
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from tests.conftest import API, Service, running_service
from tests.support.made import TOKEN
from tests.support.service import environment

RECIPES = Path(__file__).parents[2] / "deploy" / "recipes"
PAGE = (RECIPES / "README.md").read_text("utf-8")
SECRETS = {"csms": "secret-of-the-csms", "admin": "secret-of-the-operator"}
CLIENTS = {
    name: {"roles": [role], "secret_hashes": [hashlib.sha256(SECRETS[name].encode()).hexdigest()]}
    for name, role in (("csms", "gateway"), ("admin", "operator"))
}
PASSWORD = b"fiddlesticks_fishsticks"
ODD = bytes.fromhex("8f1c00a97be2453dd0619c2eb4f7103a5c88e96d")  # no UTF-8, and a NUL
STATIONS = {
    "right": PASSWORD,
    "blocked": PASSWORD,
    "odd": ODD,
    "utf8": "Grüße, 世界".encode(),
    "a/b c?d%2F": PASSWORD,
    "Säule 7": PASSWORD,
    "any-name": PASSWORD,
}
OUTDATED = 18  # of Node: older ones have no fetch


class Station(NamedTuple):
    """A station that knocks, and what must come of it."""

    path: str
    user: str
    password: bytes
    outcome: str


LET_IN = "BootNotification: Accepted"
KNOCKS = {
    "right": Station("right", "right", PASSWORD, LET_IN),
    "with a query": Station("right?model=x/y", "right", PASSWORD, LET_IN),
    "escaped": Station("%72ight", "right", PASSWORD, LET_IN),
    "odd bytes": Station("odd", "odd", ODD, LET_IN),
    "no ASCII": Station("utf8", "utf8", STATIONS["utf8"], LET_IN),
    "an odd id": Station(quote("a/b c?d%2F", safe=""), "a/b c?d%2F", PASSWORD, LET_IN),
    "an id that is not ASCII": Station(quote("Säule 7"), "Säule 7", PASSWORD, LET_IN),
    "wrong": Station("right", "right", PASSWORD + b"!", "refused: 401"),
    "wrong by a NUL": Station("odd", "odd", ODD.split(b"\0")[0], "refused: 401"),
    "other odd bytes": Station("odd", "odd", ODD[::-1], "refused: 401"),
    "another's name": Station("right", "odd", PASSWORD, "refused: 401"),
    "no password": Station("right", "right", b"", "refused: 401"),
    "of another profile": Station("certificate", "certificate", PASSWORD, "refused: 401"),
    "a password in the place of a certificate": Station("both", "both", PASSWORD, "refused: 401"),
    "unknown": Station("nobody", "nobody", PASSWORD, "refused: 404"),
    "blocked": Station("blocked", "blocked", PASSWORD, "refused: 404"),
    "a slash at the end": Station("right/", "right", PASSWORD, "refused: 404"),
}
CARDS = {"VALID": "Accepted", "valid": "Accepted", "LOST": "Blocked", "NOBODY": "Invalid"}


def encoded_hash(password: bytes) -> str:
    return b64encode(hashlib.sha256(password).digest()).decode()


def test_the_page_has_the_versions_that_are_pinned() -> None:
    python = dict(
        line.split("==") for line in (RECIPES / "requirements.txt").read_text().splitlines()
    )
    node = json.loads((RECIPES / "package.json").read_text())["dependencies"]
    for name, version in (python | node).items():
        assert re.fullmatch(r"\d+(\.\d+)+", version), name
        assert f"`{name}` {version}" in PAGE


def test_they_are_short() -> None:
    """Somebody is to read them whole, and to copy from them."""
    for name in ("csms.py", "csms.js", "station.py"):
        assert len((RECIPES / name).read_text("utf-8").splitlines()) < 100, name


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has what the recipes are pinned to."""
    home = tmp_path_factory.mktemp("python") / "venv"
    subprocess.run([sys.executable, "-m", "venv", home], check=True, timeout=120)
    install = [home / "bin" / "pip", "install", "-q", "-r", RECIPES / "requirements.txt"]
    subprocess.run([str(word) for word in install], check=True, timeout=300)
    return str(home / "bin" / "python")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe for Node in a folder with what it is pinned to."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    shown = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    if int(shown.stdout.removeprefix("v").split(".")[0]) < OUTDATED:
        pytest.skip(f"Node {shown.stdout.strip()} has no fetch: {OUTDATED} or newer is needed")
    home = tmp_path_factory.mktemp("node")
    for name in ("package.json", "csms.js"):
        shutil.copy(RECIPES / name, home)
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
    subprocess.run(install, cwd=home, check=True, timeout=300)
    return home


@pytest.fixture(scope="module")
def registry() -> Iterator[Service]:
    """A service that has the stations and cards, and wants credentials."""
    with running_service(auth__clients=json.dumps(CLIENTS)) as service:
        headers = {
            "Authorization": f"Bearer {SECRETS['admin']}",
            "Content-Type": "application/json",
        }

        def write(method: str, path: str, body: object) -> None:
            reply = service.request(method, f"{API}{path}", json.dumps(body), headers)
            assert reply.status in {201, 204}, reply

        for name, password in STATIONS.items():
            auth: dict[str, object] = {
                "securityProfile": 0,
                "base64SHA256Password": encoded_hash(password),
            }
            if name == "any-name":
                auth["invalidUsernameAllowed"] = True
            write("POST", f"/cs/{quote(name, safe='')}", auth)
        write("POST", "/cs/certificate", {"securityProfile": 2})
        both = {"securityProfile": 2, "base64SHA256Password": encoded_hash(PASSWORD)}
        write("POST", "/cs/both", both)
        status = {"registrationStatus": "Rejected"}
        write("PUT", "/cs/blocked/registrationStatus", status)
        for uid, valid in (("VALID", True), ("LOST", False)):
            write("POST", "/token", TOKEN | {"uid": uid, "valid": valid})
        yield service


@contextmanager
def running(words: list[str], settings: Mapping[str, str], cwd: Path) -> Iterator[str]:
    """Run a recipe; gives where stations connect to."""
    with subprocess.Popen(
        words,
        cwd=cwd,
        env=environment({"PORT": "0", **settings}),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            listening = re.fullmatch(r"listening on (\d+)\n", process.stdout.readline())
            assert listening, f"{words} ended with {process.wait(20)}"
            yield f"ws://127.0.0.1:{listening[1]}/ocpp/"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(20)


class Site(NamedTuple):
    """A running recipe, and the program that is a station."""

    url: str
    python: str

    def knock(self, station: Station, *cards: str, url: str = "") -> list[str]:
        """Have a station connect; what it says of that."""
        words = [self.python, str(RECIPES / "station.py"), (url or self.url) + station.path]
        done = subprocess.run(
            [*words, station.user, *cards],
            input=station.password,
            env=environment(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().splitlines()


def command(recipe: str, request: pytest.FixtureRequest) -> tuple[list[str], Path]:
    """How a recipe is started, and where."""
    if recipe == "csms.js":
        return ["node", recipe], request.getfixturevalue("node")
    return [request.getfixturevalue("python"), recipe], RECIPES


@pytest.fixture(scope="module", params=["csms.py", "csms.js"])
def site(request: pytest.FixtureRequest, registry: Service, python: str) -> Iterator[Site]:
    words, home = command(request.param, request)
    settings = {"REGISTRY": f"{registry.url}{API}", "REGISTRY_SECRET": SECRETS["csms"]}
    with running(words, settings, home) as url:
        yield Site(url, python)


@pytest.mark.slow
@pytest.mark.parametrize("station", KNOCKS.values(), ids=KNOCKS)
def test_who_is_let_in(site: Site, station: Station) -> None:
    """Whatever its id and its password are made of."""
    assert site.knock(station) == [station.outcome]


@pytest.mark.slow
def test_cards(site: Site) -> None:
    """The registry says which are valid."""
    said = site.knock(KNOCKS["right"], *CARDS)
    assert said == [LET_IN, *(f"Authorize {card}: {status}" for card, status in CARDS.items())]


@pytest.mark.slow
def test_a_station_that_may_have_any_name(site: Site, request: pytest.FixtureRequest) -> None:
    """`ocpp-rpc` compares the name itself, so that only the other recipe lets it in."""
    is_node = "csms.js" in request.node.name
    said = site.knock(Station("any-name", "admin", PASSWORD, ""))
    assert said == ["refused: 401" if is_node else LET_IN]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["csms.py", "csms.js"])
def test_a_registry_that_does_not_help(
    recipe: str, request: pytest.FixtureRequest, registry: Service, python: str
) -> None:
    """It is away, or wants other credentials: stations are to try again, and none is let in."""
    words, home = command(recipe, request)
    for settings in (
        {"REGISTRY": f"http://127.0.0.1:9{API}"},
        {"REGISTRY": f"{registry.url}{API}", "REGISTRY_SECRET": "wrong"},
    ):
        with running(words, settings, home) as url:
            assert Site(url, python).knock(KNOCKS["right"]) == ["refused: 503"]
            # the registry is not asked for an id that no station can have
            assert Site(url, python).knock(KNOCKS["a slash at the end"]) == ["refused: 404"]


@pytest.mark.slow
def test_the_commands_of_the_page(site: Site, python: str) -> None:
    """The station is called as the page says."""
    (line,) = re.findall(r"^```sh\n(.*)\n```$", PAGE, re.MULTILINE)
    before, _, called = line.partition(" | ")
    words = shlex.split(called)
    assert words[:2] == ["python", "station.py"]
    words[0] = python
    words[2] = words[2].replace("ws://127.0.0.1:9310/ocpp/", site.url)
    pipe = f"{before} | {shlex.join(words)}"
    done = subprocess.run(
        ["sh", "-c", pipe], cwd=RECIPES, env=os.environ, capture_output=True, timeout=60, check=True
    )
    assert done.stdout.decode().splitlines() == ["refused: 404"]
