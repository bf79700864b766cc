"""`csms-redis certificate`: client certificates of stations, one at a time."""

from typing import BinaryIO

import click

from csms_redis.commands.doubts import warn
from csms_redis.commands.exits import run_or_exit
from csms_redis.commands.ids import HashCommand
from csms_redis.commands.lists import Listed, list_options, list_records
from csms_redis.commands.records import (
    EXIT_CODES,
    RecordKind,
    json_option,
    print_result,
    record_group,
    remove_record,
    show_record,
    store_record,
)
from csms_redis.commands.where import Where, where_options
from csms_redis.contract.certificates import (
    MAX_FILE_BYTES,
    InvalidCertificate,
    certificate_hash,
    check_certificate,
    text_of,
)
from csms_redis.contract.errors import BadRequest
from csms_redis.contract.queries import CertificateQuery
from csms_redis.registry.certificates import CERTIFICATE, certificate_record
from csms_redis.rows.kinds import KINDS

_CERTIFICATES = RecordKind(
    name="certificate",
    resource=CERTIFICATE,
    rows=KINDS["certificates"],
    records=lambda registry: registry.certificates,
    id_property="certificateHash",
    parse_id=certificate_hash,
    query=CertificateQuery,
    columns=["certificateHash", "subject", "issuer", "notAfter"],
    spared=["issuer", "subject", "notAfter"],
    logs_malformed_ids=False,  # someone may have pasted a private key
)

certificate = record_group("certificate", "Add, show, list or remove client certificates.")


@certificate.command("add", epilog=EXIT_CODES)
@click.argument("file", type=click.File("rb"))
@json_option
@where_options
def certificate_add(file: BinaryIO, as_json: bool, where: Where) -> None:
    """Keep the certificate in a PEM FILE, '-' for standard input.

    Its hash is printed: the certificate is looked up by it. A certificate that is there already
    stays.
    """
    place = where.place()
    data = file.read(MAX_FILE_BYTES)

    async def add() -> str:
        """Store the certificate; return its hash."""
        with place.audited("certificate add", "uploadCertificate") as line:
            try:
                text = text_of(data)
            except InvalidCertificate as invalid:
                raise BadRequest(f"certificate: {invalid}.") from None
            read = check_certificate(text, strict=place.api.strict)
            line["certificateHash"] = read.hash
            warn(read.doubts)
            record = certificate_record(place.prefix, read, updated=place.now())
            await store_record(_CERTIFICATES, place, record, replacing=True)
        return read.hash

    hash_ = run_or_exit(add())
    print_result(f"certificate {hash_} is added", {"certificateHash": hash_}, as_json=as_json)


@certificate.command("show", cls=HashCommand, epilog=EXIT_CODES)
@click.argument("hash_", metavar="HASH")
@json_option
@where_options
def certificate_show(hash_: str, as_json: bool, where: Where) -> None:
    """Show what a certificate says of itself, by its HASH in any spelling."""
    show_record(_CERTIFICATES, where.place(), hash_, as_json=as_json)


@certificate.command("list", epilog=EXIT_CODES)
@click.option("--expires-before", help="A date-time, as 2027-01-01T00:00:00Z.")
@list_options(_CERTIFICATES.columns)
@where_options
def certificate_list(expires_before: str | None, listed: Listed, where: Where) -> None:
    """List what certificates say of themselves."""
    filters = {"expiresBefore": expires_before}
    list_records(_CERTIFICATES, where.place(), filters, listed)


@certificate.command("remove", cls=HashCommand, epilog=EXIT_CODES)
@click.argument("hash_", metavar="HASH")
@json_option
@where_options
def certificate_remove(hash_: str, as_json: bool, where: Where) -> None:
    """Remove a certificate, by its HASH in any spelling."""
    remove_record(_CERTIFICATES, where.place(), "deleteCertificate", hash_)
    known = certificate_hash(hash_)
    print_result(f"certificate {known} is removed", {"certificateHash": known}, as_json=as_json)
