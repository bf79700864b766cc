"""What `/bulk` answers."""

import json
from typing import Any

from tests.conftest import Reply, Service

STATIONS = "/api/v0/bulk/stations"
LINES = {"Content-Type": "application/jsonl"}


def sent(service: Service, *rows: object, path: str = STATIONS) -> list[dict[str, Any]]:
    """What is answered to rows; a text goes as it is."""
    body = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    return answered(service, body.encode(), path)


def answered(service: Service, body: bytes, path: str = STATIONS) -> list[dict[str, Any]]:
    """What is answered to a body."""
    return _lines(service.request("POST", path, body, headers=LINES))


def given(service: Service, path: str) -> list[dict[str, Any]]:
    """All records of a kind, and the last line."""
    return _lines(service.request("GET", path))


def _lines(reply: Reply) -> list[dict[str, Any]]:
    assert reply.status == 200, reply.body
    assert reply.headers["Content-Type"] == "application/jsonl"
    return [json.loads(line) for line in reply.body.splitlines()]
