"""The stations of the benchmark: `cs000000`, `cs000001` and so on, and what is known of them."""

import base64
import hashlib

import orjson
from redis import Redis, RedisCluster

PATTERN = "cs%06d"
UNKNOWN_PATTERN = "unknown%06d"
_BATCH = 1000


def password(number: int) -> str:
    """A station's `base64SHA256Password`, 44 characters."""
    return base64.b64encode(hashlib.sha256(b"%d" % number).digest()).decode()


def auth(number: int) -> bytes:
    """A station's credentials as the lookup answers them."""
    return orjson.dumps({"securityProfile": 1, "base64SHA256Password": password(number)})


def is_auth(number: int, status: int, body: bytes) -> bool:
    """Whether an answer has the station's credentials."""
    return status == 200 and password(number).encode() in body and b"securityProfile" in body


def is_constant_auth(_: int, status: int, body: bytes) -> bool:
    """Whether an answer has the credentials of the first station, whichever was asked for."""
    return is_auth(0, status, body)


def is_written_auth(number: int, status: int, body: bytes) -> bool:
    """Whether an answer has the station's credentials or those that the mixed load writes."""
    return is_auth(number, status, body) or is_auth(0, status, body)


def store(redis: Redis | RedisCluster, *, first: int, count: int) -> None:
    """Write stations in the storage layout: a hash per station, each field's value is JSON."""
    for start in range(first, first + count, _BATCH):
        pipeline = redis.pipeline(transaction=False)
        for number in range(start, min(start + _BATCH, first + count)):
            pipeline.hset(
                f"cs:{PATTERN % number}",
                mapping={
                    "securityProfile": b"1",
                    "base64SHA256Password": orjson.dumps(password(number)),
                    "registrationStatus": b'"Pending"',
                    "lastUpdated": b'"2026-01-01T00:00:00Z"',
                },
            )
        pipeline.execute()
