"""Many records at once: `csms-redis import` reads them from files, `export` writes them."""

from csms_redis.fleet.exporting import ExportResult, export_records
from csms_redis.fleet.failure import TransferFailed
from csms_redis.fleet.formats import (
    STDIN,
    Format,
    UnusableFormat,
    source_format,
    target_format,
)
from csms_redis.fleet.importing import import_records
from csms_redis.fleet.rejects import UnusableRejects, check_rejects
from csms_redis.fleet.results import ImportOptions, ImportResult
from csms_redis.fleet.sources import Source
from csms_redis.rows.kinds import KINDS
from csms_redis.rows.ocpi import Emsp

__all__ = [
    "KINDS",
    "STDIN",
    "Emsp",
    "ExportResult",
    "Format",
    "ImportOptions",
    "ImportResult",
    "Source",
    "TransferFailed",
    "UnusableFormat",
    "UnusableRejects",
    "check_rejects",
    "export_records",
    "import_records",
    "source_format",
    "target_format",
]
