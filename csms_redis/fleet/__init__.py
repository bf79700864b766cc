"""Many records at once, from files and into files: `csms-redis import` and `export`."""

from csms_redis.fleet.exporting import Export, export
from csms_redis.fleet.formats import (
    STDIN,
    Format,
    Source,
    UnusableFormat,
    export_format,
    import_format,
)
from csms_redis.fleet.importing import Import, Options, import_
from csms_redis.fleet.kinds import KINDS
from csms_redis.fleet.rejects import UnusableRejects, check_rejects
from csms_redis.fleet.store import FleetError

__all__ = [
    "KINDS",
    "STDIN",
    "Export",
    "FleetError",
    "Format",
    "Import",
    "Options",
    "Source",
    "UnusableFormat",
    "UnusableRejects",
    "check_rejects",
    "export",
    "export_format",
    "import_",
    "import_format",
]
