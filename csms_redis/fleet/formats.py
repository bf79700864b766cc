"""The format of a file: from `--format`, else from its name, else from how it begins."""

import re
from enum import StrEnum
from pathlib import Path

from csms_redis.fleet import pem_rows
from csms_redis.fleet.names import folded
from csms_redis.fleet.rows import BOM, UTF_16_BOMS
from csms_redis.rows.kinds import KINDS, Kind

STDIN = Path("-")


class Format(StrEnum):
    """A file format, by the name that `--format` has for it."""

    CSV = "csv"
    JSONL = "jsonl"
    OCPI = "ocpi"
    PEM = "pem"


class UnusableFormat(Exception):
    """The file, or this kind of record, cannot have the format.

    The message is one line for the operator.
    """


_SUFFIXES = {
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".pem": Format.PEM,
    ".crt": Format.PEM,
    ".cer": Format.PEM,
    # and what is told of, with the command that converts it
    ".der": Format.PEM,
    ".p7b": Format.PEM,
    ".p7c": Format.PEM,
    ".p12": Format.PEM,
    ".pfx": Format.PEM,
}
_DELIMITER = re.compile("[,;\t|]")
_ONLY_FOR = {Format.OCPI: "tokens", Format.PEM: "certificates"}


def source_format(path: Path, kind: Kind, wanted: Format | None) -> Format | None:
    """The format of a source; None if only its content can tell (see `sniff`).

    Args:
        path: of the source.
        kind: of its records.
        wanted: what `--format` names.

    Raises:
        UnusableFormat: such a source, or such records, cannot have the format.
    """
    if path.is_dir():
        if wanted not in {None, Format.PEM}:
            raise UnusableFormat(f"{path}: a directory must be one of PEM files")
        wanted = Format.PEM
    found = wanted or _SUFFIXES.get(path.suffix.lower())
    if found is not None:
        _check_kind(found, path, kind)
    return found


def target_format(path: Path, kind: Kind, wanted: Format | None) -> Format:
    """The format of an export: JSON Lines unless `--format` or the target's name says otherwise.

    Args:
        path: of the target.
        kind: of the records.
        wanted: what `--format` names.

    Raises:
        UnusableFormat: such a target, or such records, cannot have the format.
    """
    if path.is_dir():
        wanted = wanted or Format.PEM
    found = wanted or _SUFFIXES.get(path.suffix.lower(), Format.JSONL)
    _check_kind(found, path, kind)
    if found is Format.PEM:
        if path == STDIN or (path.exists() and not path.is_dir()):
            raise UnusableFormat(f"{path}: PEM files go into a directory")
        if path.is_dir():
            _check_empty(path)
    elif path.is_dir():
        raise UnusableFormat(f"{path}: is a directory")
    return found


def sniff(start: bytes, kind: Kind) -> Format:
    """The format of a file, from its first bytes and the kind of its records."""
    if start.startswith(UTF_16_BOMS):
        start = start[2:].replace(b"\0", b"")
    start = start.removeprefix(BOM).lstrip()
    if start.startswith((b"{", b"[")):
        return Format.JSONL
    if kind is KINDS["certificates"] and not _names_certificate(start):
        return Format.PEM  # it may begin with other text, and what it is else is told there
    return Format.CSV


def _names_certificate(start: bytes) -> bool:
    """Whether one of the first lines can be the header of a CSV file with certificates."""
    lines = start.decode(errors="replace").splitlines()[:3]
    cells = (cell for line in lines for cell in _DELIMITER.split(line))
    return any(folded(cell.strip("\"' ")) == "certificate" for cell in cells)


def _check_kind(found: Format, path: Path, kind: Kind) -> None:
    only = _ONLY_FOR.get(found)
    if only and kind is not KINDS[only]:
        raise UnusableFormat(f"{path}: {found} is a format of {only} only; see --format")


def _check_empty(directory: Path) -> None:
    """Refuse a directory with files: they may be of certificates that are removed since."""
    try:
        if not pem_rows.files(directory):
            return
    except OSError as error:
        raise UnusableFormat(f"{directory}: {error.strerror}") from None
    raise UnusableFormat(f"{directory}: has files already; PEM files go into a new directory")
