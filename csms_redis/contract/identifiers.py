"""The ids that travel in a URL's path: from the wire to text, and what each may be."""

import re
from urllib.parse import quote, unquote_to_bytes

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_STATION_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,48}")
_TOKEN_UID = re.compile(r"[\x20-\x7e]{1,36}")


def decode_segment(segment: str | bytes) -> str | None:
    """Read one path segment as it stands on the wire, or None when it is not UTF-8 text.

    Percent escapes (RFC 3986, 2.1) and bytes that ought to have been escaped both count; a plus is
    a plus. A string may carry bytes that are not ASCII as surrogates (PEP 383).
    """
    try:
        raw = segment.encode(errors="surrogateescape") if isinstance(segment, str) else segment
        if b"%" in raw:
            if _BROKEN_ESCAPE.search(raw):
                return None
            raw = unquote_to_bytes(raw)
        return raw.decode()
    except UnicodeError:
        return None


def encode_segment(text: str) -> str:
    """Write a text as one path segment, in the one spelling that is canonical here.

    Everything but RFC 3986's unreserved characters and "=" (which ends a certificate's hash) is a
    percent escape in upper case; different texts give different segments.

    Raises:
        UnicodeEncodeError: The text holds a lone surrogate, UTF-8 has no bytes for it.
    """
    return quote(text, safe="=")


def station_id(text: str) -> str | None:
    """Give back a csId that is one, else None: 1 to 48 characters, no control characters.

    Control characters are Unicode's category Cc. Braces, slashes and spaces are ordinary.
    """
    return text if _STATION_ID.fullmatch(text) else None


def token_uid(text: str) -> str | None:
    """Give the upper case of a token's uid, by which it is found, or None when it is no uid.

    A CiString(36) (OCPI 2.2.1, types and Token object): printable ASCII, without regard to case.
    """
    return text.upper() if _TOKEN_UID.fullmatch(text) else None
