"""Make the documentation's site: `python docs/build.py FOLDER`.

The pages are taken from where their subject is, and keep their places in the site, so that links
between them hold in both. The references are made of the code.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))

import reference  # noqa: E402 it lies beside this file, which is no package

HOME = "README.md"
_LINK = re.compile(r"\[([^\]]*)\]\(([^()\s]+)\)")
_FENCED = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)

Nav = list["dict[str, str | Nav]"]

MADE = {
    "docs/settings.md": reference.settings,
    "docs/metrics.md": reference.metrics,
    "docs/api.md": reference.api,
}
SECTIONS: list[tuple[str, list[str]]] = [
    ("Start", [HOME, "docs/fits-in.md"]),
    (
        "Operate",
        ["deploy/README.md", *(f"deploy/{name}.md" for name in ("install", "import", "operate"))],
    ),
    ("Reference", [*MADE, "CHANGELOG.md"]),
    ("How it is built", ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"]),
    ("Benchmarks", ["tests/bench/README.md", "deploy/measured/sizes.md"]),
    ("Findings", ["findings/README.md"]),
]
REST = {"deploy": "Operate", "docs": "How it is built", "tests": "How it is built"}


def pages() -> dict[str, list[str]]:
    """The pages of each section: those that are named above, then each other that there is."""
    found = {title: list(names) for title, names in SECTIONS}
    named = {name for names in found.values() for name in names}
    for folder, section in REST.items():
        for page in sorted((ROOT / folder).rglob("*.md")):
            name = str(page.relative_to(ROOT))
            if name not in named and "/data/" not in name:
                found[section].append(name)
    return found


def assemble(folder: Path) -> list[str]:
    """Put all pages, and the files that they link to, into a folder.

    Returns:
        the pages.
    """
    names = [name for section in pages().values() for name in section]
    for name in names:
        make = MADE.get(name)
        text = (ROOT / name).read_text("utf-8") if make is None else make(folder)
        place(folder, name, linked(text, Path(name), names, folder))
    return names


def place(folder: Path, name: str, text: str) -> None:
    """Write a page."""
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")


def linked(text: str, page: Path, names: Sequence[str], folder: Path) -> str:
    """A page whose links hold in the site; files that it links to are copied beside it."""

    def one(found: re.Match[str]) -> str:
        shown, target = found[1], found[2]
        path, _, _ = target.partition("#")
        if not path or ":" in path:
            return found[0]
        # not resolved: a file that is a link itself is wanted where the link is
        wanted = Path(os.path.normpath(ROOT / page.parent / path)).relative_to(ROOT)
        if str(wanted) in names:
            return found[0]
        if not (ROOT / wanted).is_file():
            return shown  # a folder
        (folder / wanted).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / wanted, folder / wanted)
        return found[0]

    pieces = _FENCED.split(text)
    pieces[::2] = [_LINK.sub(one, piece) for piece in pieces[::2]]
    return "".join(pieces)


def navigation(folder: Path) -> Nav:
    """The menu: each section with its pages' titles."""
    return [
        {section: [{title(folder / name): name} for name in names]}
        for section, names in pages().items()
    ]


def title(page: Path) -> str:
    """A page's heading.

    Raises:
        ValueError: it has none.
    """
    found = _TITLE.search(page.read_text("utf-8"))
    if found is None:
        raise ValueError(f"{page} has no heading")
    return found[1].replace("`", "")


def build(target: Path) -> None:
    """Make the site.

    Raises:
        subprocess.CalledProcessError: a link leads nowhere, or the like; it was printed.
    """
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        assemble(work / "pages")
        config = (ROOT / "docs/mkdocs.yml").read_text("utf-8")
        menu = json.dumps(navigation(work / "pages"), ensure_ascii=False)
        (work / "mkdocs.yml").write_text(f"{config}nav: {menu}\n", "utf-8")
        program = Path(sys.executable).with_name("zensical")
        subprocess.run([program, "build", "--strict"], cwd=work, check=True)  # noqa: S603 it is pinned
        shutil.copytree(work / "site", target, dirs_exist_ok=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the site in the folder that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the site is put")
    given = parser.parse_args(arguments)
    try:
        build(given.folder)
    except subprocess.CalledProcessError as failed:
        sys.exit(failed.returncode)


if __name__ == "__main__":
    main()
