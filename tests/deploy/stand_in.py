"""A root file system in the place of the base image, which tests cannot pull.

It has what the Dockerfile's steps and the program use, copied from this machine. So it shows how an
engine reads the Dockerfile, and what of it runs; it does not show the base image itself.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

_PROGRAMS = ("sh", "rm", "mkdir", "env", "ls", "cat", "sleep", "uname", "ldconfig")
_DATA = ("/etc/ssl/certs/ca-certificates.crt", "/etc/nsswitch.conf")


def make(root: Path) -> None:
    """Put it into a folder."""
    for name in ("tmp", "proc", "dev", "sys", "run", "etc", "root", "opt"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    programs = [Path(found) for name in _PROGRAMS if (found := shutil.which(name))]
    for program in programs:
        shutil.copy(program.resolve(), root / "usr/bin" / program.name)
    python = _python(root / "usr/local")
    for library in _libraries([*programs, *python]):
        target = root / str(library).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library.resolve(), target)
    for data in filter(os.path.exists, _DATA):
        (root / data.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data, root / data.lstrip("/"))
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n", "ascii")
    (root / "etc/group").write_text("root:x:0:\n", "ascii")


def _python(into: Path) -> list[Path]:
    """This machine's Python as the image's own, with its pip.

    Returns:
        what of it is linked.
    """
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = into / "lib" / version
    shutil.copytree(
        sysconfig.get_path("stdlib"),
        library,
        ignore=shutil.ignore_patterns("site-packages", "test", "tests", "__pycache__"),
        symlinks=False,
    )
    (library / "site-packages").mkdir()
    (into / "bin").mkdir()
    program = into / "bin" / version
    shutil.copy(Path(sys.base_prefix) / "bin" / version, program)
    for name in ("python", "python3"):
        (into / "bin" / name).symlink_to(version)
    shared = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME"))
    if shared.suffix != ".a" and shared.exists():
        shutil.copy(shared, into / "lib")
    subprocess.run(
        [program, "-m", "ensurepip", "--default-pip"],
        env={"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": str(into / "lib")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
    for script in (into / "bin").glob("pip*"):  # it names the folder that it was made in
        script.unlink()
    return [program, *library.rglob("*.so")]


def _libraries(programs: Iterable[Path]) -> Iterator[Path]:
    """The libraries that programs are linked to, and those that wheels may be."""
    found: set[str] = set()
    for program in programs:
        said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        found |= set(re.findall(r"(?:=> )?(/\S+) \(0x", said))
    for name in ("dl", "gcc_s", "m", "nss_*", "pthread", "resolv", "rt", "stdc++", "util"):
        found |= {str(path) for path in Path("/lib").glob(f"*-linux-gnu/lib{name}.so.[0-9]")}
    for name in sorted(found):
        if "/usr/local/" not in name and not name.startswith(sys.base_prefix + "/lib/lib"):
            yield Path(name)
