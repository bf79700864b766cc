"""JSON for the tests of an import, and what is read in it."""

import io
import json
from collections.abc import Mapping
from typing import Any

from redis import Redis

from csms_redis.fleet import json_rows
from csms_redis.fleet.rows import Row, Unreadable
from csms_redis.rows.ocpi import NO_EMSP, Emsp
from tests.conftest import DATA

CASES = DATA / "imports"
PAGE = {"status_code": 1000, "timestamp": "2026-01-01T00:00:00Z"}


def ocpi(uid: str, **more: Any) -> dict[str, Any]:
    """A token as an eMSP has it."""
    return {
        "country_code": "DE",
        "party_id": "ABC",
        "uid": uid,
        "type": "APP_USER",
        "contract_id": "CON-1",
        "issuer": "Acme",
        "valid": True,
        "whitelist": "ALLOWED",
        "last_updated": "2026-01-01T00:00:00Z",
    } | more


def stored(redis: Redis, uid: str) -> dict[str, Any]:
    fields: Mapping[str, str] = redis.hgetall(f"token:{uid}")  # type: ignore[assignment] # it is not async
    return {name: json.loads(value) for name, value in fields.items()}


def read(data: bytes | str, emsp: Emsp = NO_EMSP) -> list[Row | Unreadable]:
    """What an import finds in a file, whose format it has to find out."""
    given = data.encode() if isinstance(data, str) else data
    return list(json_rows.read_lines(io.BytesIO(given), "f", emsp=emsp))


def uids(rows: list[Row | Unreadable]) -> list[object]:
    return [row.data["uid"] if isinstance(row, Row) else row.reason for row in rows]


def many(count: int) -> list[dict[str, Any]]:
    return [ocpi(f"M{number}") for number in range(count)]
