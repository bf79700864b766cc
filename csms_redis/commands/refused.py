"""`csms-redis refused`: which stations knock and are turned away."""

import click
import orjson

from csms_redis.commands.exits import run_or_exit
from csms_redis.commands.lists import Listed, Printed, list_options
from csms_redis.commands.places import Place
from csms_redis.commands.where import Where, where_options
from csms_redis.contract.shown import RefusedStation

_COLUMNS = list(RefusedStation.model_fields)
_MOST_CHARACTERS = 48  # of a malformed id in the table; no station has a longer one
_SPARED = ["firstRefused", "client", "lastRefused", "count"]


@click.group("refused")
def refused() -> None:
    """List the stations that are turned away.

    The service keeps the ids that it refused in the last 24 hours, the most frequent and the
    latest, in redis.url. With --server a service is asked over HTTP instead.
    """


@refused.command("list")
@list_options(_COLUMNS)
@where_options
def refused_list(listed: Listed, where: Where) -> None:
    """List ids that were refused, the most frequent first.

    An id is unknown, blocked, or malformed: one that no station can have. Ids that are registered
    by now are left out. What a service refused comes here some seconds later. To register one, use
    csms-redis station add --from-refused.
    """
    found = run_or_exit(find_refused(where.place()))
    if listed.sort is not None:
        name = listed.sort
        found.sort(key=lambda one: one.get(name, ""), reverse=listed.reverse)
    printed = Printed(_COLUMNS, _SPARED, as_json=listed.as_json)
    for one in found[: listed.limit]:
        cs_id = str(one["csId"])
        if (
            one.get("reason") == "malformed"
            and len(cs_id) > _MOST_CHARACTERS
            and not listed.as_json
        ):
            one["csId"] = cs_id[:_MOST_CHARACTERS] + "…"  # else one of them takes all columns' room
        printed.add(orjson.dumps(one))
    printed.end()


async def find_refused(place: Place) -> list[dict[str, str | int]]:
    """The stations that would be refused now, as the API has them; the most frequent first."""
    async with place.opened() as registry:
        return await registry.refused()
