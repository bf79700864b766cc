"""`csms-redis refused`: which stations knock and are turned away."""

from pathlib import Path
from time import time

import click
import orjson

from csms_redis.commands.exits import run_or_exit
from csms_redis.commands.inputs import config_option, read_settings
from csms_redis.commands.lists import Listed, Printed, list_options
from csms_redis.contract.queries import MAX_REFUSED
from csms_redis.contract.shown import RefusedStation
from csms_redis.registry.connected import connected
from csms_redis.registry.refused import RefusedStore, in_order, merged, shown_as
from csms_redis.settings import Settings

_COLUMNS = list(RefusedStation.model_fields)
_SPARED = ["firstRefused", "client", "lastRefused", "count"]


@click.group("refused")
def refused() -> None:
    """List the stations that are turned away.

    The service keeps the ids that it refused in the last 24 hours, the most frequent and the
    latest, in redis.url.
    """


@refused.command("list")
@list_options(_COLUMNS)
@config_option
def refused_list(listed: Listed, config: Path | None) -> None:
    """List ids that were refused, the most frequent first.

    An id is unknown, blocked, or malformed: one that no station can have. Ids that are registered
    by now are left out. What a service refused comes here some seconds later. To register one, use
    csms-redis station add --from-refused.
    """
    found = run_or_exit(find_refused(read_settings(config)))
    if listed.sort is not None:
        name = listed.sort
        found.sort(key=lambda one: one.get(name, ""), reverse=listed.reverse)
    printed = Printed(_COLUMNS, _SPARED, as_json=listed.as_json)
    for one in found[: listed.limit]:
        printed.add(orjson.dumps(one))
    printed.end()


async def find_refused(settings: Settings) -> list[dict[str, str | int]]:
    """The stations that would be refused now, as the API has them; the most frequent first."""
    async with connected(settings.redis) as redis:
        store = RefusedStore(redis, settings.redis.key_prefix.encode())
        every = in_order(merged(await store.read(), time()), "count")
        return [
            shown_as(one, reason) for one, reason in await store.with_reasons(every, MAX_REFUSED)
        ]
