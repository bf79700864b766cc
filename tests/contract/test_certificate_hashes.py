"""The spellings of a certificate's hash."""

import base64
import hashlib
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms_redis.contract.certificates import certificate_hash, der_hash

digests = st.binary(min_size=32, max_size=32)


@given(digests, st.lists(st.booleans(), min_size=44, max_size=64))
def test_every_spelling_of_a_hash_is_the_same_hash(digest: bytes, choices: list[bool]) -> None:
    """Padded or not, url-safe or not or both at once, hexadecimal in any case."""
    canonical = base64.urlsafe_b64encode(digest).decode()
    plain = base64.b64encode(digest).decode()
    mixed = "".join(
        b if choice else a for a, b, choice in zip(canonical, plain, choices, strict=False)
    )
    every = [canonical, plain, mixed, digest.hex(), digest.hex().upper(), digest.hex().title()]

    assert {canonical} == {
        certificate_hash(spelling) for text in every for spelling in (text, text.rstrip("="))
    }
    assert len(canonical) == 44


@given(st.binary())
def test_der_hash(der: bytes) -> None:
    canonical = der_hash(der)

    assert hashlib.sha256(der).digest() == base64.urlsafe_b64decode(canonical)
    assert canonical == certificate_hash(canonical)


@given(st.binary(max_size=64).filter(lambda raw: len(raw) != 32))
def test_a_digest_of_another_length_is_no_hash(raw: bytes) -> None:
    for text in (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()):
        # 48 bytes make 64 characters, which may happen to be hexadecimal digits.
        if not re.fullmatch("[0-9A-Fa-f]{64}", text):
            assert certificate_hash(text) is None
            assert certificate_hash(text.rstrip("=")) is None
    assert certificate_hash(raw.hex()) is None


@given(digests)
def test_one_hash_has_one_last_character(digest: bytes) -> None:
    """Base64 whose unused bits are set would be a second name for the same hash."""
    canonical = base64.urlsafe_b64encode(digest).decode()
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    rivals = [canonical[:42] + last + "=" for last in alphabet]

    assert sum(certificate_hash(rival) is not None for rival in rivals) == 16
    first = alphabet.index(canonical[42])
    assert {None} == {certificate_hash(rival) for rival in rivals[first + 1 : first + 4]}


GOOD = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak="


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        GOOD + "=",
        GOOD + "\n",
        " " + GOOD,
        GOOD[:20] + "\n" + GOOD[20:],
        GOOD[:20] + "=" + GOOD[20:],
        GOOD.replace("-", " "),
        GOOD.replace("-", "%2B"),
        GOOD[:-1] + "%3D",
        GOOD[:-2],
        "0" * 63,
        "0" * 65,
        "0x" + "0" * 62,
        "0" * 64 + "\n",
        "g" * 64,
        "\u0660" * 64,
        "\uff21" * 43,
        "\ud800" * 43,
        ":".join(["00"] * 32),
    ],
)
def test_no_hash(text: str) -> None:
    assert certificate_hash(text) is None


@given(st.text(max_size=70))
def test_any_text_is_a_canonical_hash_or_none(text: str) -> None:
    canonical = certificate_hash(text)

    assert canonical is None or canonical == certificate_hash(canonical)
