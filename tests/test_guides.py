"""What the pages for those who work on the code name is there: files, names, settings, commands."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path

import click
import pytest

from csms_redis.settings import Settings
from tests.bench.cli import main as bench

ROOT = Path(__file__).parent.parent
PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")
SETTINGS = {
    f"{section}.{name}"
    for section, field in Settings.model_fields.items()
    for name in type(field.default).model_fields
}
_FILE = re.compile(r"[\w./*-]+\.(?:py|md|toml|yaml|json|svg|lock|sh)|(?:[\w.-]+/)+[\w.-]*")
_NAME = re.compile(r"(?=.*[a-z])[A-Za-z_]\w*(?:\.\w+)?")  # COMMANDS of Redis are others' names


def paragraphs(text: str) -> list[str]:
    """The text without its fenced blocks, a piece for each paragraph and each item of a list."""
    return re.split(
        r"\n\s*\n|\n(?=(?:\d+\.|-|#+) )",
        re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL),
    )


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def defined(tree: ast.Module | ast.ClassDef, within: str = "") -> Iterator[str]:
    """What a module defines at its top and in its classes: `f`, `C`, `C.f`, `C.attribute`."""
    for node in tree.body:
        targets: list[ast.expr] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield within + node.name
        elif isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        yield from (within + each.id for each in targets if isinstance(each, ast.Name))
        if isinstance(node, ast.ClassDef):
            yield from defined(node, f"{within}{node.name}.")
            # what a method sets on `self`
            yield from {
                f"{within}{node.name}.{each.attr}"
                for each in ast.walk(node)
                if isinstance(each, ast.Attribute)
                and isinstance(each.ctx, ast.Store)
                and isinstance(each.value, ast.Name)
                and each.value.id == "self"
            }


def found(path: Path, name: str) -> list[str]:
    """What a name in a page may mean in a file: one thing, or the page does not say which."""
    names = set(defined(ast.parse(path.read_text("utf-8"))))
    return sorted(each for each in names if each == name or each.endswith(f".{name}"))


def place(named: str) -> Path | None:
    """A file or a folder, from the top of the project or from the package."""
    for root in (ROOT, ROOT / "csms_redis"):
        if any(root.glob(named.rstrip("/"))):
            return root / named
    return None


def wrong(text: str) -> list[str]:
    """The code spans of a page that name nothing, or more than one thing."""
    said = []
    for paragraph in paragraphs(text):
        file: Path | None = None
        for span in re.findall(r"`([^`]+)`", paragraph):
            named, _, name = " ".join(span.split()).partition(": ")
            if _FILE.fullmatch(named) and not named.startswith(".venv/"):
                path = place(named)
                file = path if name else None
                if path is None or (name and len(found(path, name)) != 1):
                    said.append(span)
            elif file is not None and _NAME.fullmatch(span) and span not in SETTINGS:
                if len(found(file, span)) != 1:
                    said.append(span)
            elif span not in SETTINGS and (".py" in span or re.fullmatch(r"[a-z]+\.[a-z_]+", span)):
                said.append(span)
    return said


class TestNames:
    """Each file, function, class and setting that a page names exists."""

    @pytest.mark.parametrize("page", PAGES)
    def test_are_there(self, page: str) -> None:
        assert wrong((ROOT / page).read_text("utf-8")) == []

    def test_there_are_many(self) -> None:
        """Else the test above would have read nothing."""
        spans = re.findall(r"`(\S+\.py:\s[\w.]+)`", (ROOT / "ARCHITECTURE.md").read_text("utf-8"))
        assert len(spans) > 40

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("`listener.py: listen`, `csms_redis/listener.py: Listener.stop`", []),
            ("`listener.py: listen` and `Listener`, and `stop`", []),
            ("`listener.py:\n  listen`", []),
            ("`lookup/front/connections.py: Connections.idle`", []),
            ("`lookup/reading/link.py: LEASE`", []),
            ("`tests/`, `config.toml`, `lookup.timeout`, `MOVED`, `GET /cs/{csId}/auth`", []),
            ("`listeners.py`", ["listeners.py"]),
            ("`listener.py:listen`", ["listener.py:listen"]),
            ("`tests/nothing/`", ["tests/nothing/"]),
            ("`listener.py: listening`", ["listener.py: listening"]),
            ("`listener.py: listen` and `gone`", ["gone"]),
            ("`listener.py: Listener.listen`", ["listener.py: Listener.listen"]),
            # of a protocol class and of the class that is meant
            ("`lookup/front/connections.py: drain`", ["lookup/front/connections.py: drain"]),
            ("`lookup.time_out`", ["lookup.time_out"]),
        ],
    )
    def test_what_is_wrong_is_found(self, text: str, said: list[str]) -> None:
        assert wrong(text) == said

    @pytest.mark.parametrize("page", PAGES)
    def test_the_readme_leads_to_each_page(self, page: str) -> None:
        assert f"]({page})" in (ROOT / "README.md").read_text("utf-8")


def test_the_drawing_shows_the_floors_of_the_linter() -> None:
    """All of them, and in its order from top to bottom."""
    (drawing,) = blocks("ARCHITECTURE.md", "text")
    at = {
        name: number
        for number, line in enumerate(drawing.splitlines())
        for name in re.split(r",? +", line[:42].strip())
    }
    with (ROOT / "pyproject.toml").open("rb") as file:
        contract, *_ = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    floors = [layer.split(" : ") for layer in contract["layers"]]

    assert sorted(at) == sorted(chain.from_iterable(floors))
    assert all(len({at[name] for name in floor}) == 1 for floor in floors)
    drawn = [at[floor[0]] for floor in floors]
    assert drawn == sorted(drawn)


class TestCommands:
    """The commands of CONTRIBUTING.md can be given so."""

    def commands(self) -> list[list[str]]:
        lines = "".join(blocks("CONTRIBUTING.md", "sh")).replace("\\\n", " ").splitlines()
        return [shlex.split(line) for line in lines if line]

    def test_pytest_has_the_tests_and_the_markers(self) -> None:
        commands = [words for words in self.commands() if words[0].endswith("/pytest")]
        assert commands != []
        with (ROOT / "pyproject.toml").open("rb") as file:
            markers = tomllib.load(file)["tool"]["pytest"]["ini_options"]["markers"]
        known = {marker.partition(":")[0] for marker in markers}
        for words in commands:
            named = [word for word in words if word.startswith("tests/")]
            assert [name for name in named if not (ROOT / name).exists()] == []
            assert {after for word, after in pairwise(words) if word == "-m"} <= known

    def test_the_benchmark_has_the_options(self) -> None:
        commands = [words for words in self.commands() if "tests.bench" in words]
        assert commands != []
        for words in commands:
            arguments = words[words.index("tests.bench") + 1 :]
            with click.Context(bench) as context:
                bench.parse_args(context, arguments)

    def test_every_other_program_is_here(self) -> None:
        names = {Path(words[0]).name for words in self.commands()}
        known = {"git", "lint-imports", "mypy", "pip", "pytest", "python", "python3", "ruff"}
        assert names <= known
