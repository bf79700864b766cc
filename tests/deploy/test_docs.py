"""The documentation's site: it is built, strictly, and its references are those of the code."""

import re
import subprocess
import sys
import sysconfig
from html.parser import HTMLParser
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest

from csms_redis.settings import Settings
from tests.support.service import environment
from tests.test_links import files

ROOT = Path(__file__).parents[2]
LONG = 300  # seconds for what installs packages


def load(name: str) -> ModuleType:
    """A module of `docs/`, which is no package."""
    spec = spec_from_file_location(name, ROOT / f"docs/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference, site = load("reference"), load("build")


class TestSettings:
    """The reference of settings."""

    TEXT = reference.settings(ROOT)

    def test_has_each_with_what_it_is_for(self) -> None:
        rows = dict(re.findall(r"(?m)^\| `\w+`<br>`(\w+)` \| (.*?) \|", self.TEXT))
        names = {
            f"CSMS_{section}__{key}".replace(".", "__").upper()
            for section, model in reference.sections(Settings)
            for key, field in model.model_fields.items()
            if not reference.is_section(field.default)
        }
        assert set(rows) == names
        assert len(names) > 40
        assert [name for name, text in rows.items() if not text] == []

    @pytest.mark.parametrize(
        ("name", "cells"),
        [
            ("server.port", "0 takes a free one | `9410` | integer, from 0 to 65,535 |"),
            ("api.any_station_id", "let stations have ids with + or #, "),
            ("server.tls.key_file", "its key, unless it is in the same file |  | text |"),
            ("redis.url", "or redis://user:password@host:6379/0, "),
        ],
    )
    def test_a_row(self, name: str, cells: str) -> None:
        key = name.rpartition(".")[2]
        variable = f"CSMS_{name.replace('.', '__')}".upper()
        start = f"| `{key}`<br>`{variable}` | {cells}"
        assert [line for line in self.TEXT.splitlines() if line.startswith(start)]

    def test_enumerations(self) -> None:
        assert "| `auto`, `json`, `text` |" in self.TEXT

    def test_networks(self) -> None:
        assert "a list: an IPv4 network or an IPv6 network" in self.TEXT


class TestPages:
    """Which pages the site has."""

    def test_all_that_there_are(self) -> None:
        """But those of test data, and of what others wrote that is in the package."""
        written = {str(page.relative_to(ROOT)) for page in files(".md")}
        written |= {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
        placed = [name for names in site.pages().values() for name in names]
        assert len(placed) == len(set(placed))
        ours = {name for name in written if "/data/" not in name}
        assert {name for name in ours if not name.startswith("csms_redis/")} <= set(placed)

    @pytest.mark.parametrize(
        ("written", "shown"),
        [
            ("[a](install.md#rights)", "[a](install.md#rights)"),
            ("[k](kubernetes) and [n](nginx.conf)", "k and [n](nginx.conf)"),
            ("[x](https://example.org/)", "[x](https://example.org/)"),
            ("```\n[k](kubernetes)\n```", "```\n[k](kubernetes)\n```"),
        ],
    )
    def test_links(self, tmp_path: Path, written: str, shown: str) -> None:
        page = Path("deploy/README.md")
        assert site.linked(written, page, ["deploy/install.md"], tmp_path) == shown

    @pytest.mark.parametrize("name", ["nginx.conf", "backup.sh"])
    def test_files_that_are_linked_to_come_along(self, tmp_path: Path, name: str) -> None:
        """One that is a link itself, too."""
        site.linked(f"[n]({name})", Path("deploy/README.md"), [], tmp_path)
        assert (tmp_path / "deploy" / name).read_bytes() == (ROOT / "deploy" / name).read_bytes()


class Page(HTMLParser):
    """What a page links to and loads, its ids and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.ids.add(found["id"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag in {"script", "img"} and found.get("src"):
            self.loads.append(found["src"])
        if tag == "link" and found.get("rel") in {"stylesheet", "icon"}:
            self.loads.append(found["href"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with the locked packages in an environment that is thrown away."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, "-m", "venv", folder / "e"], timeout=60, check=True)
    programs = folder / "e/bin"
    lock = ROOT / "docs/requirements.lock"
    subprocess.run(
        [programs / "pip", "install", "--quiet", "--require-hashes", "-r", lock],
        timeout=LONG,
        check=True,
    )
    done = subprocess.run(
        [programs / "python", ROOT / "docs/build.py", folder / "site"],
        cwd=folder,
        env=environment({"PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}"}),
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.mark.slow
class TestSite:
    """What a browser finds."""

    def test_each_page_is_there(self, built: Path) -> None:
        for names in site.pages().values():
            for name in names:
                page = Path(name.replace("README.md", "index.md")).with_suffix(".html")
                assert (built / page).is_file(), page

    def test_no_link_leads_nowhere_and_nothing_is_loaded_from_elsewhere(self, built: Path) -> None:
        pages = {path: Page(path.read_text("utf-8")) for path in built.rglob("*.html")}
        wrong = []
        for path, page in pages.items():
            if path.name == "404.html":
                continue
            for target in [*page.links, *page.loads]:
                parts = urlsplit(target)
                if parts.scheme or parts.netloc:
                    if target in page.loads:
                        wrong.append((path.name, target))
                    continue
                file = (path.parent / parts.path).resolve() if parts.path else path
                file = file / "index.html" if file.is_dir() else file
                if not file.is_file() or (
                    parts.fragment and file in pages and parts.fragment not in pages[file].ids
                ):
                    wrong.append((path.name, target))
        assert wrong == []

    def test_the_metrics_are_those_of_a_service(self, built: Path) -> None:
        text = (built / "docs/metrics.html").read_text("utf-8")
        for name in ("csms_lookups_total", "csms_redis_up", "csms_writes_total"):
            assert f"<code>{name}</code>" in text

    def test_the_api_is_shown(self, built: Path) -> None:
        text = (built / "docs/api.html").read_text("utf-8")
        assert "<code>GET /api/v0/cs/{csId}/auth</code>" in text
        assert (built / "docs/swagger-ui-bundle.js").is_file()
        assert (built / "docs/openapi.json").is_file()
