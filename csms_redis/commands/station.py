"""`csms-redis station`: charge stations, one at a time."""

import sys
from collections.abc import Mapping
from typing import Any, cast

import click

from csms_redis.commands.doubts import warn
from csms_redis.commands.exits import NOT_FOUND, exit_with, run_or_exit
from csms_redis.commands.ids import IdCommand
from csms_redis.commands.inputs import (
    PROFILE_HELP,
    SECURITY_PROFILE,
)
from csms_redis.commands.lists import Listed, list_options, list_records
from csms_redis.commands.passwords import Password, password_options
from csms_redis.commands.places import Place, Records, StationRecords
from csms_redis.commands.records import (
    EXIT_CODES,
    EXIT_CODES_BY_ID,
    RecordKind,
    add_record,
    change_record,
    change_records,
    find_ids,
    json_option,
    print_result,
    record_group,
    remove_record,
    replace_option,
    show_record,
)
from csms_redis.commands.refused import find_refused
from csms_redis.commands.selection import Selection, filter_options, selection_options
from csms_redis.commands.tables import printable
from csms_redis.commands.where import Where, where_options
from csms_redis.contract.doubts import Doubt, refuse_any
from csms_redis.contract.identifiers import station_id
from csms_redis.contract.models import ChargeStationAuth, RegistrationStatus
from csms_redis.contract.queries import StationQuery
from csms_redis.contract.shown import ChargeStation, ChargeStationSecurity
from csms_redis.contract.station_ids import check_station_id
from csms_redis.registry.resource import Record, Stored
from csms_redis.registry.stations import STATION, station_record
from csms_redis.rows.kinds import KINDS

_MOST_NAMED = 20  # ids in a sentence
_STATIONS = RecordKind(
    name="station",
    resource=STATION,
    rows=KINDS["stations"],
    records=lambda registry: registry.stations,
    id_property="csId",
    parse_id=station_id,
    query=StationQuery,
    columns=[
        column
        for name in ChargeStation.model_fields
        for column in (ChargeStationSecurity.model_fields if name == "auth" else [name])
    ],
    spared=["invalidUsernameAllowed", "lastUpdated", "securityProfile", "registrationStatus"],
)

station = record_group("station", "Add, show, list, change, block, allow or remove stations.")


@station.command("add", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@click.argument("cs_id", required=False)
@click.option(
    "--from-refused",
    is_flag=True,
    help="Only an id that was refused as unknown, as csms-redis refused list has it. Without a "
    "CS_ID, a terminal is asked which.",
)
@click.option(
    "--security-profile",
    type=SECURITY_PROFILE,
    default=1,
    show_default=True,
    help=PROFILE_HELP,
)
@password_options(asked_for=False)
@click.option("--invalid-username-allowed", is_flag=True, default=None)
@replace_option
@json_option
@where_options
def station_add(
    cs_id: str | None,
    from_refused: bool,
    security_profile: int,
    password: Password | None,
    invalid_username_allowed: bool | None,
    replace: bool,
    as_json: bool,
    where: Where,
) -> None:
    """Register a station.

    Only the hash of its password is kept. A station that is there already is not changed. With
    --replace the record is exactly what this command says: without a password it has none, and it
    becomes Pending, but a blocked one stays Rejected.
    """
    place = where.place()
    if from_refused:
        cs_id = _choose_refused(place, cs_id)
    elif cs_id is None:
        raise click.UsageError("say the station's id as CS_ID, or use --from-refused")

    def make() -> Record:
        about_id = check_station_id(
            cs_id, strict=place.api.strict, any_station_id=place.api.any_station_id
        )
        about_password = [] if password is None else list(password.doubts())
        if place.api.strict:
            refuse_any(about_password)
        properties = {
            "securityProfile": security_profile,
            "base64SHA256Password": password.hashed if password else None,
            "invalidUsernameAllowed": invalid_username_allowed,
        }
        auth = ChargeStationAuth.check(properties, strict=place.api.strict)
        warn((*about_id, *about_password, *auth.doubts()))
        return station_record(place.prefix, cs_id, auth, updated=place.now())

    written = add_record(_STATIONS, place, "registerChargeStation", cs_id, make, replacing=replace)
    text, status = f"station {printable(cs_id)} is added", "Pending"
    if written.stored is Stored.WITH_KEPT:
        text += "; it was blocked, and stays Rejected: to let it work, use csms-redis station allow"
        status = "Rejected"
    result: dict[str, Any] = {"csId": cs_id, "registrationStatus": status}
    if removed := [name for name in written.removed if name not in result]:
        text += f"\nremoved: {', '.join(map(printable, removed))}"
        result["removed"] = removed
    _print_with_password(text, result, password, as_json=as_json)


@station.command("show", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@click.argument("cs_id")
@json_option
@where_options
def station_show(cs_id: str, as_json: bool, where: Where) -> None:
    """Show a station, without its password."""

    async def doubts(records: Records, record_id: str) -> list[Doubt]:
        return await cast("StationRecords", records).doubts(record_id)

    show_record(_STATIONS, where.place(), cs_id, as_json=as_json, doubts=doubts)


@station.command("list", epilog=EXIT_CODES)
@filter_options
@list_options(_STATIONS.columns)
@where_options
def station_list(filters: Mapping[str, Any], listed: Listed, where: Where) -> None:
    """List stations, without their passwords."""
    list_records(_STATIONS, where.place(), filters, listed)


@station.command("set-password", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@click.argument("cs_id")
@password_options(asked_for=True)
@json_option
@where_options
def station_set_password(cs_id: str, password: Password, as_json: bool, where: Where) -> None:
    """Give a station a new password, and change nothing else.

    Without an option the password is asked for. Only its hash is kept. A station that is connected
    stays connected: gateways ask when it connects again. So let the station accept its new
    password first, over the connection that it has, and then use this command at once. If the
    station is not connected, or does not accept the new password, leave the old one.
    """
    place = where.place()
    doubts = list(password.doubts())
    if place.api.strict:
        run_or_exit(_refuse_any(doubts))
    warn(doubts)

    async def change(records: Records, record_id: str) -> bool:
        return await cast("StationRecords", records).set_password(record_id, password.hashed)

    operation = "setChargeStationPassword"
    change_record(_STATIONS, place, "set-password", operation, cs_id, change)
    text = f"station {printable(cs_id)} has its new password"
    _print_with_password(text, {"csId": cs_id}, password, as_json=as_json)


@station.command("block", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@selection_options
@json_option
@where_options
def station_block(selection: Selection, as_json: bool, where: Where) -> None:
    """Let no gateway find a station any more.

    Its registrationStatus becomes Rejected. Only allow, or the API, lifts the block. Many stations
    are blocked at once by their ids, by --from a file, or by filters, as --prefix depot-7-.
    """
    _set_status(selection, "Rejected", "block", where, as_json=as_json)


@station.command("allow", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@selection_options
@json_option
@where_options
def station_allow(selection: Selection, as_json: bool, where: Where) -> None:
    """Let a station work, even one that is blocked.

    Its registrationStatus becomes Accepted: OCPP's answer to the BootNotification of a station
    that may work. Many stations are allowed at once by their ids, by --from a file, or by filters.
    """
    _set_status(selection, "Accepted", "allow", where, as_json=as_json)


@station.command("remove", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@click.argument("cs_id")
@json_option
@where_options
def station_remove(cs_id: str, as_json: bool, where: Where) -> None:
    """Remove a station and its password."""
    remove_record(_STATIONS, where.place(), "deleteChargeStation", cs_id)
    print_result(f"station {printable(cs_id)} is removed", {"csId": cs_id}, as_json=as_json)


def _set_status(
    selection: Selection,
    status: RegistrationStatus,
    verb: str,
    where: Where,
    *,
    as_json: bool,
) -> None:
    place = where.place()

    async def change(records: Records, record_id: str) -> bool:
        return await cast("StationRecords", records).set_status(record_id, status)

    operation, audited_change = "setRegistrationStatus", {"registrationStatus": status}
    if selection.is_one and selection.ids:
        (cs_id,) = selection.ids
        change_record(_STATIONS, place, verb, operation, cs_id, change, audited_change)
        result = {"csId": cs_id, "registrationStatus": status}
        print_result(f"station {printable(cs_id)} is {status}", result, as_json=as_json)
        return
    ids = selection.ids
    if ids is None:
        ids = find_ids(_STATIONS, place, selection.filters)
        if not selection.yes:
            _ask(f"{verb} {len(ids)} stations?")
    missing = change_records(_STATIONS, place, verb, operation, ids, change, audited_change)
    changed = len(ids) - len(missing)
    text = f"{changed} stations are {status}"
    told: dict[str, Any] = {
        "registrationStatus": status,
        "changed": changed,
        "notFound": len(missing),
    }
    if missing:
        named = [printable(cs_id) for cs_id in missing[:_MOST_NAMED]]
        more = ", …" if len(missing) > len(named) else ""
        text += f"; {len(missing)} are not there: {', '.join(named)}{more}"
        told["missing"] = missing
    print_result(text, told, as_json=as_json)
    if missing:
        sys.exit(NOT_FOUND)


def _print_with_password(
    text: str, result: dict[str, Any], password: Password | None, *, as_json: bool
) -> None:
    """Print what was done, and the password if it was made here: this is the only time."""
    if password is not None and password.generated is not None:
        text += f"\npassword  {password.generated}"
        result["password"] = password.generated
    print_result(text, result, as_json=as_json)


async def _refuse_any(doubts: list[Doubt]) -> None:
    refuse_any(doubts)


def _choose_refused(place: Place, cs_id: str | None) -> str:
    """Find an id among those that were refused as unknown; ask for it, where none is given."""
    found = [
        one for one in run_or_exit(find_refused(place)) if one.get("reason", "unknown") == "unknown"
    ]
    ids = [str(one["csId"]) for one in found]
    if cs_id in ids:
        return cs_id
    if cs_id is not None:
        exit_with(
            "There is no such refused station, spelled so; csms-redis refused list has them.",
            NOT_FOUND,
        )
    if not ids:
        exit_with("no unknown station was refused lately", NOT_FOUND)
    if not sys.stdin.isatty():
        raise click.UsageError("there is nobody to ask: say which as CS_ID")
    for number, one in enumerate(found, 1):
        click.echo(f"{number:>4}  {printable(ids[number - 1])}  {one['lastRefused']}", err=True)
    number = click.prompt("Which one", type=click.IntRange(1, len(ids)), err=True)
    return ids[number - 1]


def _ask(question: str) -> None:
    """Ask a person, on standard error; end the process unless the answer is yes."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is nobody to ask: say --yes")
    click.confirm(question, abort=True, err=True)
