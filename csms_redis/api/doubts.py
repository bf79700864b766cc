"""Doubts about records that come over the API: each is counted, and told in the log."""

from collections import Counter
from collections.abc import Iterable

import structlog
from aiohttp import web

from csms_redis.contract.doubts import Doubt

DOUBTS = web.AppKey("doubts", Counter[Doubt])
"""How many records came with each doubt, whether they were stored or, by `strict`, refused."""

_log = structlog.get_logger()


def no_doubts() -> Counter[Doubt]:
    """Start with 0 for each doubt: Prometheus' `rate` misses a count that begins with 1."""
    return Counter(dict.fromkeys(Doubt, 0))


def tell(
    request: web.Request, called: str, record: dict[str, str], doubts: Iterable[Doubt]
) -> None:
    """Count the doubts about a record that is stored, and warn of each.

    Args:
        request: the request that brought the record.
        called: the kind of the record, as `station`.
        record: the record's id, by the name of its property.
        doubts: the doubts about the record.
    """
    for doubt in doubts:
        request.app[DOUBTS][doubt] += 1
        _log.warning(f"doubtful {called}", **record, doubt=doubt.value, reason=doubt.text)
