"""What a page links to is there: each file, each heading, each page that a message names."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(<?([^()\s>]+)>?\)")
_ID = re.compile(r'<\w+ id="([^"]+)"')
_HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)
_NAMED = re.compile(r"(?:see (\w[\w -]*) in )?\b((?:deploy|findings|tests)/[\w/-]+\.md)\b")


def files(*endings: str) -> list[Path]:
    """The project's files with these endings; not `.venv`, nor what others wrote."""
    found = []
    for folder in (ROOT, *(ROOT / name for name in ("csms_redis", "deploy", "findings", "tests"))):
        every = folder.glob("*") if folder == ROOT else folder.rglob("*")
        found += [path for path in every if path.suffix in endings and path.is_file()]
    return sorted(path for path in found if "swagger_ui" not in path.parts)


def anchors(text: str) -> set[str]:
    """What a page's headings are called by GitHub, and what it names itself."""
    seen: Counter[str] = Counter()
    found = set(_ID.findall(text))
    for heading in _HEADING.findall(_FENCED.sub("", text)):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def links(text: str) -> list[str]:
    """Where a page's links lead, but for those to other sites."""
    targets = _LINK.findall(_CODE.sub("`", _FENCED.sub("", text)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def broken(page: Path, targets: Iterable[str]) -> list[str]:
    """Those of a page's links that lead nowhere."""
    found = []
    for target in targets:
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text("utf-8"))):
            found.append(target)
    return found


PAGES = files(".md")


class TestReading:
    """How a page is read."""

    def test_links(self) -> None:
        """Not those in code, nor to other sites."""
        text = (
            "[a](x.md) ![b](<y.svg>) [`c`](../z#q) [d](https://example.org/w) `[e](v)`\n"
            "```sh\n[f](u)\n```\n[g](#here)\n"
        )
        assert links(text) == ["x.md", "y.svg", "../z#q", "#here"]

    def test_anchors(self) -> None:
        """Lower case, without punctuation; a second one has a number."""
        text = '# A `b`: c\n```sh\n# no\n```\n## [D](e) f-g\n## A b c\n<a id="h"></a>\n'
        assert anchors(text) == {"a-b-c", "d-f-g", "a-b-c-1", "h"}

    def test_what_leads_nowhere(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("# Here\n")
        (tmp_path / "other.md").write_text("## There\n")
        good = ["#here", "other.md", "other.md#there", "."]
        bad = ["#there", "another.md", "other.md#here", "../no/other.md"]
        assert broken(page, good + bad) == bad


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page(page: Path) -> None:
    assert broken(page, links(page.read_text("utf-8"))) == []


def test_the_index_leads_to_every_page_of_deploy() -> None:
    """It is what a reader opens first."""
    index = ROOT / "deploy" / "README.md"
    led_to = {
        (index.parent / target.partition("#")[0]).resolve() for target in links(index.read_text())
    }
    assert {page for page in PAGES if page.is_relative_to(index.parent)} - {index} <= led_to


def test_pages_named_in_text_are_there() -> None:
    """In the source, its messages, the settings and the manifests; `see X in` names a heading."""
    seen = 0
    for path in files(".py", ".toml", ".yaml", ".service", ".socket", ".conf", ".cfg", ".sh"):
        for title, name in _NAMED.findall(path.read_text("utf-8")):
            if path == Path(__file__):
                continue
            page = ROOT / name
            assert page.is_file(), f"{path}: {name}"
            if title:
                headings = _HEADING.findall(page.read_text("utf-8"))
                assert title in headings, f"{path}: {name} has no heading {title}"
            seen += 1
    assert seen > 20
