"""`/bulk` however Redis is run: what is sent is stored, looked up and given again."""

from typing import Any

from tests.conftest import DATA, Service
from tests.support.bulk import given, sent
from tests.support.front_bytes import HASH
from tests.support.listed import TOKEN

BULK = "/api/v0/bulk/"
COUNT = 1200  # more than are stored together


def test_every_kind(service: Service, redis: Any) -> None:
    del redis  # without a record
    pem = (DATA / "certificates" / "root-V2G-cert.pem").read_text()
    rows: dict[str, list[dict[str, Any]]] = {
        "stations": [{"csId": f"bulk {number}", "securityProfile": 2} for number in range(COUNT)],
        "tokens": [TOKEN | {"uid": f"BULK{number}"} for number in range(20)],
        "certificates": [{"certificate": pem}],
    }
    for kind, some in rows.items():
        told = sent(service, *some, path=f"{BULK}{kind}")
        assert told[-1]["counts"]["written"] == len(some), told[-3:]
    for target in (f"/cs/bulk%20{COUNT - 1}/auth", "/token/BULK19", f"/certificate/{HASH}"):
        assert service.get(target).status == 200
    for kind, some in rows.items():
        *records, end = given(service, f"{BULK}{kind}")
        assert end == {"counts": {"written": len(some), "leftOut": 0}}
        assert len(records) == len(some)
    ids = {row["csId"] for row in given(service, f"{BULK}stations")[:-1]}
    assert ids == {row["csId"] for row in rows["stations"]}
