"""What the project's own files say of it: packages, pre-commit, workflows, issue forms."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*"))
CI_RUN = (ROOT / ".ci/run").read_text("utf-8")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


def locked(file: str) -> dict[str, str]:
    """The packages of a lock, each with its version."""
    return dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", (ROOT / file).read_text("utf-8")))


def read(path: Path) -> Any:
    """A YAML file."""
    return yaml.safe_load(path.read_text("utf-8"))


def names(requirements: list[str]) -> set[str]:
    """The packages of a list of requirements."""
    return {re.split(r"[\[><=~ ]", requirement)[0] for requirement in requirements}


class TestPackages:
    """What is published, and what is only for those who work on it."""

    def test_the_tests_tools_are_not_published(self) -> None:
        assert set(PROJECT["project"]["optional-dependencies"]) == {"embedded", "otel"}

    def test_the_group_has_the_extras(self) -> None:
        """So that `uv sync` alone gives what the tests need."""
        extras = PROJECT["project"]["optional-dependencies"].values()
        assert {one for extra in extras for one in extra} <= set(
            PROJECT["dependency-groups"]["test"]
        )

    @pytest.mark.parametrize(
        ("group", "lock"),
        [
            ("test", "tests/requirements.lock"),
            ("docs", "docs/requirements.lock"),
            ("release", "deploy/release.lock"),
        ],
    )
    def test_each_group_is_locked(self, group: str, lock: str) -> None:
        assert names(PROJECT["dependency-groups"][group]) <= set(locked(lock))

    def test_what_builds_it_is_pinned_alike(self) -> None:
        built_by = dict(one.split("==") for one in PROJECT["build-system"]["requires"])
        for lock in ("deploy/build.lock", "deploy/release.lock"):
            assert built_by.items() <= locked(lock).items()

    def test_versions_of_python(self) -> None:
        """Those that are promised are those that CI runs, and that the linters know."""
        promised = [
            name.rpartition(" ")[2]
            for name in PROJECT["project"]["classifiers"]
            if re.search(r":: 3\.\d+$", name)
        ]
        workflow = read(GITHUB / "workflows/ci.yaml")
        assert promised == PYTHONS
        assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == PYTHONS
        assert PROJECT["project"]["requires-python"] == f">={promised[0]}"
        assert PROJECT["tool"]["ruff"]["target-version"] == f"py{promised[0].replace('.', '')}"
        assert PROJECT["tool"]["mypy"]["python_version"] == promised[0]
        assert re.findall(r"mypy --python-version ([\d.]+)", CI_RUN) == [promised[-1]]

    def test_addresses_are_read_as_they_are_written(self) -> None:
        """An index takes what is before the first comma for the name, and at most 32 letters."""
        for name, address in PROJECT["project"]["urls"].items():
            assert re.fullmatch(r"[^,]{1,32}", name)
            assert re.fullmatch(r"https://\S+", address)

    def test_each_licence_is_named(self) -> None:
        """Also those of what others wrote that is in the package."""
        named = {
            path for pattern in PROJECT["project"]["license-files"] for path in ROOT.glob(pattern)
        }
        assert named == {ROOT / "LICENSE", *(ROOT / "csms_redis").rglob("LICENSE*")}
        assert len(named) > 4

    def test_the_sdist_has_all_that_is_in_the_repository(self) -> None:
        """Whatever is added at the top is in it too."""
        if not (ROOT / ".git").exists():
            pytest.skip("this is no clone")
        listed = subprocess.run(
            ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True
        )
        tops = {line.partition("/")[0] for line in listed.stdout.splitlines()}
        assert tops == set(PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"])


class TestThePageOnPyPI:
    """The README as PyPI shows it, where no file lies beside it."""

    def shown(self, text: str) -> str:
        """What the build's substitutions make of it."""
        hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
        for each in hook["substitutions"]:
            text = re.sub(each["pattern"], each["replacement"], text)
        return text

    @pytest.mark.parametrize(
        ("written", "shown"),
        [
            ("[ARCHITECTURE.md](ARCHITECTURE.md)", "`ARCHITECTURE.md`"),
            ("[`config.toml`](config.toml)", "`config.toml`"),
            ("[deploy/install.md](deploy/install.md#rights)", "`deploy/install.md`"),
            ("[the doubts](deploy/operate.md#doubts)", "the doubts (`deploy/operate.md`)"),
            ("[two\nlines](deploy/operate.md)", "two\nlines (`deploy/operate.md`)"),
            ("[MaEVe](https://example.org/a)", "[MaEVe](https://example.org/a)"),
            ("[below](#start)", "[below](#start)"),
        ],
    )
    def test_a_link(self, written: str, shown: str) -> None:
        assert self.shown(written) == shown

    def test_no_link_leads_nowhere(self) -> None:
        text = self.shown((ROOT / "README.md").read_text("utf-8"))
        assert re.findall(r"\]\((?!https?://|#)[^)]*\)", text) == []


class TestPreCommit:
    """The same linters as .ci/run's, at the same versions."""

    CONFIG = read(ROOT / ".pre-commit-config.yaml")

    def test_versions(self) -> None:
        versions = locked("tests/requirements.lock")
        pinned = {
            repo["repo"].rpartition("/")[2].removesuffix("-pre-commit"): repo["rev"]
            for repo in self.CONFIG["repos"]
            if repo["repo"] != "local"
        }
        assert pinned == {"ruff": f"v{versions['ruff']}"}

    def test_none_is_left_out(self) -> None:
        steps = re.findall(r"(?m)^step '(.*?)'$", CI_RUN)
        hooks = {
            hook.get("entry", hook["id"].replace("ruff-check", ".venv/bin/ruff check"))
            for repo in self.CONFIG["repos"]
            for hook in repo["hooks"]
        }
        assert {step.removesuffix(" --check").partition(" --python")[0] for step in steps} == {
            hook.replace("ruff-format", ".venv/bin/ruff format") for hook in hooks
        }


class TestGitHub:
    """Workflows that call what anyone can run, and forms."""

    def test_there_are_some(self) -> None:
        assert [path.name for path in WORKFLOWS] == ["ci.yaml", "release.yaml"]

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.name))
    def test_actions_are_pinned(self, path: Path) -> None:
        """By a commit, which nobody can move, with the version that it is."""
        uses = re.findall(r"uses: (.*)", path.read_text("utf-8"))
        assert uses != []
        assert [
            use for use in uses if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)
        ] == []

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.name))
    def test_a_job_has_no_more_rights_than_it_needs(self, path: Path) -> None:
        workflow = read(path)
        assert workflow["permissions"] == {}
        for job in workflow["jobs"].values():
            writes = {name for name, right in job["permissions"].items() if right == "write"}
            assert bool(writes) == (path.name == "release.yaml")
            assert "timeout-minutes" in job

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.name))
    def test_what_they_call_is_here(self, path: Path) -> None:
        steps = [step for job in read(path)["jobs"].values() for step in job["steps"]]
        called = [step["run"].split()[0] for step in steps if "run" in step]
        assert {name for name in called if "/" in name} <= {".ci/run", "deploy/release.py"}
        assert all("\n" not in step.get("run", "").strip() for step in steps)

    def test_forms_ask_for_something(self) -> None:
        forms = [read(path) for path in sorted(GITHUB.glob("ISSUE_TEMPLATE/[!c]*.yml"))]
        assert len(forms) == 2
        for form in forms:
            assert form["name"]
            assert form["description"]
            assert any(part.get("validations", {}).get("required") for part in form["body"])
            ids = [part["id"] for part in form["body"] if "id" in part]
            assert len(ids) == len(set(ids))

    def test_dependabot_looks_where_something_is_pinned(self) -> None:
        for update in read(GITHUB / "dependabot.yml")["updates"]:
            assert (ROOT / update["directory"].lstrip("/")).is_dir()
