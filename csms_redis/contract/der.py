"""What DER bytes are (X.690), by their outer structure alone: no value in them is decoded.

A TLS proxy verifies certificates that stricter parsers refuse, and only the hash of the bytes is
needed here. So what counts is that the bytes have a certificate's outline, and that every length
in it fits. Each function looks at a few elements, however many there are.
"""

from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

_INTEGER, _BITS, _OCTETS, _OID, _BOOLEAN = 0x02, 0x03, 0x04, 0x06, 0x01
_SEQUENCE = 0x30
_TIMES = (0x17, 0x18)
_VERSION, _EXTENSIONS = 0xA0, 0xA3  # context-specific [0] and [3]
_MOST = 64  # elements of one sequence that are looked at; no certificate has as many extensions
_MOST_LENGTH_BYTES = 4
_PRIVATE_KEYS = (b"\x02\x30\x04", b"\x02\x04", b"\x02" * 6)  # PKCS#8; SEC 1; PKCS#1 and DSA
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")  # 1.2.840.113549.1.7.2
_BASIC_CONSTRAINTS = bytes.fromhex("551d13")  # 2.5.29.19


class NotDer(ValueError):
    """The bytes are no DER, or more than the element that was expected."""


class Element(NamedTuple):
    """One element.

    Attributes:
        tag: the identifier octet.
        start: where the content begins.
        end: where the content ends.
    """

    tag: int
    start: int
    end: int


class Form(Enum):
    """What bytes are by their outline."""

    CERTIFICATE = auto()
    REQUEST = auto()
    REVOCATIONS = auto()
    PKCS7 = auto()
    PKCS12 = auto()
    PRIVATE_KEY = auto()
    PUBLIC_KEY = auto()
    OTHER = auto()


class Outline(NamedTuple):
    """The parts of a certificate (RFC 5280, 4.1) that are compared here, as bytes.

    Attributes:
        issuer: the name of who issued it.
        subject: the name of whom it was issued to.
        is_ca: whether it says that it is a CA's (RFC 5280, 4.2.1.9).
    """

    issuer: bytes
    subject: bytes
    is_ca: bool


def element(der: bytes, at: int, end: int) -> Element:
    """Read the head of the element at a position.

    Args:
        der: the bytes.
        at: where the element begins.
        end: where it must have ended.

    Raises:
        NotDer: it does not fit, its length is not DER's only spelling of it, or its tag is longer
            than certificates have.
    """
    if end - at < 2 or der[at] & 0x1F == 0x1F:
        raise NotDer
    length, start = der[at + 1], at + 2
    if length >= 0x80:
        size = length & 0x7F
        if not 0 < size <= min(_MOST_LENGTH_BYTES, end - start) or der[start] == 0:
            raise NotDer
        length = int.from_bytes(der[start : start + size])
        start += size
        if length < 0x80:
            raise NotDer
    if length > end - start:
        raise NotDer
    return Element(der[at], start, start + length)


def elements(der: bytes, parent: Element) -> Iterator[Element]:
    """Read the heads of an element's children, in order.

    Raises:
        NotDer: one does not fit, or there are too many.
    """
    at = parent.start
    for _ in range(_MOST):
        if at == parent.end:
            return
        child = element(der, at, parent.end)
        yield child
        at = child.end
    if at != parent.end:
        raise NotDer


def form(der: bytes) -> Form:
    """Tell what the bytes are; whatever they are, nothing is raised."""
    try:
        whole = element(der, 0, len(der))
        if whole.tag != _SEQUENCE or whole.end != len(der):
            return Form.OTHER
        return _form(der, list(elements(der, whole)))
    except NotDer:
        return Form.OTHER


def _form(der: bytes, parts: list[Element]) -> Form:
    tags = bytes(part.tag for part in parts)
    if tags == b"\x30\x30\x03":
        return _signed(der, parts[0])
    first = der[parts[0].start : parts[0].end] if parts else b""
    if tags == b"\x06\xa0" and first == _SIGNED_DATA:
        return Form.PKCS7
    if tags in {b"\x02\x30", b"\x02\x30\x30"} and first == b"\x03":
        return Form.PKCS12
    if tags.startswith(_PRIVATE_KEYS) or tags == b"\x30\x04":  # the last is encrypted
        return Form.PRIVATE_KEY
    return Form.PUBLIC_KEY if tags in {b"\x30\x03", b"\x02\x02"} else Form.OTHER


def _signed(der: bytes, signed: Element) -> Form:
    """What the first part of a sequence of something, an algorithm and a signature is."""
    tags = [part.tag for part in elements(der, signed)]
    if tags[:1] == [_VERSION]:
        tags = tags[1:]
    if tags[:6] == [_INTEGER, *[_SEQUENCE] * 5]:
        return Form.CERTIFICATE
    if tags[:3] == [_INTEGER, _SEQUENCE, _SEQUENCE] and tags[3:] in ([], [_VERSION]):
        return Form.REQUEST
    if tags[:1] == [_INTEGER]:
        tags = tags[1:]
    if tags[:2] == [_SEQUENCE, _SEQUENCE] and tags[2:3] and tags[2] in _TIMES:
        return Form.REVOCATIONS
    return Form.OTHER


def outline(certificate: bytes) -> Outline:
    """The parts of what `form` calls a certificate."""
    whole = element(certificate, 0, len(certificate))
    parts = list(elements(certificate, next(elements(certificate, whole))))
    rest = parts[1:] if parts[0].tag == _VERSION else parts
    _, _, issuer, _, subject, _, *more = rest
    return Outline(
        certificate[issuer.start : issuer.end],
        certificate[subject.start : subject.end],
        any(part.tag == _EXTENSIONS and _says_ca(certificate, part) for part in more),
    )


def _says_ca(der: bytes, extensions: Element) -> bool:
    """Whether one of the extensions is basicConstraints with cA set."""
    try:
        for sequence in elements(der, extensions):
            for extension in elements(der, sequence):
                oid, *_, value = elements(der, extension)
                if oid.tag == _OID and der[oid.start : oid.end] == _BASIC_CONSTRAINTS:
                    constraints = element(der, value.start, value.end)
                    return any(
                        part.tag == _BOOLEAN and der[part.start : part.end] not in (b"", b"\0")
                        for part in elements(der, constraints)
                    )
    except ValueError:  # NotDer, or an extension that has not these parts
        pass
    return False
