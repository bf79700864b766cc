"""Client certificates as PEM (RFC 7468), and the spellings of their SHA-256 hash (RFC 4648)."""

import re
import warnings
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from cryptography import x509

from csms_redis.contract.doubts import Doubt, refuse_any
from csms_redis.contract.errors import BadRequest

MAX_PEM_BYTES = 65536
"""The longest PEM text that is kept, in bytes of UTF-8."""

MAX_BLOCKS = 10
"""The most certificates in one text; OCPP chains have three or four."""

MAX_NAME = 512
"""The most characters of a subject or an issuer that are shown."""

_BOUNDARY = re.compile(r"-----(?:BEGIN|END)")
_BEGIN = re.compile(r"-----BEGIN ([^-]*)-----[ \t]*\r?")
_END = re.compile(r"-----END ([^-]*)-----[ \t]*\r?")
# Wider than RFC 7468, for a key is a key in a block that is cut, indented or PGP's too.
_PRIVATE_KEY = re.compile(r"-[ \t]*(?:BEGIN|END)[ \w]{0,40}PRIVATE KEY", re.ASCII | re.IGNORECASE)

# ASCII's only: str.split would also skip Unicode's, at which readers of PEM stumble.
_WITHOUT_SPACE = str.maketrans("", "", " \t\r")
_TO_URL_SAFE = str.maketrans("+/", "-_")
_FROM_URL_SAFE = str.maketrans("-_", "+/")
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


def read_pem(text: str) -> ClientCertificate:
    r"""Read a client certificate, alone or followed by its chain.

    Literal `\n` pairs are newlines, the contract's own spelling. Text outside the blocks is
    allowed (RFC 7468, 5.2); a certificate that has expired is as good as any.

    Raises:
        InvalidCertificate: No certificate, a broken one, anything that is not a certificate, or
            more than MAX_PEM_BYTES or MAX_BLOCKS.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidCertificate(
            "the certificate is not UTF-8 text; send it as PEM, which is ASCII"
        ) from None
    if size > MAX_PEM_BYTES:
        raise InvalidCertificate(
            f"the certificate is longer than {MAX_PEM_BYTES} bytes; "
            "send the client certificate and its chain only"
        )
    pem = text.replace("\\n", "\n")
    if _PRIVATE_KEY.search(pem):
        raise InvalidCertificate(
            "this holds a private key, which must never leave its owner; nothing was kept: "
            "send the certificate only, and replace the key if others may have seen it"
        )
    found = [_certificate(number, body) for number, body in enumerate(_bodies(pem), 1)]
    if not found:
        raise InvalidCertificate(
            "there is no PEM certificate; send the text from -----BEGIN CERTIFICATE----- "
            "to -----END CERTIFICATE-----"
        )
    der, certificate = found[0]
    return ClientCertificate(
        hash=der_hash(der),
        pem=pem,
        details=_details(certificate),
        doubts=(Doubt.CA_CERTIFICATE,) if _is_ca(certificate) else (),
    )


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


def _bodies(pem: str) -> Iterator[str]:
    """Yield what stands between each BEGIN CERTIFICATE and END CERTIFICATE."""
    lines = iter(pem.split("\n"))
    number = 0
    for line in lines:
        if not _BOUNDARY.search(line):
            continue
        number += 1
        if number > MAX_BLOCKS:
            raise InvalidCertificate(
                f"there are more than {MAX_BLOCKS} certificates; "
                "send the client certificate and its chain only"
            )
        _expect(_BEGIN, "BEGIN", line, number)
        body = []
        for inner in lines:
            if _BOUNDARY.search(inner):
                _expect(_END, "END", inner, number)
                break
            body.append(inner)
        else:
            raise InvalidCertificate(
                f"PEM block {number} has no END line; send the certificate whole, "
                "up to and with -----END CERTIFICATE-----"
            )
        yield "".join(body)


def _expect(boundary: re.Pattern[str], word: str, line: str, number: int) -> None:
    found = boundary.fullmatch(line)
    if found is None:
        # Readers such as OpenSSL and Go find a boundary only where it starts a line: what they
        # would not find must not be kept for them.
        raise InvalidCertificate(
            f"PEM block {number} is broken: -----{word} CERTIFICATE----- must be a line of its "
            "own, not indented; write each newline as \\n in JSON"
        )
    if found[1] != "CERTIFICATE":
        raise InvalidCertificate(
            f"PEM block {number} is not a certificate: its {word} line does not say CERTIFICATE; "
            "send certificates only"
        )


def _certificate(number: int, body: str) -> tuple[bytes, x509.Certificate]:
    try:
        der = b64decode(body.translate(_WITHOUT_SPACE), validate=True)
    except ValueError:
        raise InvalidCertificate(
            f"certificate {number} is broken: its body is not base64; send it whole and unchanged"
        ) from None
    with warnings.catch_warnings():
        # It warns of what RFC 5280 forbids but authorities have issued, such as a serial number
        # of zero. Such a certificate identifies its station as well as any other.
        warnings.simplefilter("ignore")
        try:
            return der, x509.load_der_x509_certificate(der)
        except (ValueError, x509.InvalidVersion):
            raise InvalidCertificate(
                f"certificate {number} is broken: its body is not an X.509 certificate; "
                "send it whole and unchanged"
            ) from None


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False
    return constraints.value.ca


def _details(certificate: x509.Certificate) -> dict[str, str]:
    """The details that are read from a certificate."""
    readers: dict[str, Callable[[], str]] = {
        "subject": lambda: certificate.subject.rfc4514_string()[:MAX_NAME],
        "issuer": lambda: certificate.issuer.rfc4514_string()[:MAX_NAME],
        "serialNumber": lambda: _hexadecimal(certificate.serial_number),
        "notBefore": lambda: _utc(certificate.not_valid_before_utc),
        "notAfter": lambda: _utc(certificate.not_valid_after_utc),
    }
    details = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a country of three letters, for one
        for name, read in readers.items():
            # a certificate is as good as any whose names nobody can read
            with suppress(ValueError, TypeError):
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


def spellings(canonical: str) -> tuple[str, str]:
    """Spell a hash for people: as unpadded base64url (for URLs) and as padded base64."""
    return canonical.rstrip("="), canonical.translate(_FROM_URL_SAFE)
