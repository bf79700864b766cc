"""Doubts: what the contract allows in a record, but probably nobody meant, or no gateway can use.

A record with doubts is stored, and they are told: in the log, in a metric, by commands and in the
summary of an import, always by the same names. `[api] strict` refuses such a record.
"""

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Self

from csms_redis.contract.blanks import BLANKS
from csms_redis.contract.errors import BadRequest

DOUBTS_HEADER = "X-Doubts"
"""The header that has the names of the doubts about the station that an answer tells of."""

# OCPP 2.0.1 part 2, A: security profiles 1 to 3; the contract has 0 to 2
PROFILE_NUMBERS = (
    "securityProfile is OCPP's number minus one: 0 is plain text with a password (OCPP's 1), "
    "1 is TLS with a password (OCPP's 2), 2 is TLS with a client certificate (OCPP's 3)"
)


class Doubt(StrEnum):
    """Every doubt there is. Its value is its name for people and machines.

    Attributes:
        text: what is doubtful, and what to do; always the same, so that it never has a secret.
    """

    text: str

    def __new__(cls, name: str, text: str) -> Self:
        """Keep the sentence beside the name."""
        self = str.__new__(cls, name)
        self._value_ = name
        self.text = text
        return self

    # MQTT 5.0, 4.7.1
    ID_WILDCARD = (
        "id-wildcard",
        (
            "csId has a + or #, which no MQTT topic may have, so a gateway that uses MQTT cannot "
            "serve the station; leave them out, or set any_station_id = true below [api] where no "
            "gateway uses MQTT"
        ),
    )
    # MQTT 5.0, 4.7.1.1
    ID_SLASH = (
        "id-slash",
        "csId has a /, which divides MQTT topics and URLs: not every gateway can use it",
    )
    # RFC 3986, 2.1 and 3.4
    ID_URL_CHARACTER = (
        "id-url-character",
        "csId has a ? or %, which gateways that do not escape it in a URL cannot use",
    )
    # RFC 7617, 2
    ID_COLON = (
        "id-colon",
        "csId has a :, which no user name of HTTP Basic may have: its password cannot be sent",
    )
    # RFC 3986, 5.2.4
    ID_DOTS = (
        "id-dots",
        "csId is a . or .., which URLs leave out of a path",
    )
    ID_OUTER_BLANK = (
        "id-outer-blank",
        "an id begins or ends with a blank, which is easily lost on the way",
    )
    ID_INNER_BLANK = (
        "id-inner-blank",
        (
            "an id has a blank or an invisible character inside: who reads or types it otherwise "
            "does not find the record"
        ),
    )
    WORD_FOR_NOTHING = (
        "word-for-nothing",
        (
            "groupId, contractId or visualNumber is N/A, - or another word for nothing: it is kept "
            "as a text, so that a groupId joins all cards that have it; leave it away, or give null"
        ),
    )
    # ISO/IEC 14443-3: 4, 7 or 10 bytes
    RFID_UID = (
        "rfid-uid",
        (
            "the uid of an RFID card usually is 8, 14 or 20 hexadecimal digits: check that none "
            "is lost, and that it is not the number printed on the card"
        ),
    )
    # OCPP 1.6 security whitepaper, AuthorizationKey: 16 to 20 bytes
    PASSWORD_IS_HEX = (
        "password-is-hex",
        (
            "the password is 32 to 40 hexadecimal digits, as an AuthorizationKey of OCPP 1.6 in "
            "hex: if the station has its bytes, give it as authorizationKey, or with --hex"
        ),
    )
    PASSWORD_NO_SHA256 = (
        "password-no-sha256",
        (
            "base64SHA256Password is not the padded base64 of 32 bytes, so no password will match "
            "it; `csms-redis hash-password` makes one"
        ),
    )
    PROFILE_WITHOUT_PASSWORD = (
        "profile-without-password",
        (
            "securityProfile 0 and 1 need a base64SHA256Password; this station has no password, so "
            "no gateway lets it in: `csms-redis station set-password` gives it one; "
            f"{PROFILE_NUMBERS}"
        ),
    )
    PROFILE_WITH_PASSWORD = (
        "profile-with-password",
        (
            "securityProfile 2 has a client certificate and needs no password: if OCPP's 2 is "
            "meant, that is 1 here; "
            f"{PROFILE_NUMBERS}"
        ),
    )
    CA_CERTIFICATE = (
        "ca-certificate",
        (
            "the first certificate is a CA's, and stations are found by the hash of their own: "
            "put the station's certificate first"
        ),
    )
    CHAIN_ORDER = (
        "chain-order",
        (
            "the first certificate has issued another one that follows: put the station's own "
            "certificate first, it is the one that is looked up"
        ),
    )
    OTHER_CERTIFICATE = (
        "other-certificate",
        (
            "another certificate follows that has issued none of the others, and only the first is "
            "looked up: put each station's certificate into a file or request of its own"
        ),
    )
    CHECK_DIGIT = (
        "contract-id-check-digit",
        "contractId has an eMAID's form but not its check digit; it is kept as given",
    )
    TOKEN_TYPE = (
        "token-type",
        "the token has a type that this API has not, as EMAID of OCPI 2.3; it is stored as OTHER",
    )
    OPTIONAL_VALUE = (
        "optional-value",
        (
            "visual_number, group_id, language (two letters) or last_updated is wrong or empty, "
            "and was left out"
        ),
    )
    UID_OF_TWO_PARTIES = (
        "uid-of-two-parties",
        "two eMSPs have a token with this uid, and only one can be stored: the newer stays",
    )


class Doubtful(BadRequest):
    """A record that is refused because it is doubtful, see `[api] strict`.

    Attributes:
        doubt: the first of its doubts.
    """

    def __init__(self, doubt: Doubt) -> None:
        """Refuse a record for a doubt."""
        super().__init__(f"{doubt.text} ({doubt}).")
        self.doubt = doubt


def refuse_any(doubts: Iterable[Doubt]) -> None:
    """Refuse a record that has a doubt.

    Raises:
        Doubtful: there is one.
    """
    for doubt in doubts:
        raise Doubtful(doubt)


# Besides what may be stripped: what changes how the character before it is drawn.
_BLANK = re.compile(f"[{re.escape(BLANKS)}\u17b4\u17b5\u180b-\u180d\ufe00-\ufe0f]")
_WORDS_FOR_NOTHING = frozenset(
    [
        "",
        "-",
        "--",
        ".",
        "?",
        "n/a",
        "#n/a",
        "n.a.",
        "na",
        "<na>",
        "k.a.",
        "null",
        "(null)",
        "[null]",
        "<null>",
        "\\n",
        "none",
        "nil",
        "nan",
        "undefined",
        "\u2013",
        "\u2014",
    ]
)
_RFID_UID = re.compile(r"[0-9A-Fa-f]{8}|[0-9A-Fa-f]{14}|[0-9A-Fa-f]{20}")
_HEX_KEY = re.compile(rb"[0-9A-Fa-f]{32,40}")  # OCPP 1.6 security whitepaper: 16 to 20 bytes


def of_blanks(*ids: str | None) -> Iterator[Doubt]:
    """The doubts about blanks in a record's ids; each once."""
    outer = inner = False
    for text in ids:
        if text is not None and _BLANK.search(text):
            bare = text.strip()
            outer |= bare != text
            inner |= _BLANK.search(bare) is not None
    if outer:
        yield Doubt.ID_OUTER_BLANK
    if inner:
        yield Doubt.ID_INNER_BLANK


def of_words(*texts: str | None) -> Iterator[Doubt]:
    """The doubt about words that stand for nothing where a text is left out."""
    if any(text is not None and text.lower() in _WORDS_FOR_NOTHING for text in texts):
        yield Doubt.WORD_FOR_NOTHING


def of_rfid_uid(uid: str) -> Iterator[Doubt]:
    """The doubt about the uid of an RFID card (ISO/IEC 14443-3: 4, 7 or 10 bytes)."""
    if not _RFID_UID.fullmatch(uid):
        yield Doubt.RFID_UID


def of_password(password: bytes) -> Iterator[Doubt]:
    """The doubt about a password before it is hashed."""
    if _HEX_KEY.fullmatch(password):
        yield Doubt.PASSWORD_IS_HEX
