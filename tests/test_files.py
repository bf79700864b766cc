"""Files that operators name: what is read, and what is refused at once."""

import os
from pathlib import Path

import pytest

from csms_redis import files


def test_a_file_and_a_link_to_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"secret")
    link = tmp_path / "link"
    link.symlink_to(file)
    assert files.read(link) == files.read(file) == b"secret"


def test_what_might_never_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for odd in (pipe, tmp_path, Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(OSError, match="it is no regular file"):
            files.read(odd)


def test_what_is_too_large(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * files.MOST)
    assert len(files.read(large)) == files.MOST
    with large.open("ab") as more:
        more.write(b"x")
    with pytest.raises(OSError, match="it is larger than"):
        files.read(large)
