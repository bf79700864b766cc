#!/usr/bin/env python3
"""Make a release: check it, build wheel, sdist, lists of parts and image, and tag it.

    deploy/release.py                  everything but the tag, into dist/
    deploy/release.py --tag            the same, then the tag v1.2.3, which is yours to push
    deploy/release.py --push NAME      also send the image to a registry, as NAME:1.2.3

It needs Python, git and what `.ci/run` needs; the image needs docker, podman or buildah. The tools
are installed from deploy/release.lock in an environment that is thrown away. What it builds depends
on the commit alone: the same commit gives the same wheel and sdist on every machine.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
ENGINES = ("docker", "podman", "buildah")
NAME = "docker.io/library/csms-redis"  # docker's own short name for it is csms-redis
PARTS = {"wheel": "requirements.lock", "image": "deploy/image.lock"}


class CannotRelease(Exception):
    """Something is not as a release needs it; the message says what to do."""


def run(*words: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """Run a program and return what it prints.

    Raises:
        CannotRelease: it ends with an error.
    """
    done = subprocess.run(  # noqa: S603 only programs that are named here
        words,
        cwd=cwd,
        env=os.environ | (env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotRelease(f"{' '.join(map(str, words))}: exit code {done.returncode}")
    return done.stdout.strip()


def step(text: str) -> None:
    """Tell what is done now."""
    print(f"- {text}", flush=True)


def changes(changelog: str, version: str) -> tuple[str, str]:
    """A version's section of the changelog.

    Returns:
        what its heading says beside the version (a date, or `not released`), and its text.

    Raises:
        CannotRelease: there is no such section, or it is empty.
    """
    found = re.search(
        rf"^## {re.escape(version)} \(([^)]*)\)\n(.*?)(?=^## |\Z)",
        changelog,
        re.MULTILINE | re.DOTALL,
    )
    if found is None or not found[2].strip():
        raise CannotRelease(f"CHANGELOG.md: write a section `## {version} (date)`")
    return found[1], found[2].strip() + "\n"


def refuse_unfit(version: str, when: str, *, tagging: bool) -> None:
    """Go on only with a commit that can be released under this version.

    Raises:
        CannotRelease: files differ from the commit, or the version is released or tagged otherwise.
    """
    if changed := run("git", "status", "--porcelain"):
        raise CannotRelease(f"commit these, or remove them:\n{changed}")
    tags = {
        tag for tag in run("git", "tag", "--points-at", "HEAD").split() if re.match(r"v\d", tag)
    }
    if tags - {f"v{version}"}:
        raise CannotRelease(
            f"the commit has the tag {min(tags)}, but pyproject.toml says {version}"
        )
    if (tagging or tags) and not re.fullmatch(r"\d{4}-\d\d-\d\d", when):
        raise CannotRelease(
            f"CHANGELOG.md: write the day, `## {version} (2026-12-31)`, not ({when})"
        )
    if tagging and run("git", "tag", "--list", f"v{version}"):
        raise CannotRelease(f"v{version} is there already: raise the version in pyproject.toml")


def tools(folder: Path) -> Path:
    """Install the tools that are locked.

    Returns:
        where their programs are.
    """
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    lock = ROOT / "deploy/release.lock"
    run(programs / "pip", "install", "--quiet", "--require-hashes", "-r", lock)
    return programs


@contextmanager
def checked_out() -> Iterator[Path]:
    """The commit's files in a folder, without what git is told to ignore beside them."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "commit.tar")
        run("git", "archive", "--format=tar", f"--output={archive}", "HEAD")
        with tarfile.open(archive) as files:
            files.extractall(Path(folder, "commit"), filter="tar")
        yield Path(folder, "commit")


def build(programs: Path, folder: Path) -> list[Path]:
    """Build wheel and sdist twice, and take them if both are the same.

    Raises:
        CannotRelease: they differ.
    """
    moment = run("git", "show", "-s", "--format=%ct")
    made = []
    for name in ("first", "second"):
        words = ("-m", "hatchling", "build", "--directory", folder / name)
        with checked_out() as source:
            run(programs / "python", *words, cwd=source, env={"SOURCE_DATE_EPOCH": moment})
        made.append({each.name: digest(each) for each in sorted((folder / name).iterdir())})
    if made[0] != made[1]:
        raise CannotRelease(f"two builds of one commit differ: {made}")
    return [Path(shutil.copy(folder / "first" / name, DIST)) for name in made[0]]


def digest(file: Path) -> str:
    """SHA-256, as hex digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def list_parts(programs: Path) -> None:
    """Write what each product is made of, from its lock (CycloneDX)."""
    for product, lock in PARTS.items():
        run(
            *(programs / "cyclonedx-py", "requirements", ROOT / lock),
            *("--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "--validate"),
            *("--output-file", DIST / f"{product}.cdx.json"),
        )


def engine() -> str | None:
    """The container engine that answers."""
    for name in filter(shutil.which, ENGINES):
        if not subprocess.run([name, "info"], capture_output=True, check=False).returncode:  # noqa: S603 one of three
            return name
    return None


def build_image(program: str, version: str, name: str) -> str:
    """Build the image.

    The format of podman and buildah has no room for the HEALTHCHECK: Docker's has.

    Returns:
        its name with the version.
    """
    image = f"{name}:{version}"
    revision, created = run("git", "show", "-s", "--format=%H %cI").split()
    with checked_out() as source:
        run(
            *(program, "build", "--file", "deploy/Dockerfile", "--tag", image),
            *(() if program == "docker" else ("--format", "docker")),
            *("--build-arg", f"VERSION={version}", "--build-arg", f"REVISION={revision}"),
            *("--label", f"org.opencontainers.image.created={created}", "."),
            cwd=source,
        )
    return image


def push(program: str, image: str) -> str:
    """Send the image to its registry.

    Returns:
        the digest that the registry knows it by.
    """
    if program == "docker":
        run(program, "push", "--quiet", image)
        pushed = run(program, "inspect", "--format", "{{index .RepoDigests 0}}", image)
        return pushed.rpartition("@")[2]
    with tempfile.NamedTemporaryFile("r", encoding="ascii") as file:
        run(program, "push", "--quiet", "--digestfile", file.name, image)
        return file.read().strip()


def main(arguments: list[str] | None = None) -> None:
    """Release the commit that is checked out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tag", action="store_true", help="set the tag when all is well")
    parser.add_argument("--push", metavar="NAME", help="send the image to a registry, by this name")
    parser.add_argument("--skip-checks", action="store_true", help="the tests have just run")
    parser.add_argument("--skip-image", action="store_true", help="where its base cannot be had")
    given = parser.parse_args(arguments)
    if given.push and given.skip_image:
        parser.error("--push needs the image")
    try:
        release(tag=given.tag, checks=not given.skip_checks)
        if given.skip_image:
            step("no image was built")
        else:
            make_image(given.push)
        set_tag(wanted=given.tag)
    except CannotRelease as why:
        sys.exit(f"deploy/release.py: {why}")


def told() -> tuple[str, str, str]:
    """The version, and the day and the text that the changelog has for it.

    Raises:
        CannotRelease: the changelog has none.
    """
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    return version, *changes((ROOT / "CHANGELOG.md").read_text("utf-8"), version)


def release(*, tag: bool, checks: bool) -> None:
    """Check the commit, and make what is published of it, into dist/.

    Raises:
        CannotRelease: it is not fit for it, or a step failed.
    """
    version, when, text = told()
    refuse_unfit(version, when, tagging=tag)
    if checks:
        step("tests and linters")
        if subprocess.run([ROOT / ".ci/run"], cwd=ROOT, check=False).returncode:  # noqa: S603 ours
            raise CannotRelease("a test or a linter failed")
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        step("tools")
        programs = tools(Path(folder, "tools"))
        step("wheel and sdist, twice")
        packages = build(programs, Path(folder))
        run(programs / "twine", "check", "--strict", *packages)
        step("lists of parts")
        list_parts(programs)
    (DIST / "CHANGES.md").write_text(text, "utf-8")
    sums = "".join(f"{digest(file)}  {file.name}\n" for file in sorted(DIST.iterdir()))
    (DIST / "SHA256SUMS").write_text(sums, "utf-8")


def make_image(registry: str | None) -> None:
    """Build the image, and push it where that is asked for.

    Raises:
        CannotRelease: it cannot be built, or is to be pushed and nothing can build it.
    """
    version, *_ = told()
    program = engine()
    if program is None:
        if registry:
            raise CannotRelease(f"no container engine answers: start one of {', '.join(ENGINES)}")
        step("no image: no container engine answers")
        return
    step(f"image, with {program}")
    image = build_image(program, version, registry or NAME)
    if registry:
        found = push(program, image)
        step(f"pushed: {image}@{found}")
        if output := os.environ.get("GITHUB_OUTPUT"):
            with Path(output).open("a", encoding="utf-8") as file:
                file.write(f"image={registry}\ndigest={found}\n")


def set_tag(*, wanted: bool) -> None:
    """Set the version's tag, where that is asked for."""
    version, _, text = told()
    if not wanted:
        step("no tag was set: --tag sets it")
        return
    words = f"csms-redis {version}\n\n{text}"
    run("git", "tag", "--annotate", f"v{version}", "--message", words)
    step(f"tagged; to publish it: git push origin v{version}")


if __name__ == "__main__":
    main()
