"""What a load sends: changes of records, and lookups until one is answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import orjson

from tests.support.http_client import Answer
from tests.support.topologies.clients import ANSWER, Client, Pool
from tests.support.topologies.records import PROPERTY, Change, Record
from tests.support.topologies.seen import Outcome, State, Version
from tests.support.topologies.topology import Topology

REFUSED = "Nothing was changed"


def sender(
    record: Record, change: Change, version: int
) -> Callable[[Client], "asyncio.Future[Answer]"]:
    """What makes the change."""
    if change == "register":
        path, body = record.write(version)
        return lambda client: client.post(path, body)
    if change == "delete":
        return lambda client: client.delete(record.owner)
    status = {"registrationStatus": "Rejected" if change == "block" else "Accepted"}
    return lambda client: client.put(f"{record.owner}/registrationStatus", status)


def outcome_of(answer: Answer, change: Change) -> Outcome:
    """What the answer to a change says; what no service may answer says nothing."""
    if answer.status in ({201} if change == "register" else {204, 404}):
        return Outcome.ACKNOWLEDGED
    if answer.status == 503 and REFUSED.encode() in answer.body:
        return Outcome.REFUSED
    return Outcome.UNKNOWN


async def each_of(records: Iterable[Record], do: Callable[[Record], Awaitable[None]]) -> None:
    """Do something with each, some at a time."""
    left = iter(records)

    async def worker() -> None:
        for record in left:
            await do(record)

    await asyncio.gather(*(worker() for _ in range(16)))


def found_in_redis(topology: Topology, records: Iterable[Record]) -> dict[str, State]:
    """Read records from their masters."""
    by_key = {record.redis_key: record for record in records}
    found: dict[str, State] = {}
    for master, keys in topology.by_master(by_key).items():
        for at in range(0, len(keys), 1000):
            part = [by_key[key] for key in keys[at : at + 1000]]
            values = master.calls(
                *(
                    ("HMGET", record.redis_key, PROPERTY[record.kind], "registrationStatus")
                    for record in part
                )
            )
            for record, (value, status) in zip(part, values, strict=True):
                version = None if value is None else record.version(orjson.loads(value))
                found[record.path] = State(version, status == '"Rejected"')
    return found


async def read_record(pool: Pool, record: Record) -> Version:
    """Look a record up until there is an answer that says something.

    Raises:
        AssertionError: there is none in time.
    """
    deadline = time.monotonic() + ANSWER
    said = "nothing"
    while time.monotonic() < deadline:
        with suppress(OSError):
            _, answer = await pool.request(lambda client: client.get(record.path))
            if answer.status in {200, 404}:
                return record.answered(answer)
            said = str(answer.status)
        await asyncio.sleep(0.05)
    raise AssertionError(f"{pool.url}{record.path}: {said}")
