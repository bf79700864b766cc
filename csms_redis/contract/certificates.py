"""Client certificates as PEM (RFC 7468), and the spellings of their SHA-256 hash (RFC 4648)."""

import codecs
import re
import warnings
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import NoReturn

from cryptography import x509

from csms_redis.contract import der, pem
from csms_redis.contract.der import Form
from csms_redis.contract.doubts import Doubt, refuse_any
from csms_redis.contract.errors import BadRequest

MAX_PEM_BYTES = 65536
"""The longest PEM text that is kept, in bytes of UTF-8."""

MAX_FILE_BYTES = 2 * MAX_PEM_BYTES + 4
"""What need be read of a file, in bytes: text of UTF-16 has twice as many, and a mark."""

MAX_BLOCKS = 10
"""The most certificates in one text; OCPP chains have three or four."""

MAX_NAME = 512
"""The most characters of a subject or an issuer that are shown."""

_LABELS = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})  # the second is old, OpenSSL reads it too
_OTHER_LABELS = {
    "PKCS7": Form.PKCS7,
    "CMS": Form.PKCS7,
    "PKCS #7 SIGNED DATA": Form.PKCS7,
    "CERTIFICATE REQUEST": Form.REQUEST,
    "NEW CERTIFICATE REQUEST": Form.REQUEST,
    "X509 CRL": Form.REVOCATIONS,
    "PUBLIC KEY": Form.PUBLIC_KEY,
    "RSA PUBLIC KEY": Form.PUBLIC_KEY,
}
_CALLED = {
    Form.CERTIFICATE: "a certificate in DER",
    Form.PKCS7: "certificates in PKCS#7",
    Form.PKCS12: "PKCS#12, which usually holds a private key, too",
    Form.REQUEST: "a request for a certificate; send what the CA makes of it",
    Form.REVOCATIONS: "a list of revoked certificates; send the station's certificate",
    Form.PUBLIC_KEY: "a public key; send the certificate that holds it",
    Form.PRIVATE_KEY: "a private key, which must never leave its owner; nothing was kept: "
    "send the certificate only, and replace the key if others may have seen it",
}
_CONVERTED_BY = {
    Form.CERTIFICATE: "openssl x509",
    Form.PKCS7: "openssl pkcs7 -print_certs",
    Form.PKCS12: "openssl pkcs12 -clcerts -nokeys",
}
_NO_TEXT = "the certificate is not UTF-8 text; send it as PEM, which is ASCII"
_TRUSTED = "OpenSSL's own form with trust settings; convert it: openssl x509 -in FILE -out NEW.pem"
# Wider than RFC 7468, for a key is a key in a block that is cut, indented or PGP's too.
_PRIVATE_KEY = re.compile(r"-[ \t]*(?:BEGIN|END)[ \w]{0,40}PRIVATE KEY", re.ASCII | re.IGNORECASE)

_TO_URL_SAFE = str.maketrans("+/", "-_")
# The 43rd character carries 4 bits of the 256; with its other two unset it is one of these 16.
_BASE64_HASH = re.compile(r"([A-Za-z0-9+/_-]{42}[AEIMQUYcgkosw048])=?")
_HEX_HASH = re.compile(r"[0-9A-Fa-f]{64}")


class InvalidCertificate(ValueError):
    """A text that is not a client certificate; the message never quotes it."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client certificate that was read.

    Attributes:
        hash: SHA-256 of the first certificate's DER bytes, in padded base64url.
        pem: The whole text, to be kept and given back, with any chain and any text around it.
        details: What the first certificate says of itself, each by its name in the API; what
            cannot be read is left out.
        doubts: What is doubtful about it.
    """

    hash: str
    pem: str
    details: Mapping[str, str] = field(default_factory=dict, compare=False)
    doubts: tuple[Doubt, ...] = field(default=(), compare=False)


def text_of(data: bytes) -> str:
    """The text of a file that has a client certificate.

    Args:
        data: The file's bytes; more than `MAX_FILE_BYTES` need not be read.

    Raises:
        InvalidCertificate: It is no text; where it has a known form, the command that converts it
            is named.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    if (form := der.form(data)) is not Form.OTHER:
        said = _said(form, "{command} -inform der -in FILE -out NEW.pem")
        raise InvalidCertificate(f"this is no PEM, but {said}")
    try:
        return data.decode()
    except UnicodeDecodeError:
        if b"-----BEGIN" in data:  # the text around a block may be of any encoding
            return data.decode("latin-1")
        raise InvalidCertificate(_NO_TEXT) from None


def read_pem(text: str) -> ClientCertificate:
    r"""Read a client certificate, alone or followed by its chain.

    Text in proper PEM is kept as it is, with text around the blocks (RFC 7468, 5.2), but literal
    `\n` pairs, the contract's own spelling, are newlines. Text in an odd wrapping is kept as proper
    PEM, see `pem`. What a TLS proxy verifies is taken, see `der`, and one that has expired too.

    Raises:
        InvalidCertificate: No certificate, a broken one, anything that is not a certificate, or
            more than MAX_PEM_BYTES or MAX_BLOCKS.
    """
    _refuse_long(text)
    kept = pem.plain(text)
    _refuse_private_key(kept)
    proper = pem.is_proper(kept)
    if not proper:
        kept = pem.unescaped(text)
        _refuse_private_key(kept)
    ders = list(_certificates(kept))
    if not ders:
        _refuse_without_pem(kept)
    if not proper:
        kept = pem.written(ders)
        _refuse_long(kept)
    return ClientCertificate(
        hash=der_hash(ders[0]),
        pem=kept,
        details=_details(ders[0]),
        doubts=tuple(_doubts(ders)),
    )


def _refuse_long(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidCertificate(_NO_TEXT) from None
    if size > MAX_PEM_BYTES:
        raise InvalidCertificate(
            f"the certificate is longer than {MAX_PEM_BYTES} bytes; "
            "send the client certificate and its chain only"
        )


def _refuse_private_key(text: str) -> None:
    if _PRIVATE_KEY.search(text):
        raise InvalidCertificate(f"this holds {_CALLED[Form.PRIVATE_KEY]}")


def _refuse_without_pem(text: str) -> NoReturn:
    """Say what a text without PEM's boundaries is."""
    try:
        form = der.form(pem.decoded(text))
    except ValueError:
        form = Form.OTHER
    if form is Form.OTHER:
        raise InvalidCertificate(
            "there is no PEM certificate; send the text from -----BEGIN CERTIFICATE----- "
            "to -----END CERTIFICATE-----"
        )
    said = _said(form, "base64 -d FILE | {command} -inform der -out NEW.pem")
    raise InvalidCertificate(f"there is no PEM certificate; this is the base64 of {said}")


def _said(form: Form, command: str) -> str:
    """What a text or file is, and the command that makes PEM certificates of it, if one can."""
    if form not in _CONVERTED_BY:
        return _CALLED[form]
    filled = command.format(command=_CONVERTED_BY[form])
    if form is Form.PKCS12:  # has no other form
        filled = filled.replace(" -inform der", "")
    return f"{_CALLED[form]}; convert it: {filled}"


def _certificates(text: str) -> Iterator[bytes]:
    """The DER of the certificates in a text, in order."""
    try:
        for block in pem.blocks(text):
            if block.number > MAX_BLOCKS:
                raise InvalidCertificate(
                    f"there are more than {MAX_BLOCKS} certificates; send each client certificate "
                    "by itself, with its chain only"
                )
            yield _certificate(block)
    except pem.BrokenPem as broken:
        raise InvalidCertificate(str(broken)) from None


def _certificate(block: pem.Block) -> bytes:
    number = block.number
    if block.label not in _LABELS:
        if block.label == "TRUSTED CERTIFICATE":
            said = f"it is {_TRUSTED}"
        elif block.label in _OTHER_LABELS:
            form = _OTHER_LABELS[block.label]
            said = f"it is {_said(form, '{command} -in FILE -out NEW.pem')}"
        else:
            said = "its BEGIN line does not say CERTIFICATE; send certificates only"
        raise InvalidCertificate(f"PEM block {number} is not a certificate: {said}")
    try:
        found = pem.decoded(block.body)
    except ValueError:
        raise InvalidCertificate(
            f"certificate {number} is broken: its body is not base64; send it whole and unchanged"
        ) from None
    form = der.form(found)
    if form is Form.CERTIFICATE:
        return found
    if form is not Form.OTHER:
        raise InvalidCertificate(
            f"PEM block {number} is not a certificate, though it says so: it is {_CALLED[form]}"
        )
    raise InvalidCertificate(
        f"certificate {number} is broken: its body is not an X.509 certificate; "
        "send it whole and unchanged"
    )


def _doubts(ders: Sequence[bytes]) -> Iterator[Doubt]:
    first, *others = map(der.outline, ders)
    if first.is_ca:
        yield Doubt.CA_CERTIFICATE
    if any(other.issuer == first.subject != other.subject for other in others):
        yield Doubt.CHAIN_ORDER
    elif any(_is_another(one, ders) for one in ders[1:] if one != ders[0]):
        yield Doubt.OTHER_CERTIFICATE


def _is_another(certificate: bytes, ders: Sequence[bytes]) -> bool:
    """Whether a certificate neither is a CA's nor has issued another one."""
    found = der.outline(certificate)
    issuers = (der.outline(one).issuer for one in ders if one != certificate)
    return not found.is_ca and found.subject not in issuers


def check_certificate(text: str, *, strict: bool) -> ClientCertificate:
    """Read a client certificate that is to be kept.

    Args:
        text: As for `read_pem`.
        strict: Refuse a doubtful one (`[api] strict`).

    Raises:
        BadRequest: It is refused; the error says why, and never quotes it.
    """
    try:
        certificate = read_pem(text)
    except InvalidCertificate as error:
        raise BadRequest(f"certificate: {error}.") from None
    if strict:
        refuse_any(certificate.doubts)
    return certificate


def _details(certificate: bytes) -> dict[str, str]:
    """The details that are read from a certificate.

    `cryptography` refuses certificates that TLS proxies verify, and warns of others.
    """
    details = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parsed = x509.load_der_x509_certificate(certificate)
        except Exception:  # noqa: BLE001 whatever it stumbles over, the hash is known
            return {}
        readers: dict[str, Callable[[], str]] = {
            "subject": lambda: parsed.subject.rfc4514_string()[:MAX_NAME],
            "issuer": lambda: parsed.issuer.rfc4514_string()[:MAX_NAME],
            "serialNumber": lambda: _hexadecimal(parsed.serial_number),
            "notBefore": lambda: _utc(parsed.not_valid_before_utc),
            "notAfter": lambda: _utc(parsed.not_valid_after_utc),
        }
        for name, read in readers.items():
            with suppress(Exception):  # a name that nobody can read is left out
                details[name] = read()
    return details


def _hexadecimal(serial: int) -> str:
    digits = f"{abs(serial):X}"
    return f"{'-' if serial < 0 else ''}{digits.zfill(len(digits) + len(digits) % 2)}"


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(len("2019-08-24T14:15:22Z"), "0")


def der_hash(der: bytes) -> str:
    """Hash a certificate's DER bytes: SHA-256 in padded base64url, the spelling used as a key."""
    return urlsafe_b64encode(sha256(der).digest()).decode("ascii")


def certificate_hash(spelling: str) -> str | None:
    """Bring any spelling of a SHA-256 hash to padded base64url, or give None for no hash.

    Base64 and base64url (even mixed: no character means two things), padded or not, with the
    unused bits unset as RFC 4648, 3.5 has it; or 64 hex digits. Percent escapes must be decoded.
    """
    if base64 := _BASE64_HASH.fullmatch(spelling):
        return base64[1].translate(_TO_URL_SAFE) + "="
    if _HEX_HASH.fullmatch(spelling):
        return urlsafe_b64encode(bytes.fromhex(spelling)).decode("ascii")
    return None
