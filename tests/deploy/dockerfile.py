"""A Dockerfile read, and its steps taken without a container engine.

The steps are taken on this machine's Python, in a directory that stands for the image's root: every
absolute path that the image has of its own is put below it. What that cannot show is the base image
itself, its libc and its users, and that an engine reads the file alike.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

_NOTHING_TO_DO = {
    *("ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "USER", "WORKDIR"),
}
_OWN = re.compile(r"(?<![\w./-])/(?:opt/csms-redis|src)(?![\w-])")


class Instruction(NamedTuple):
    """Such as `RUN`, with what follows it on one line."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The exec form's, else as a shell would split them."""
        if self.text.startswith("["):
            words: list[str] = json.loads(self.text)
            return words
        return shlex.split(self.text)


@dataclass
class Stage:
    """From one `FROM` to the next."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        """The instructions of a name."""
        return [one for one in self.instructions if one.name == name]

    def pairs(self, name: str) -> dict[str, str]:
        """What `ENV`, `LABEL` or `ARG` set."""
        words = [word for one in self.all(name) for word in one.words]
        return dict(word.split("=", 1) for word in words)


def stages(text: str) -> list[Stage]:
    """Read a Dockerfile."""
    found: list[Stage] = []
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, rest = line.split(maxsplit=1)
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            found.append(Stage(base, alias))
        else:
            found[-1].instructions.append(Instruction(name, rest.strip()))
    return found


def context(root: Path) -> Iterator[Path]:
    """The files of a build context that `.dockerignore` lets through, relative to it."""
    rules = [
        line
        for line in (root / ".dockerignore").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert rules[0] == "*", "each file that is sent is named"
    for name in sorted(rule[1:] for rule in rules if rule.startswith("!")):
        start = root / name
        for file in sorted(start.rglob("*")) if start.is_dir() else [start]:
            if file.is_file() and _sent(file.relative_to(root), rules):
                yield file.relative_to(root)


def _sent(file: Path, rules: list[str]) -> bool:
    """Whether the last rule that matches it, or a directory above it, lets it through."""
    places = [str(file), *(str(parent) for parent in file.parents if parent.name)]
    sent = True
    for rule in rules:
        lets_through, pattern = rule.startswith("!"), rule.removeprefix("!")
        if pattern.startswith("**/"):
            matches = any(fnmatch(part, pattern[3:]) for part in file.parts)
        else:
            matches = any(fnmatch(place, pattern) for place in places)
        if matches:
            sent = lets_through
    return sent


class Image:
    """What the steps of a Dockerfile leave in a directory."""

    def __init__(self, dockerfile: Path, project: Path, root: Path) -> None:
        """Build `dockerfile` of `project` below `root`."""
        self.root = root
        self._project = project
        self._python = root / "usr/local/bin"
        self._libraries = root / "usr/local/lib"
        self._stdlib = self._libraries / "python3.11"
        base, build, final = stages(dockerfile.read_text("utf-8"))
        self._final = final
        self._take_base()
        self._run_all(base, root)
        self._run_all(build, root / "src")
        self._run_all(final, root)
        self.environment = {
            name: self._here(value) for name, value in final.pairs("ENV").items()
        } | {
            "PATH": f"{root}/opt/csms-redis/bin:{self._python}:/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(self._libraries),
        }

    def _take_base(self) -> None:
        """A copy of this machine's Python in the place of the base image's."""
        shutil.copytree(
            Path(sysconfig.get_path("stdlib")),
            self._stdlib,
            ignore=shutil.ignore_patterns("site-packages", "test", "tests", "__pycache__"),
        )
        (self._stdlib / "site-packages").mkdir()
        self._python.mkdir(parents=True)
        program = self._python / "python3.11"
        shutil.copy(Path(sys.base_prefix) / "bin/python3.11", program)
        (self._python / "python").symlink_to(program.name)
        shared = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME"))
        if shared.suffix != ".a" and shared.exists():
            shutil.copy(shared, self._libraries)
        subprocess.run(
            [program, "-m", "ensurepip", "--default-pip"],
            env={"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": str(self._libraries)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=60,
        )

    def _run_all(self, stage: Stage, workdir: Path) -> None:
        workdir.mkdir(parents=True, exist_ok=True)
        (self.root / "opt").mkdir(exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {
            **stage.pairs("ENV"),
            "PATH": f"{self._python}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": str(self._libraries),
        }
        for instruction in stage.instructions:
            if instruction.words[0].startswith("--from="):
                continue  # the stages are in one directory
            if instruction.name == "COPY":
                self._copy(instruction.words, workdir)
            elif instruction.name == "RUN":
                self._run(instruction.text, workdir, environment)
            else:
                assert instruction.name in _NOTHING_TO_DO, instruction

    def _copy(self, words: list[str], workdir: Path) -> None:
        *sources, target = words
        sent = list(context(self._project))
        for source in sources:
            files = [file for file in sent if file.is_relative_to(source)]
            assert files, f"{source} is not in the build context"
            for file in files:
                into = Path(file.name) if str(file) == source else file.relative_to(source)
                destination = workdir / target / into
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self._project / file, destination)

    def _run(self, command: str, workdir: Path, environment: Mapping[str, str]) -> None:
        done = subprocess.run(
            ["/bin/sh", "-c", self._here(command)],
            cwd=workdir,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout.decode()}"

    def _here(self, text: str) -> str:
        text = text.replace("/usr/local/lib/python3.11", str(self._stdlib))
        return _OWN.sub(lambda path: f"{self.root}{path[0]}", text)

    @property
    def command(self) -> list[str]:
        """What the container runs."""
        words = [*self._final.all("ENTRYPOINT")[0].words, *self._final.all("CMD")[0].words]
        return [self._here(word) for word in words]

    @property
    def health_command(self) -> list[str]:
        """What asks for its health."""
        [instruction] = self._final.all("HEALTHCHECK")
        _, _, command = instruction.text.partition(" CMD ")
        return [self._here(word) for word in Instruction("CMD", command).words]
