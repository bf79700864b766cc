"""CSV for the tests of an import, and what is read in it."""

import io
from typing import Any

from csms_redis.fleet import csv_rows
from csms_redis.fleet.names import Names
from csms_redis.fleet.rows import Row, Unreadable
from csms_redis.rows.kinds import KINDS

STATIONS, TOKENS = KINDS["stations"], KINDS["tokens"]
HEADER = "csId,securityProfile,password\n"
TOKEN = {
    "countryCode": "DE",
    "partyId": "ABC",
    "type": "RFID",
    "contractId": "CON-1",
    "issuer": "Acme",
    "valid": True,
    "cacheMode": "ALWAYS",
}


def read(data: str | bytes, kind: str = "stations") -> list[Row | Unreadable]:
    """All that is found in a file."""
    if isinstance(data, str):
        data = data.encode()
    return list(csv_rows.read(io.BytesIO(data), "f", Names(KINDS[kind])))


def records(data: str | bytes, kind: str = "stations") -> list[dict[str, Any]]:
    """The rows of a file in which all can be read."""
    rows = read(data, kind)
    assert all(isinstance(row, Row) for row in rows), rows
    return [row.data for row in rows if isinstance(row, Row)]


def told(data: str | bytes) -> list[tuple[int, object]]:
    """Lines, with the id of what is there or the reason why nothing is."""
    return [
        (row.line, row.reason if isinstance(row, Unreadable) else row.data.get("csId"))
        for row in read(data)
    ]
