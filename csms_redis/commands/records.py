"""`csms-redis station`, `token` and `certificate`: single records, for people at a terminal."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from csms_redis.access.secret import new_secret
from csms_redis.commands.audit import audited
from csms_redis.commands.common import config_option, fail, finish, read_password, read_settings
from csms_redis.contract.certificates import InvalidCertificate, certificate_hash, read_pem
from csms_redis.contract.errors import BadRequest, Conflict, Gone, NotFound, Problem, Unavailable
from csms_redis.contract.identifiers import station_id, token_uid
from csms_redis.contract.models import (
    Certificate,
    ChargeStation,
    ChargeStationAuth,
    ChargeStationSecurity,
    RegistrationStatus,
    Token,
)
from csms_redis.contract.passwords import base64_sha256
from csms_redis.contract.queries import (
    MAX_LIMIT,
    CertificateQuery,
    Query,
    StationQuery,
    TokenQuery,
)
from csms_redis.contract.station_ids import check_station_id
from csms_redis.fleet.store import pauses, store
from csms_redis.redis.client import RedisClient
from csms_redis.registry.certificates import CERTIFICATE, Certificates
from csms_redis.registry.listing import Page
from csms_redis.registry.resource import Record, replace, replace_all
from csms_redis.registry.stations import STATION, Stations, station_record
from csms_redis.registry.tokens import TOKEN, Tokens, token_record
from csms_redis.settings import Settings

_WRONG, _NOT_FOUND, _THERE_ALREADY = 2, 3, 4  # exit codes
_TABLE = 1000  # rows, which are held until their widths are known
_MOST_GIVEN = 200  # characters

_CODES = """
\b
Exit codes:
  0  it is done
  1  settings or Redis do not let it be done
  2  the command line or a value is wrong
  3  there is no such record
  4  there is one already (add without --replace)
"""

_DASH = "An id that begins with - goes after --."
_CODES_OF_ONE = f"{_DASH}\n{_CODES}"

_AUTH = "auth"
_STATION = [
    each
    for name in ChargeStation.model_fields
    for each in (ChargeStationSecurity.model_fields if name == _AUTH else [name])
]
_SHORT_TOKEN = ["uid", "type", "contractId", "issuer", "groupId", "valid", "lastUpdated"]
_SHORT_CERTIFICATE = ["certificateHash", "subject", "issuer", "notAfter"]

Change: TypeAlias = Callable[[RedisClient, bytes], Awaitable[bool]]
"""Changes a record in Redis, below a prefix; whether there was one to be changed."""

Read: TypeAlias = Callable[[RedisClient, bytes], Awaitable[bytes | None]]
"""Reads a record, as JSON."""

List: TypeAlias = Callable[[RedisClient, bytes, str | None], Awaitable[Page]]
"""Reads a page that begins at a cursor."""

_json = click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
_all_json = click.option("--json", "as_json", is_flag=True, help="JSON Lines for scripts.")
_replace = click.option("--replace", is_flag=True, help="Also where there is one already.")
_limit = click.option(
    "--limit",
    type=click.IntRange(1),
    help=f"The most records; default: {_TABLE} in a table, all with --json.",
)


class _OfOne(click.Command):
    """A command about one record, by its id."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Tell where an id goes that looks like an option."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name.startswith("--"):
                raise
            message = f"{error.message} {_DASH}"
            raise click.NoSuchOption(error.option_name, message, ctx=ctx) from None


class _OfCertificate(_OfOne):
    """As that, by a certificate's hash: one in 64 begins with a dash."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what is a hash for no option; no option is one."""
        hashes = [each for each in args if each.startswith("-") and certificate_hash(each)]
        if hashes and "--" not in args:
            args = [*(each for each in args if each not in hashes), "--", *hashes]
        return super().parse_args(ctx, args)


class _ThereAlready(Problem):
    """A record is not to be replaced."""


@click.group("station", epilog=_CODES)
def station() -> None:
    """Add, show, list, block, allow or remove stations.

    They are those of redis.url; of the embedded store whether or not the service runs. Each change
    and each refused one is a line of the log on standard error.
    """


@click.group("token", epilog=_CODES)
def token() -> None:
    """Add, show, list or remove tokens.

    They are those of redis.url; of the embedded store whether or not the service runs. Each change
    and each refused one is a line of the log on standard error.
    """


@click.group("certificate", epilog=_CODES)
def certificate() -> None:
    """Add, show, list or remove client certificates.

    They are those of redis.url; of the embedded store whether or not the service runs. Each change
    and each refused one is a line of the log on standard error.
    """


@station.command("add", cls=_OfOne, epilog=_CODES_OF_ONE)
@click.argument("cs_id")
@click.option(
    "--security-profile",
    type=click.IntRange(0, 2),
    default=1,
    show_default=True,
    help="OCPP's: 0 and 1 with a password, 2 with a client certificate.",
)
@click.option("--generate-password", is_flag=True, help="Make a password, and print it this once.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--invalid-username-allowed", is_flag=True, default=None)
@_replace
@_json
@config_option
def station_add(  # noqa: PLR0913, PLR0917 one for each option
    cs_id: str,
    security_profile: int,
    generate_password: bool,  # noqa: FBT001
    password_stdin: bool,  # noqa: FBT001
    invalid_username_allowed: bool | None,  # noqa: FBT001
    replace: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    config: Path | None,
) -> None:
    """Register a station.

    Only the hash of its password is kept. A replaced one is Pending, or Rejected if it was blocked.
    """
    if generate_password and password_stdin:
        raise click.UsageError("--generate-password and --password-stdin exclude each other")
    settings = read_settings(config)
    generated = new_secret() if generate_password else None
    password = read_password() if password_stdin else (generated or "").encode()

    def record(told: dict[str, Any]) -> Record:
        known = station_id(cs_id)
        told.update(_told("csId", known, cs_id))
        doubts = check_station_id(
            cs_id, strict=settings.api.strict, any_station_id=settings.api.any_station_id
        )
        properties = {
            "securityProfile": security_profile,
            "base64SHA256Password": base64_sha256(password) if password else None,
            "invalidUsernameAllowed": invalid_username_allowed,
        }
        auth = ChargeStationAuth.check(properties, strict=settings.api.strict)
        for doubt in (*doubts, *auth.doubts()):
            click.echo(f"warning: {doubt}", err=True)
        return station_record(settings.redis.key_prefix.encode(), cs_id, auth)

    _add(settings, "station add", "registerChargeStation", record, replacing=replace)
    _say(
        f"station {_plain(cs_id)} is added" + (f"\npassword  {generated}" if generated else ""),
        {"csId": cs_id} | ({"password": generated} if generated else {}),
        as_json=as_json,
    )


@station.command("show", cls=_OfOne, epilog=_CODES_OF_ONE)
@click.argument("cs_id")
@_json
@config_option
def station_show(cs_id: str, as_json: bool, config: Path | None) -> None:  # noqa: FBT001
    """Show what is known of a station, without its password."""
    _show(
        read_settings(config),
        station_id(cs_id),
        lambda redis, prefix: Stations(redis, prefix).get(cs_id),
        STATION.not_found,
        as_json=as_json,
    )


@station.command("list", epilog=_CODES)
@click.option("--status", type=click.Choice(["Accepted", "Pending", "Rejected"]))
@click.option("--security-profile", type=click.IntRange(0, 2))
@click.option("--prefix", help="Of the ids.")
@_limit
@_all_json
@config_option
def station_list(  # noqa: PLR0913, PLR0917 one for each option
    status: str | None,
    security_profile: int | None,
    prefix: str | None,
    limit: int | None,
    as_json: bool,  # noqa: FBT001
    config: Path | None,
) -> None:
    """List stations, without their passwords."""
    filters = {
        "registrationStatus": status,
        "securityProfile": security_profile,
        "csIdPrefix": prefix,
    }

    async def page(redis: RedisClient, start: bytes, cursor: str | None) -> Page:
        return await Stations(redis, start).page(_query(StationQuery, filters, cursor))

    _list(read_settings(config), page, _STATION, limit, as_json=as_json)


@station.command("block", cls=_OfOne, epilog=_CODES_OF_ONE)
@click.argument("cs_id")
@_json
@config_option
def station_block(cs_id: str, as_json: bool, config: Path | None) -> None:  # noqa: FBT001
    """Let no gateway find a station any more.

    Its registrationStatus becomes Rejected. Only allow, or the API, lifts it.
    """
    _set_status(cs_id, "Rejected", "block", config, as_json=as_json)


@station.command("allow", cls=_OfOne, epilog=_CODES_OF_ONE)
@click.argument("cs_id")
@_json
@config_option
def station_allow(cs_id: str, as_json: bool, config: Path | None) -> None:  # noqa: FBT001
    """Let a station work, a blocked one too.

    Its registrationStatus becomes Accepted, what OCPP answers the BootNotification of a station
    that may work.
    """
    _set_status(cs_id, "Accepted", "allow", config, as_json=as_json)


def _set_status(
    cs_id: str, status: RegistrationStatus, word: str, config: Path | None, *, as_json: bool
) -> None:
    known = station_id(cs_id)
    _change(
        read_settings(config),
        f"station {word}",
        "setRegistrationStatus",
        known,
        _told("csId", known, cs_id) | {"registrationStatus": status},
        lambda redis, prefix: Stations(redis, prefix).set_status(cs_id, status),
        STATION.not_found,
    )
    said = {"csId": cs_id, "registrationStatus": status}
    _say(f"station {_plain(cs_id)} is {status}", said, as_json=as_json)


@station.command("remove", cls=_OfOne, epilog=_CODES_OF_ONE)
@click.argument("cs_id")
@_json
@config_option
def station_remove(cs_id: str, as_json: bool, config: Path | None) -> None:  # noqa: FBT001
    """Remove a station and its password."""
    known = station_id(cs_id)
    _change(
        read_settings(config),
        "station remove",
        "deleteChargeStation",
        known,
        _told("csId", known, cs_id),
        lambda redis, prefix: Stations(redis, prefix).delete(cs_id),
        STATION.not_found,
    )
    _say(f"station {_plain(cs_id)} is removed", {"csId": cs_id}, as_json=as_json)


@token.command("add", cls=_OfOne, epilog=_CODES_OF_ONE)
@click.argument("uid")
@click.option("--country-code", required=True, help="Of the eMSP, as DE.")
@click.option("--party-id", required=True, help="Of the eMSP, as TNM.")
@click.option("--contract-id", required=True, help="An eMAID is normalised.")
@click.option("--issuer", required=True)
@click.option("--type", "type_", default="RFID", show_default=True)
@click.option("--cache-mode", default="ALWAYS", show_default=True)
@click.option("--valid/--not-valid", default=True, show_default=True)
@click.option("--visual-number")
@click.option("--group-id")
@click.option("--language-code")
@_replace
@_json
@config_option
def token_add(
    uid: str,
    replace: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    config: Path | None,
    **options: Any,
) -> None:
    """Set a token."""
    settings = read_settings(config)

    def record(told: dict[str, Any]) -> Record:
        told.update(_told("uid", token_uid(uid), uid))
        properties = {_camel(name): value for name, value in options.items()} | {"uid": uid}
        made = Token.check(properties, strict=settings.api.strict)
        return token_record(settings.redis.key_prefix.encode(), made)

    _add(settings, "token add", "setToken", record, replacing=replace)
    _say(f"token {_plain(uid)} is added", {"uid": uid}, as_json=as_json)


@token.command("show", cls=_OfOne, epilog=_CODES_OF_ONE)
@click.argument("uid")
@_json
@config_option
def token_show(uid: str, as_json: bool, config: Path | None) -> None:  # noqa: FBT001
    """Show a token; the case of its UID does not matter."""
    known = token_uid(uid)
    _show(
        read_settings(config),
        known,
        lambda redis, prefix: Tokens(redis, prefix).get(known or ""),
        TOKEN.not_found,
        as_json=as_json,
    )


@token.command("list", epilog=_CODES)
@click.option("--group-id")
@click.option("--contract-id")
@click.option("--valid/--not-valid", default=None)
@_limit
@_all_json
@config_option
def token_list(  # noqa: PLR0913, PLR0917 one for each option
    group_id: str | None,
    contract_id: str | None,
    valid: bool | None,  # noqa: FBT001
    limit: int | None,
    as_json: bool,  # noqa: FBT001
    config: Path | None,
) -> None:
    """List tokens."""
    filters = {"groupId": group_id, "contractId": contract_id, "valid": valid}

    async def page(redis: RedisClient, start: bytes, cursor: str | None) -> Page:
        return await Tokens(redis, start).page(_query(TokenQuery, filters, cursor))

    _list(read_settings(config), page, _SHORT_TOKEN, limit, as_json=as_json)


@token.command("remove", cls=_OfOne, epilog=_CODES_OF_ONE)
@click.argument("uid")
@_json
@config_option
def token_remove(uid: str, as_json: bool, config: Path | None) -> None:  # noqa: FBT001
    """Remove a token; the case of its UID does not matter."""
    known = token_uid(uid)
    _change(
        read_settings(config),
        "token remove",
        "deleteToken",
        known,
        _told("uid", known, uid),
        lambda redis, prefix: Tokens(redis, prefix).delete(known or ""),
        TOKEN.not_found,
    )
    _say(f"token {_plain(uid)} is removed", {"uid": uid}, as_json=as_json)


@certificate.command("add", epilog=_CODES)
@click.argument("file", type=click.File("r", encoding="utf-8", errors="replace"))
@_json
@config_option
def certificate_add(file: Any, as_json: bool, config: Path | None) -> None:  # noqa: FBT001
    """Keep the certificate in a PEM FILE, '-' for standard input.

    Its hash is printed, by which it is looked up. A certificate that is there stays.
    """
    settings = read_settings(config)
    text = file.read()
    kept = ""

    def record(told: dict[str, Any]) -> Callable[[RedisClient, bytes], Awaitable[None]]:
        nonlocal kept
        given = Certificate.check({"certificate": text}, strict=settings.api.strict)
        try:
            read = read_pem(given.certificate)
        except InvalidCertificate as error:
            raise BadRequest(f"certificate: {error}.") from None
        kept = told["certificateHash"] = read.hash
        return lambda redis, prefix: Certificates(redis, prefix).upload(read)

    async def add() -> None:
        with audited(settings, "certificate add", "uploadCertificate") as told:
            upload = record(told)
            async with store(settings.redis) as redis:
                await upload(redis, settings.redis.key_prefix.encode())

    _finish(add)
    _say(f"certificate {kept} is added", {"certificateHash": kept}, as_json=as_json)


@certificate.command("show", cls=_OfCertificate, epilog=_CODES)
@click.argument("hash_", metavar="HASH")
@_json
@config_option
def certificate_show(hash_: str, as_json: bool, config: Path | None) -> None:  # noqa: FBT001
    """Show what a certificate says of itself, by its HASH in any spelling."""
    known = certificate_hash(hash_)
    _show(
        read_settings(config),
        known,
        lambda redis, prefix: Certificates(redis, prefix).get(known or ""),
        CERTIFICATE.not_found,
        as_json=as_json,
    )


@certificate.command("list", epilog=_CODES)
@click.option("--expires-before", help="A date-time, as 2027-01-01T00:00:00Z.")
@_limit
@_all_json
@config_option
def certificate_list(
    expires_before: str | None,
    limit: int | None,
    as_json: bool,  # noqa: FBT001
    config: Path | None,
) -> None:
    """List what certificates say of themselves."""
    filters = {"expiresBefore": expires_before}

    async def page(redis: RedisClient, start: bytes, cursor: str | None) -> Page:
        return await Certificates(redis, start).page(_query(CertificateQuery, filters, cursor))

    _list(read_settings(config), page, _SHORT_CERTIFICATE, limit, as_json=as_json)


@certificate.command("remove", cls=_OfCertificate, epilog=_CODES)
@click.argument("hash_", metavar="HASH")
@_json
@config_option
def certificate_remove(hash_: str, as_json: bool, config: Path | None) -> None:  # noqa: FBT001
    """Remove a certificate, by its HASH in any spelling."""
    known = certificate_hash(hash_)
    _change(
        read_settings(config),
        "certificate remove",
        "deleteCertificate",
        known,
        {} if known is None else {"certificateHash": known},  # or it may be a key
        lambda redis, prefix: Certificates(redis, prefix).delete(known or ""),
        CERTIFICATE.not_found,
    )
    _say(f"certificate {known} is removed", {"certificateHash": known}, as_json=as_json)


def _add(
    settings: Settings,
    command: str,
    operation: str,
    make: Callable[[dict[str, Any]], Record],
    *,
    replacing: bool,
) -> None:
    """Store a record that `make` checks and gives, after it has told which one."""

    async def add() -> None:
        with audited(settings, command, operation) as told:
            record = make(told)
            async with store(settings.redis) as redis:
                if replacing:
                    await replace(redis, record)
                    return
                (stored,) = await replace_all(redis, [record], only_new=True)
                if isinstance(stored, Problem):
                    raise stored
                if not stored:
                    raise _ThereAlready("There is one already; --replace puts this in its place.")

    _finish(add)


def _change(  # noqa: PLR0913, PLR0917 what is changed, and how
    settings: Settings,
    command: str,
    operation: str,
    record_id: str | None,
    record: dict[str, str],
    change: Change,
    not_found: str,
) -> None:
    """Change a record that is there; an id that is None is one that no record can have."""

    async def work() -> None:
        with audited(settings, command, operation) as told:
            told.update(record)
            if record_id is None:
                raise NotFound(not_found)
            async with store(settings.redis) as redis:
                if not await change(redis, settings.redis.key_prefix.encode()):
                    raise NotFound(not_found)

    _finish(work)


def _told(name: str, known: str | None, given: str) -> dict[str, str]:
    """What the audit says of which record it is: its id, else what was given as one."""
    return {"given": given[:_MOST_GIVEN]} if known is None else {name: known}


def _show(
    settings: Settings, record_id: str | None, read: Read, not_found: str, *, as_json: bool
) -> None:
    found: bytes | None = None

    async def work() -> None:
        nonlocal found
        if record_id is not None:
            async with store(settings.redis) as redis:
                found = await read(redis, settings.redis.key_prefix.encode())
        if found is None:
            raise NotFound(not_found)

    _finish(work)
    assert found is not None  # noqa: S101 or it would have ended
    if as_json:
        click.echo(found)
        return
    table = _table(["", ""], header=False)
    for name, value in _flat(found).items():
        table.add_row(Text(name), _cell(value))
    _print(table)


def _list(
    settings: Settings, page: List, columns: Sequence[str], limit: int | None, *, as_json: bool
) -> None:
    most = limit or (None if as_json else _TABLE)
    table = _table(columns)
    more = False

    async def work() -> None:
        nonlocal more
        number = 0
        async with store(settings.redis) as redis:
            async for record in _records(redis, settings.redis.key_prefix.encode(), page):
                if number == most:
                    more = True
                    return
                number += 1
                if as_json:
                    sys.stdout.buffer.write(record + b"\n")
                else:
                    values = _flat(record)
                    table.add_row(*(_cell(values.get(column)) for column in columns))

    _finish(work)
    if as_json:
        sys.stdout.buffer.flush()
    else:
        _print(table)
    if more and limit is None:
        click.echo(f"there are more than {most}: --limit or --json shows them", err=True)


async def _records(redis: RedisClient, prefix: bytes, page: List) -> AsyncIterator[bytes]:
    """The records of all pages, each once, also where masters change meanwhile."""
    given: set[bytes] = set()
    waiting = pauses()
    cursor = None
    while True:
        try:
            found = await page(redis, prefix, cursor)
        except (Gone, Unavailable) as failure:
            lasting = isinstance(failure, Unavailable) and failure.lasting
            pause = None if lasting else next(waiting, None)
            if pause is None:
                raise
            await asyncio.sleep(pause)
            cursor = None
            continue
        for record in found.records:
            name = _name(record)
            if name not in given:
                given.add(name)
                yield record
        if found.next is None:
            return
        cursor = found.next


def _flat(record: bytes) -> dict[str, Any]:
    """A record's properties on one level, as a table has them."""
    flat: dict[str, Any] = {}
    for name, value in orjson.loads(record).items():
        flat |= value if name == _AUTH else {name: value}
    return flat


def _name(record: bytes) -> bytes:
    """What makes a record this one."""
    values = orjson.loads(record)
    name: str = values.get("csId") or values.get("certificateHash") or values["uid"].upper()
    return name.encode()


def _query(model: type[Query], filters: dict[str, Any], cursor: str | None) -> Any:
    pairs = [(name, value) for name, value in filters.items() if value is not None]
    pairs += [("limit", MAX_LIMIT)]
    return model.read(pairs if cursor is None else [*pairs, ("cursor", cursor)])


def _finish(work: Callable[[], Any]) -> None:
    """Do it, or end with one line and the exit code that tells why not."""
    try:
        finish(work())
    except (Conflict, Gone, Unavailable) as error:
        fail(error.error)
    except BadRequest as error:
        _end(error, _WRONG)
    except NotFound as error:
        _end(error, _NOT_FOUND)
    except _ThereAlready as error:
        _end(error, _THERE_ALREADY)


def _end(problem: Problem, code: int) -> NoReturn:
    click.echo(f"csms-redis: {problem.error}", err=True)
    sys.exit(code)


def _say(text: str, record: dict[str, Any], *, as_json: bool) -> None:
    click.echo(orjson.dumps(record) if as_json else text)


def _table(columns: Sequence[str], *, header: bool = True) -> Table:
    table = Table(box=None, show_header=header, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _cell(value: Any) -> Text:
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text("" if value is None else _plain(str(value)))


def _plain(text: str) -> str:
    """A text that does nothing to a terminal."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def _print(table: Table) -> None:
    console = Console()
    if not console.is_terminal:  # nothing is folded for a terminal that is not there
        console = Console(width=10_000)
    console.print(table)


def _camel(name: str) -> str:
    first, *rest = name.strip("_").split("_")
    return first + "".join(word.title() for word in rest)
