"""A release: what it refuses, and what it makes of a commit, in a clone of this project."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from csms_redis import __version__
from tests.conftest import API, short_directory
from tests.support.service import Service, environment

ROOT = Path(__file__).parents[2]
_spec = spec_from_file_location("release", ROOT / "deploy/release.py")
assert _spec is not None
assert _spec.loader is not None
release = module_from_spec(_spec)
_spec.loader.exec_module(release)

LONG = 300  # seconds for what installs packages


def git(clone: Path, *words: str) -> str:
    """Run git as somebody."""
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    done = subprocess.run(
        ["git", *who, *words], cwd=clone, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


class TestChangelog:
    """A version's section."""

    TEXT = "# Changelog\n\n## 1.1.0 (not released)\n\n- New.\n\n## 1.0.0 (2026-01-02)\n\n- All.\n"

    def test_is_found(self) -> None:
        assert release.changes(self.TEXT, "1.1.0") == ("not released", "- New.\n")
        assert release.changes(self.TEXT, "1.0.0") == ("2026-01-02", "- All.\n")

    @pytest.mark.parametrize("version", ["1.2.0", "1.0", "1x1.0"])
    def test_is_missing(self, version: str) -> None:
        with pytest.raises(release.CannotRelease, match=f"write a section `## {version}"):
            release.changes(self.TEXT, version)

    def test_is_here(self) -> None:
        _, text = release.changes((ROOT / "CHANGELOG.md").read_text("utf-8"), __version__)
        assert text.startswith("- ")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A commit that nobody else has."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    monkeypatch.setattr(release.run, "__kwdefaults__", {"cwd": tmp_path, "env": None})
    return tmp_path


class TestRefuses:
    """What it does not release."""

    def test_nothing_is_wrong(self, clone: Path) -> None:
        release.refuse_unfit("1.0.0", "not released", tagging=False)
        release.refuse_unfit("1.0.0", "2026-01-02", tagging=True)
        git(clone, "tag", "v1.0.0")
        release.refuse_unfit("1.0.0", "2026-01-02", tagging=False)

    @pytest.mark.parametrize("name", ["file", "stray"])
    def test_files_that_differ(self, clone: Path, name: str) -> None:
        (clone / name).write_text("2")
        with pytest.raises(release.CannotRelease, match=f"(?s)commit these.*{name}"):
            release.refuse_unfit("1.0.0", "2026-01-02", tagging=False)

    def test_another_version_s_tag(self, clone: Path) -> None:
        git(clone, "tag", "v0.9.0")
        with pytest.raises(release.CannotRelease, match=r"has the tag v0\.9\.0"):
            release.refuse_unfit("1.0.0", "2026-01-02", tagging=False)

    def test_a_version_without_its_day(self, clone: Path) -> None:
        with pytest.raises(release.CannotRelease, match="write the day"):
            release.refuse_unfit("1.0.0", "not released", tagging=True)
        git(clone, "tag", "v1.0.0")
        with pytest.raises(release.CannotRelease, match="write the day"):
            release.refuse_unfit("1.0.0", "not released", tagging=False)

    def test_a_tag_that_is_taken(self, clone: Path) -> None:
        git(clone, "tag", "v1.0.0")
        git(clone, "commit", "--quiet", "--allow-empty", "--message", "two")
        with pytest.raises(release.CannotRelease, match="is there already"):
            release.refuse_unfit("1.0.0", "2026-01-02", tagging=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released clone of what is here, committed or not."""
    clone = tmp_path_factory.mktemp("release") / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).exists():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name, follow_symlinks=False)
    changelog = clone / "CHANGELOG.md"
    text = changelog.read_text("utf-8").replace("(not released)", "(2026-12-31)", 1)
    changelog.write_text(text, "utf-8")
    git(clone, "init", "--quiet")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "--message", "one")
    (clone / ".venv").mkdir()  # what is ignored is not shipped
    (clone / ".venv/stray").touch()
    (clone / "csms_redis/__pycache__").mkdir()
    (clone / "csms_redis/__pycache__/stray.pyc").touch()
    (clone / ".git/info/exclude").write_text("*.swp\n")  # nor what somebody's own git ignores
    for folder in ("csms_redis", "deploy"):
        (clone / folder / ".stray.swp").touch()
    who = {"GIT_COMMITTER_NAME": "Somebody", "GIT_COMMITTER_EMAIL": "somebody@example.org"}
    subprocess.run(
        [sys.executable, "deploy/release.py", "--skip-checks", "--skip-image", "--tag"],
        cwd=clone,
        env=environment(who),
        timeout=LONG,
        check=True,
    )
    return clone


@pytest.mark.slow
class TestMakes:
    """What it makes. It builds twice and compares; it ends where they differ."""

    def test_the_tag(self, made: Path) -> None:
        assert git(made, "cat-file", "-t", f"v{__version__}") == "tag"
        _, text = release.changes((made / "CHANGELOG.md").read_text("utf-8"), __version__)
        assert git(made, "tag", "--list", "--format=%(contents)", f"v{__version__}").endswith(
            text.strip()
        )

    def test_sums_of_all_files(self, made: Path) -> None:
        files = {file.name: file for file in (made / "dist").iterdir()}
        lines = files.pop("SHA256SUMS").read_text("ascii").splitlines()
        sums = {name: found for found, _, name in (line.partition("  ") for line in lines)}
        assert sums == {name: sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
        assert set(files) == {
            f"csms_redis-{__version__}-py3-none-any.whl",
            f"csms_redis-{__version__}.tar.gz",
            "CHANGES.md",
            "image.cdx.json",
            "wheel.cdx.json",
        }

    def test_the_sdist_is_the_repository(self, made: Path) -> None:
        [sdist] = (made / "dist").glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            files = {
                name.partition("/")[2]
                for name in archive.getnames()
                if not archive.getmember(name).isdir()
            }
        assert files - {"PKG-INFO"} == set(git(made, "ls-files").splitlines())

    def test_the_wheel_is_the_package(self, made: Path) -> None:
        [wheel] = (made / "dist").glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            files = {name for name in archive.namelist() if ".dist-info/" not in name}
            config = archive.read("csms_redis/config.toml")
            [metadata] = [name for name in archive.namelist() if name.endswith("/METADATA")]
            told = message_from_bytes(archive.read(metadata))
        assert files == set(git(made, "ls-files", "csms_redis").splitlines())
        assert config == (ROOT / "config.toml").read_bytes()
        assert told["License-Expression"] == "Apache-2.0"
        assert told["Author"]
        assert told["Keywords"]
        assert told.get_all("Project-URL")
        assert set(told.get_all("Provides-Extra", [])) == {"embedded", "otel"}
        assert told["Description-Content-Type"] == "text/markdown"

    @pytest.mark.parametrize(("product", "lock"), [*release.PARTS.items()])
    def test_the_lists_of_parts_are_the_locks(self, made: Path, product: str, lock: str) -> None:
        listed = json.loads((made / f"dist/{product}.cdx.json").read_text("utf-8"))
        assert listed["bomFormat"] == "CycloneDX"
        assert listed["metadata"]["component"]["name"] == "csms-redis"
        assert listed["metadata"]["component"]["version"] == __version__
        locked = re.findall(r"(?m)^(\S+)==(\S+)", (ROOT / lock).read_text("utf-8"))
        assert {(part["name"], part["version"]) for part in listed["components"]} == set(locked)


@pytest.fixture(scope="module")
def installed(made: Path) -> Iterator[Path]:
    """The programs of an environment that has the wheel, and nothing of this folder."""
    with short_directory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder / "e"], timeout=60, check=True)
        programs = folder / "e/bin"
        [wheel] = (made / "dist").glob("*.whl")
        for words in (["--require-hashes", "-r", str(ROOT / "requirements.lock")], [str(wheel)]):
            subprocess.run(
                [programs / "pip", "install", "--quiet", *words],
                cwd=folder,
                timeout=LONG,
                check=True,
            )
        yield programs


@pytest.mark.slow
class TestTheWheelAlone:
    """An installed wheel does its work without this folder."""

    def test_it_serves_and_answers(
        self, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tests.support.service.PROGRAM", str(installed / "csms-redis"))
        settings = {"CSMS_TELEMETRY__LOG_FORMAT": "json", "PYTHONSAFEPATH": "1"}
        with Service(tmp_path, settings, launcher=["env"]) as service:
            service.ready()
            assert service.request("POST", f"{API}/cs/a", {"securityProfile": 2}).status == 201
            assert service.request("GET", f"{API}/cs/a/auth").json == {"securityProfile": 2}
            assert service.request("GET", "/docs").status == 200

    @pytest.mark.parametrize(
        ("words", "said"),
        [(["--version"], __version__), (["config"], "[server]"), (["openapi"], '"openapi"')],
    )
    def test_commands(self, installed: Path, tmp_path: Path, words: list[str], said: str) -> None:
        done = self.command(installed, tmp_path, *words)
        assert (done.returncode, said in done.stdout) == (0, True), done

    def test_check(self, installed: Path, tmp_path: Path) -> None:
        """Where there is no store it says who makes one."""
        done = self.command(installed, tmp_path, "check")
        assert (done.returncode, done.stderr) == (1, ""), done
        assert "only csms-redis serve makes a store" in done.stdout

    def command(self, installed: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [installed / "csms-redis", *words],
            cwd=home,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.mark.slow
def test_uv_sync_gives_what_the_tests_need(made: Path, tmp_path: Path) -> None:
    """With uv as it is locked; no file of the project is changed, and none is added."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "uv"], timeout=60, check=True)
    [version] = re.findall(r"(?m)^uv==(\S+)", (ROOT / "deploy/release.lock").read_text("utf-8"))
    subprocess.run(
        [tmp_path / "uv/bin/pip", "install", "--quiet", f"uv=={version}"], timeout=LONG, check=True
    )
    own = environment({"UV_PROJECT_ENVIRONMENT": str(tmp_path / "e")})
    subprocess.run(
        [tmp_path / "uv/bin/uv", "sync", "--quiet", "--python", sys.executable],
        cwd=made,
        env=own,
        timeout=LONG,
        check=True,
    )
    words = ["-q", "tests/test_rules.py", "tests/contract/test_emaid.py"]
    subprocess.run(
        [tmp_path / "e/bin/python", "-m", "pytest", *words], cwd=made, timeout=LONG, check=True
    )
    assert git(made, "status", "--porcelain") == ""
