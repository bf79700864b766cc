"""`csms-redis token`: authorization tokens, one at a time."""

from typing import Any

import click

from csms_redis.commands.doubts import warn
from csms_redis.commands.ids import IdCommand
from csms_redis.commands.lists import Listed, list_options, list_records
from csms_redis.commands.records import (
    EXIT_CODES,
    EXIT_CODES_BY_ID,
    RecordKind,
    add_record,
    json_option,
    print_result,
    record_group,
    remove_record,
    replace_option,
    show_record,
)
from csms_redis.commands.tables import printable
from csms_redis.commands.where import Where, where_options
from csms_redis.contract.identifiers import token_uid
from csms_redis.contract.models import Token
from csms_redis.contract.queries import TokenQuery
from csms_redis.registry.resource import Record
from csms_redis.registry.tokens import TOKEN, token_record
from csms_redis.rows.kinds import KINDS

_TOKENS = RecordKind(
    name="token",
    resource=TOKEN,
    rows=KINDS["tokens"],
    records=lambda registry: registry.tokens,
    id_property="uid",
    parse_id=token_uid,
    query=TokenQuery,
    columns=["uid", "type", "contractId", "issuer", "groupId", "valid", "lastUpdated"],
    spared=["lastUpdated", "groupId", "issuer", "type", "contractId", "valid"],
)

token = record_group("token", "Add, show, list or remove tokens.")


@token.command("add", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@click.argument("uid")
@click.option("--country-code", required=True, help="The eMSP's country, as DE.")
@click.option("--party-id", required=True, help="The eMSP's party id, as TNM.")
@click.option("--contract-id", required=True, help="An eMAID is normalised.")
@click.option("--issuer", required=True)
@click.option("--type", default="RFID", show_default=True)
@click.option("--cache-mode", default="ALWAYS", show_default=True)
@click.option("--valid/--not-valid", default=True, show_default=True)
@click.option("--visual-number")
@click.option("--group-id")
@click.option("--language-code")
@replace_option
@json_option
@where_options
def token_add(uid: str, replace: bool, as_json: bool, where: Where, **properties: Any) -> None:
    """Set a token.

    A token that is there already is not changed. With --replace the record is exactly what this
    command says.
    """
    place = where.place()

    def make() -> Record:
        given = {_camel_case(name): value for name, value in properties.items()} | {"uid": uid}
        checked = Token.check(given, strict=place.api.strict)
        warn(checked.doubts())
        return token_record(place.prefix, checked, updated=place.now())

    written = add_record(_TOKENS, place, "setToken", uid, make, replacing=replace)
    text = f"token {printable(uid)} is added"
    result: dict[str, Any] = {"uid": uid}
    if written.removed:
        text += f"\nremoved: {', '.join(map(printable, written.removed))}"
        result["removed"] = written.removed
    print_result(text, result, as_json=as_json)


@token.command("show", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@click.argument("uid")
@json_option
@where_options
def token_show(uid: str, as_json: bool, where: Where) -> None:
    """Show a token; the case of its UID does not matter."""
    show_record(_TOKENS, where.place(), uid, as_json=as_json)


@token.command("list", epilog=EXIT_CODES)
@click.option("--group-id")
@click.option("--contract-id")
@click.option("--valid/--not-valid", default=None)
@list_options(_TOKENS.columns)
@where_options
def token_list(
    group_id: str | None,
    contract_id: str | None,
    valid: bool | None,
    listed: Listed,
    where: Where,
) -> None:
    """List tokens."""
    filters = {"groupId": group_id, "contractId": contract_id, "valid": valid}
    list_records(_TOKENS, where.place(), filters, listed)


@token.command("remove", cls=IdCommand, epilog=EXIT_CODES_BY_ID)
@click.argument("uid")
@json_option
@where_options
def token_remove(uid: str, as_json: bool, where: Where) -> None:
    """Remove a token; the case of its UID does not matter."""
    remove_record(_TOKENS, where.place(), "deleteToken", uid)
    print_result(f"token {printable(uid)} is removed", {"uid": uid}, as_json=as_json)


def _camel_case(option: str) -> str:
    """The property's name for an option's, as countryCode for country_code."""
    first, *rest = option.split("_")
    return first + "".join(word.title() for word in rest)
