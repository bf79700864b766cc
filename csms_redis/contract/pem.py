r"""PEM (RFC 7468) as it really comes: also escaped for a header, on one line, or glued together.

nginx percent-escapes it (`$ssl_client_escaped_cert`) or indents it, editors put a mark before it,
JSON in JSON leaves literal `\r\n`, and headers have blanks where newlines were.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

BOM = "\ufeff"

_BOUNDARY = re.compile(r"-----(?:BEGIN|END)")
_PROPER = re.compile(r"-----(?:BEGIN|END) CERTIFICATE-----[ \t]*\r?")
_ANY = re.compile(r"-----(BEGIN|END)\b([^-]{0,80})-----")
_ASCII_BODY = re.compile(r"[A-Za-z0-9+/= \t\r\n]*")
_ESCAPES = re.compile(
    r"\\{1,8}[rnt]"
)  # literal \r\n; each time it is escaped there are twice as many
_WITHOUT_BLANKS = str.maketrans("", "", " \t\r\n")
_UNSEEN = re.compile("[\\s\u200b\u2060\ufeff]+")
_LINE = 64  # characters of base64 (RFC 7468, 2)


class Block(NamedTuple):
    """What stands between a BEGIN and its END.

    Attributes:
        number: of the block in its text, from 1.
        label: what BEGIN and END say it is.
        body: base64, and blanks.
    """

    number: int
    label: str
    body: str


class BrokenPem(ValueError):
    """The boundaries do not pair; the message never quotes the text."""


def plain(text: str) -> str:
    r"""The text with newlines for literal `\n` pairs, and without a mark before it."""
    return text.removeprefix(BOM).replace("\\n", "\n")


def is_proper(text: str) -> bool:
    """Whether every program that reads PEM finds the same certificates in the text.

    Each boundary is a line of its own, and nothing but ASCII blanks divides the base64. Text
    around the blocks is allowed (RFC 7468, 5.2).
    """
    inside, length = False, 0
    for line in text.split("\n"):
        if _BOUNDARY.search(line):
            if not _PROPER.fullmatch(line):
                return False
            inside = line.startswith("-----BEGIN")
            if length % 4:  # of base64: its padding is missing
                return False
        elif inside:
            if not _ASCII_BODY.fullmatch(line):
                return False
            length += len(line.translate(_WITHOUT_BLANKS))
    return True


def unescaped(text: str) -> str:
    """The text without percent-escapes, literal line ends, and pluses that were blanks."""
    if "BEGIN+" in text:  # a form's escapes: a plus of base64 is %2B there
        text = text.replace("+", " ")
    for _ in range(2):  # some proxies escape what came escaped
        text = unquote(text, errors="replace")
    return _ESCAPES.sub("\n", text)


def blocks(text: str) -> Iterator[Block]:
    """Find the blocks, wherever in a line they begin and end.

    Raises:
        BrokenPem: a boundary has not its other one, or is cut.
    """
    number = 0
    begun: re.Match[str] | None = None
    found = list(_ANY.finditer(text))
    if len(found) != len(_BOUNDARY.findall(text)):
        raise BrokenPem(
            "a BEGIN or END line of PEM is broken; it must be -----BEGIN CERTIFICATE----- or "
            "-----END CERTIFICATE-----, with five dashes on each side"
        )
    for boundary in found:
        if boundary[1] == "BEGIN":
            number += 1
            if begun is not None:
                raise BrokenPem(_without_end(number - 1))
            begun = boundary
        elif begun is None:
            raise BrokenPem(
                f"PEM block {number + 1} has no BEGIN line; send the certificate whole, from and "
                "with -----BEGIN CERTIFICATE-----"
            )
        else:
            label = " ".join(begun[2].split())
            if " ".join(boundary[2].split()) != label:
                raise BrokenPem(
                    f"PEM block {number} is broken: its END line does not say what its BEGIN line "
                    "says; send the certificate whole and unchanged"
                )
            yield Block(number, label, text[begun.end() : boundary.start()])
            begun = None
    if begun is not None:
        raise BrokenPem(_without_end(number))


def _without_end(number: int) -> str:
    return (
        f"PEM block {number} has no END line; send the certificate whole, up to and with "
        "-----END CERTIFICATE-----"
    )


def decoded(base64: str) -> bytes:
    """The bytes of base64 with blanks anywhere; the padding may be missing.

    Raises:
        ValueError: it is not base64.
    """
    bare = _UNSEEN.sub("", base64)
    return b64decode(bare + "=" * (-len(bare) % 4), validate=True)


def written(ders: list[bytes]) -> str:
    """Write certificates as PEM (RFC 7468, 2 and 5)."""
    text = ""
    for der in ders:
        base64 = b64encode(der).decode("ascii")
        lines = (base64[at : at + _LINE] for at in range(0, len(base64), _LINE))
        body = "\n".join(lines)
        text += f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
    return text
