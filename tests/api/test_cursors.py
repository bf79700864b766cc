"""The cursors of listings, each of its own listing, and pages while records change."""

import base64
import random
import struct
import threading
import time
import zlib
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.walking import listed, next_target
from tests.conftest import (
    API,
    Service,
    StartService,
    Valkey,
    wait_for,
)
from tests.support.listed import NO_CURSOR, add, flush


def first_cursor(service: Service, query: str = "limit=5") -> str:
    """The cursor of the second page of stations."""
    target = next_target(service.get(f"/cs?{query}"), "/")
    assert target
    return target.rpartition("cursor=")[2]


def test_a_cursor_is_of_its_own_listing(service: Service, stations: dict[str, int]) -> None:
    """Not of another kind's, nor with other filters; another limit is fine."""
    del stations
    cursor = first_cursor(service)
    filtered = first_cursor(service, "limit=5&securityProfile=1")

    assert service.get(f"/cs?limit=7&cursor={cursor}").status == 200
    assert service.get(f"/cs?securityProfile=1&cursor={filtered}").status == 200
    for path in (
        f"/token?cursor={cursor}",
        f"/certificate?cursor={cursor}",
        f"/cs?securityProfile=1&cursor={cursor}",
        f"/cs?cursor={filtered}",
        f"/cs?securityProfile=2&cursor={filtered}",
    ):
        reply = service.get(path)
        assert (reply.status, reply.error) == (400, NO_CURSOR)


def raw_cursor(cursor: str) -> bytes:
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


def written(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


fuzz = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@fuzz
@given(data=st.data())
def test_a_cursor_that_was_tampered_with(
    service: Service, stations: dict[str, int], data: st.DataObject
) -> None:
    """Is 400, whatever was done to it."""
    del stations
    cursor = first_cursor(service, "limit=1")
    # a cursor's length is the server's business, and what is drawn must not depend on it
    at = data.draw(st.integers(0, 2**16)) % len(cursor)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    character = data.draw(st.sampled_from(alphabet))
    tampered = data.draw(
        st.sampled_from(
            [
                cursor[:at] + character + cursor[at + 1 :],
                cursor[:at],
                cursor + cursor[: at + 1],
                cursor[:at] + character + cursor[at:],
                cursor[at:],
            ]
        )
    )

    reply = service.get(f"/cs?cursor={tampered}")

    assert reply.status == (200 if tampered == cursor else 400)


@fuzz
@given(
    master=st.integers(0, 2**16 - 1),
    scanned=st.integers(0, 2**64 - 1),
    skip=st.integers(0, 2**32 - 1),
    seen=st.binary(max_size=32),
)
def test_a_cursor_that_was_made_by_someone(
    service: Service, stations: dict[str, int], master: int, scanned: int, skip: int, seen: bytes
) -> None:
    """Even with a checksum that is right: a page from somewhere, or 400."""
    head = raw_cursor(first_cursor(service))[4 : 4 + 1 + 8 + 12]
    body = head + struct.pack(">HQH", master, scanned, skip % 2**16) + seen
    began = time.monotonic()

    reply = service.get(f"/cs?cursor={written(struct.pack('>I', zlib.crc32(body)) + body)}")

    assert reply.status in {200, 400}
    if reply.status == 200:
        assert {one["csId"] for one in reply.json} <= stations.keys()
    assert time.monotonic() - began < 2


@fuzz
@given(text=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1))
def test_any_text_as_cursor(service: Service, text: str) -> None:
    assert service.get(f"/cs?cursor={text}").status == 400


def test_all_who_stay_are_listed_while_others_come_and_go(service: Service, redis: Any) -> None:
    """Thousands that come and go, so that Redis's table grows and shrinks under the listing."""
    flush(redis)
    stay = {f"stay-{number}" for number in range(1000)}
    for cs_id in stay:
        add(redis, f"cs:{cs_id}", {"securityProfile": "2"})
    ended = threading.Event()
    turns = Counter[str]()

    def churn() -> None:
        while not ended.is_set():
            size = random.Random(turns["churn"]).choice([200, 2000, 5000])
            for number in range(size):
                add(redis, f"cs:go-{number}", {"securityProfile": "2"})
                if ended.is_set():
                    break
            for number in range(size):
                redis.delete(f"cs:go-{number}")
            turns["churn"] += 1

    worker = threading.Thread(target=churn)
    worker.start()
    try:
        for limit in (100, 20, 7, 100):
            found = {one["csId"] for one in listed(service, "/cs", {"limit": limit})}
            assert stay - found == set()
            turns["listings"] += 1
    finally:
        ended.set()
        worker.join()
        flush(redis)
    assert turns["listings"] == 4


def test_a_record_that_is_deleted_meanwhile_is_left_out(
    service: Service, stations: dict[str, int], redis: Any
) -> None:
    """Not shown as half a record, and it ends nothing."""
    first = service.get("/cs?limit=5")
    gone = "list-000"
    kept = redis.hgetall(f"cs:{gone}")
    redis.delete(f"cs:{gone}")
    try:
        target = next_target(first, f"{API}/cs")
        found = {one["csId"] for one in first.json}
        while target:
            page = service.request("GET", target)
            found |= {one["csId"] for one in page.json}
            target = next_target(page, target)
    finally:
        redis.hset(f"cs:{gone}", mapping=kept)

    assert found - {gone} == stations.keys() - {gone}


def test_redis_is_restarted_between_two_pages(start_service: StartService, valkey: Valkey) -> None:
    """503 as long as it is away, then 410: records could be missed, so start again."""
    service = start_service(redis__url=valkey.url)
    wait_for(lambda: service.post("/cs/cs0", {"securityProfile": 2}).status == 201, "a write")
    for number in range(1, 30):
        assert service.post(f"/cs/cs{number}", {"securityProfile": 2}).status == 201
    target = next_target(service.get("/cs?limit=5"), f"{API}/cs")
    assert target is not None
    assert service.request("GET", target).status == 200
    valkey.kill()
    away = service.request("GET", target)
    assert (away.status, away.headers["Retry-After"]) == (503, "1")
    valkey.start()
    wait_for(lambda: service.get("/cs").status == 200, "Redis is reached")

    gone = service.request("GET", target)

    assert gone.status == 410
    assert gone.error.endswith("Start again without a cursor.")
    assert "Link" not in gone.headers
    assert service.request("GET", target).status == 410
    assert service.get("/cs").json == []
