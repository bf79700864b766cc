"""`csms-redis export`: all records of one kind, each once."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from csms_redis.contract.errors import Unavailable
from csms_redis.fleet.failure import TransferFailed
from csms_redis.fleet.formats import Format
from csms_redis.fleet.progress import Meter
from csms_redis.fleet.writers import ForeignRecord, open_writer
from csms_redis.rows.kinds import CREDENTIAL, Kind


class Readable(Protocol):
    """Where all records of a kind can be read."""

    def every(
        self, kind: Kind, names: Sequence[str]
    ) -> AsyncIterator[tuple[str, dict[str, Any]] | None]:
        """Read each record once: its id and its properties; None for one of another program.

        Raises:
            Unavailable: they cannot be read to the end.
        """


@dataclass(slots=True)
class ExportResult:
    """What an export did.

    Attributes:
        written: records.
        left_out: records that others stored, under keys or with values that are not this program's.
        seconds: how long the export took.
    """

    written: int = 0
    left_out: int = 0
    seconds: float = 0.0


async def export_records(
    kind: Kind,
    target: Path,
    format_: Format,
    opened: AbstractAsyncContextManager[Readable],
    *,
    with_credentials: bool,
) -> ExportResult:
    """Write all records of a kind; those that come or go meanwhile may be among them or not.

    Args:
        kind: of the records.
        target: a file, which is replaced when all records are written; or for PEM a directory
            without files; or `STDIN` for standard output.
        format_: of the target.
        opened: where the records are, while it is open.
        with_credentials: whether stations' password hashes are written.

    Raises:
        TransferFailed: the records cannot be read to the end, or the target cannot be written.
    """
    names = [name for name in kind.exported if with_credentials or name != CREDENTIAL]
    result = ExportResult()
    began = monotonic()
    try:
        async with opened as registry:
            with (
                open_writer(format_, target, names) as writer,
                Meter("exporting", lambda: (result.written, None)) as meter,
            ):
                async for found in registry.every(kind, names):
                    try:
                        if found is None:
                            raise ForeignRecord  # noqa: TRY301 as one that the writer refuses
                        writer.write(*found)
                        result.written += 1
                    except ForeignRecord:
                        result.left_out += 1
                    meter.show()
    except Unavailable as away:
        raise TransferFailed(away.error) from None
    except BrokenPipeError:
        raise  # who reads standard output has seen enough, and click ends the process quietly
    except OSError as error:
        raise TransferFailed(f"{target}: {error.strerror or 'cannot be written'}") from None
    result.seconds = monotonic() - began
    return result
