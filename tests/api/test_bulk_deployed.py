"""`/bulk` however Redis is run: what is sent is stored, looked up and given again."""

import json
from typing import Any

from tests.conftest import DATA, Service
from tests.support.listed import TOKEN

HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak="
COUNT = 1200  # more than are stored together


def lines(service: Service, method: str, kind: str, *rows: object) -> list[dict[str, Any]]:
    body = "".join(f"{json.dumps(row)}\n" for row in rows).encode() if rows else None
    reply = service.request(
        method, f"/api/v0/bulk/{kind}", body, headers={"Content-Type": "application/jsonl"}
    )
    assert reply.status == 200, reply.body
    return [json.loads(line) for line in reply.body.splitlines()]


def test_every_kind(service: Service, redis: Any) -> None:
    del redis  # without a record
    pem = (DATA / "certificates" / "root-V2G-cert.pem").read_text()
    rows: dict[str, list[dict[str, Any]]] = {
        "stations": [{"csId": f"bulk {number}", "securityProfile": 2} for number in range(COUNT)],
        "tokens": [TOKEN | {"uid": f"BULK{number}"} for number in range(20)],
        "certificates": [{"certificate": pem}],
    }
    for kind, some in rows.items():
        told = lines(service, "POST", kind, *some)
        assert told[-1]["counts"]["written"] == len(some), told[-3:]
    for target in (f"/cs/bulk%20{COUNT - 1}/auth", "/token/BULK19", f"/certificate/{HASH}"):
        assert service.get(target).status == 200
    for kind, some in rows.items():
        *given, end = lines(service, "GET", kind)
        assert end == {"counts": {"written": len(some), "leftOut": 0}}
        assert len(given) == len(some)
    ids = {row["csId"] for row in lines(service, "GET", "stations")[:-1]}
    assert ids == {row["csId"] for row in rows["stations"]}
