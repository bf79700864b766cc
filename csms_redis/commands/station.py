"""`csms-redis station`: charge stations, one at a time."""

from pathlib import Path
from typing import Any

import click

from csms_redis.access.secret import new_secret
from csms_redis.commands.doubts import warn
from csms_redis.commands.ids import IdCommand
from csms_redis.commands.inputs import (
    PROFILE_HELP,
    SECURITY_PROFILE,
    config_option,
    hex_option,
    read_password,
    read_settings,
)
from csms_redis.commands.records import (
    EXIT_CODES,
    EXIT_CODES_BY_ID,
    RecordKind,
    Records,
    add_record,
    change_record,
    json_lines_option,
    json_option,
    limit_option,
    list_records,
    print_result,
    record_group,
    remove_record,
    replace_option,
    show_record,
)
from csms_redis.commands.tables import printable
from csms_redis.contract.doubts import of_password, refuse_any
from csms_redis.contract.identifiers import station_id
from csms_redis.contract.models import (
    ChargeStation,
    ChargeStationAuth,
    ChargeStationSecurity,
    RegistrationStatus,
)
from csms_redis.contract.passwords import base64_sha256
from csms_redis.contract.queries import StationQuery
from csms_redis.contract.station_ids import check_station_id
from csms_redis.registry.resource import Record, Stored
from csms_redis.registry.stations import STATION, Stations, station_record

_STATIONS = RecordKind(
    name="station",
    resource=STATION,
    records=Stations,
    id_property="csId",
    parse_id=station_id,
    query=StationQuery,
    columns=[
        column
        for name in ChargeStation.model_fields
        for column in (ChargeStationSecurity.model_fields if name == "auth" else [name])
    ],
)

station = record_group("station", "Add, show, list, block, allow or remove stations.")


@station.command("add", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@click.argument("cs_id")
@click.option(
    "--security-profile",
    type=SECURITY_PROFILE,
    default=1,
    show_default=True,
    help=PROFILE_HELP,
)
@click.option("--generate-password", is_flag=True, help="Make a password, and print it this once.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@hex_option
@click.option("--invalid-username-allowed", is_flag=True, default=None)
@replace_option
@json_option
@config_option
def station_add(
    cs_id: str,
    security_profile: int,
    generate_password: bool,
    password_stdin: bool,
    in_hex: bool,
    invalid_username_allowed: bool | None,
    replace: bool,
    as_json: bool,
    config: Path | None,
) -> None:
    """Register a station.

    Only the hash of its password is kept. A station that is there already is not changed. With
    --replace the record is exactly what this command says: without a password it has none, and it
    becomes Pending, but a blocked one stays Rejected.
    """
    if generate_password and password_stdin:
        raise click.UsageError("--generate-password and --password-stdin exclude each other")
    if in_hex and not password_stdin:
        raise click.UsageError("--hex goes with --password-stdin")
    settings = read_settings(config)
    generated = new_secret() if generate_password else None
    password = (generated or "").encode()
    if password_stdin:
        password = read_password(in_hex=in_hex)

    def make() -> Record:
        about_id = check_station_id(
            cs_id, strict=settings.api.strict, any_station_id=settings.api.any_station_id
        )
        about_password = list(of_password(b"" if generated or in_hex else password))
        if settings.api.strict:
            refuse_any(about_password)
        properties = {
            "securityProfile": security_profile,
            "base64SHA256Password": base64_sha256(password) if password else None,
            "invalidUsernameAllowed": invalid_username_allowed,
        }
        auth = ChargeStationAuth.check(properties, strict=settings.api.strict)
        warn((*about_id, *about_password, *auth.doubts()))
        return station_record(settings.redis.key_prefix.encode(), cs_id, auth)

    written = add_record(
        _STATIONS, settings, "registerChargeStation", cs_id, make, replacing=replace
    )
    text, status = f"station {printable(cs_id)} is added", "Pending"
    if written.stored is Stored.WITH_KEPT:
        text += "; it was blocked, and stays Rejected: to let it work, use csms-redis station allow"
        status = "Rejected"
    result: dict[str, Any] = {"csId": cs_id, "registrationStatus": status}
    if removed := [name for name in written.removed if name not in result]:
        text += f"\nremoved: {', '.join(map(printable, removed))}"
        result["removed"] = removed
    if generated:
        text += f"\npassword  {generated}"
        result["password"] = generated
    print_result(text, result, as_json=as_json)


@station.command("show", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@click.argument("cs_id")
@json_option
@config_option
def station_show(cs_id: str, as_json: bool, config: Path | None) -> None:
    """Show a station, without its password."""
    show_record(_STATIONS, read_settings(config), cs_id, as_json=as_json)


@station.command("list", epilog=EXIT_CODES)
@click.option("--status", type=click.Choice(["Accepted", "Pending", "Rejected"]))
@click.option("--security-profile", type=SECURITY_PROFILE, help=PROFILE_HELP)
@click.option("--prefix", help="Only stations whose ids begin with this.")
@limit_option
@json_lines_option
@config_option
def station_list(
    status: str | None,
    security_profile: int | None,
    prefix: str | None,
    limit: int | None,
    as_json: bool,
    config: Path | None,
) -> None:
    """List stations, without their passwords."""
    filters = {
        "registrationStatus": status,
        "securityProfile": security_profile,
        "csIdPrefix": prefix,
    }
    list_records(_STATIONS, read_settings(config), filters, limit, as_json=as_json)


@station.command("block", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@click.argument("cs_id")
@json_option
@config_option
def station_block(cs_id: str, as_json: bool, config: Path | None) -> None:
    """Let no gateway find a station any more.

    Its registrationStatus becomes Rejected. Only allow, or the API, lifts the block.
    """
    _set_status(cs_id, "Rejected", "block", config, as_json=as_json)


@station.command("allow", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@click.argument("cs_id")
@json_option
@config_option
def station_allow(cs_id: str, as_json: bool, config: Path | None) -> None:
    """Let a station work, even one that is blocked.

    Its registrationStatus becomes Accepted: OCPP's answer to the BootNotification of a station
    that may work.
    """
    _set_status(cs_id, "Accepted", "allow", config, as_json=as_json)


@station.command("remove", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@click.argument("cs_id")
@json_option
@config_option
def station_remove(cs_id: str, as_json: bool, config: Path | None) -> None:
    """Remove a station and its password."""
    remove_record(_STATIONS, read_settings(config), "deleteChargeStation", cs_id)
    print_result(f"station {printable(cs_id)} is removed", {"csId": cs_id}, as_json=as_json)


def _set_status(
    cs_id: str, status: RegistrationStatus, verb: str, config: Path | None, *, as_json: bool
) -> None:
    async def change(records: Records, record_id: str) -> bool:
        assert isinstance(records, Stations)  # noqa: S101 the kind's own
        return await records.set_status(record_id, status)

    change_record(
        _STATIONS,
        read_settings(config),
        verb,
        "setRegistrationStatus",
        cs_id,
        change,
        {"registrationStatus": status},
    )
    result = {"csId": cs_id, "registrationStatus": status}
    print_result(f"station {printable(cs_id)} is {status}", result, as_json=as_json)
