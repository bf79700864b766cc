"""The ids that travel in a URL's path."""

import string
import unicodedata
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms_redis.contract.identifiers import decode_segment, encode_segment, station_id, token_uid

any_text = st.text()
lone_surrogates = st.text(st.characters(categories=["Cs"]), min_size=1)


@pytest.mark.parametrize(
    ("segment", "text"),
    [
        ("cs001", "cs001"),
        ("", ""),
        ("a+b", "a+b"),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("%7Bcs%7D%20001", "{cs} 001"),
        ("{cs}", "{cs}"),
        ("%25", "%"),
        ("%2541", "%41"),
        ("%C3%A9", "\u00e9"),
        ("\u00e9", "\u00e9"),
        ("\udcc3\udca9", "\u00e9"),
        ("\udcc3%A9", "\u00e9"),
        (b"\xc3\xa9", "\u00e9"),
        (b"%F0%9F%94%8C", "\U0001f50c"),
        ("%00", "\x00"),
    ],
)
def test_decodes(segment: str | bytes, text: str) -> None:
    assert text == decode_segment(segment)


@pytest.mark.parametrize(
    "segment",
    [
        "%",
        "cs%",
        "%4",
        "%zz",
        "%4g",
        "%%41",
        "%u00e9",
        "%\uff14\uff11",
        "%FF",
        "%C3",
        "%C0%AF",
        "%ED%A0%80",
        "\udcff",
        "cs\ud800",
        b"\xff",
        b"\xc3%41",
    ],
)
def test_what_is_not_text_decodes_to_none(segment: str | bytes) -> None:
    assert decode_segment(segment) is None


@given(st.binary())
def test_the_wire_as_bytes_or_as_text_is_the_same(wire: bytes) -> None:
    """A server that hands over text (PEP 383) and one that hands over bytes agree."""
    assert decode_segment(wire) == decode_segment(wire.decode(errors="surrogateescape"))


@given(st.binary())
def test_escaped_bytes_decode_as_utf8_or_not_at_all(raw: bytes) -> None:
    try:
        expected = raw.decode()
    except UnicodeDecodeError:
        expected = None

    assert expected == decode_segment(quote_from_bytes(raw, safe=""))


@given(any_text | lone_surrogates)
def test_decoding_is_total(segment: str) -> None:
    decoded = decode_segment(segment)

    assert decoded is None or decoded == decoded.encode().decode()


@pytest.mark.parametrize(
    ("text", "segment"),
    [
        ("cs001", "cs001"),
        ("AZaz09-._~=", "AZaz09-._~="),
        ("a/b c+d", "a%2Fb%20c%2Bd"),
        ("{%}", "%7B%25%7D"),
        ("\u00e9", "%C3%A9"),
        ("!$&'()*,;:@", "%21%24%26%27%28%29%2A%2C%3B%3A%40"),
    ],
)
def test_encodes(text: str, segment: str) -> None:
    assert segment == encode_segment(text)


@given(any_text)
def test_encoding_is_undone_by_decoding(text: str) -> None:
    """So no two texts share a segment; what is written needs no second escape."""
    segment = encode_segment(text)

    assert text == decode_segment(segment)
    assert segment == encode_segment(decode_segment(segment) or "")
    assert set(segment) <= set(string.ascii_letters + string.digits + "-._~=%")


@given(any_text, any_text)
def test_encoding_is_injective(one: str, other: str) -> None:
    assert (one == other) == (encode_segment(one) == encode_segment(other))


@given(lone_surrogates)
def test_a_lone_surrogate_cannot_be_encoded(text: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_segment(text)


@pytest.mark.parametrize(
    "text",
    [
        "cs001",
        "a",
        "x" * 48,
        "\U0001f50c" * 48,
        "{cs}/001 *[a]?\\",
        " ",
        "..",
        "%41",
        "\u00a0\u2028",
    ],
)
def test_station_ids(text: str) -> None:
    assert text == station_id(text)


@pytest.mark.parametrize(
    "text", ["", "x" * 49, "cs\n", "\x00", "\x1f", "\x7f", "\x80\x9f", "\ud800"]
)
def test_no_station_ids(text: str) -> None:
    assert station_id(text) is None


@given(st.text(max_size=60) | st.text(st.characters(categories=["Cc", "Cs"]), max_size=2))
def test_station_ids_hold_no_control_character_and_no_surrogate(text: str) -> None:
    allowed = all(unicodedata.category(character) not in {"Cc", "Cs"} for character in text)

    assert (text if allowed and 1 <= len(text) <= 48 else None) == station_id(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("012345678", "012345678"),
        ("DeadBeef-~ ", "DEADBEEF-~ "),
        ("z" * 36, "Z" * 36),
        ("{a}", "{A}"),
    ],
)
def test_token_uids_are_found_by_their_upper_case(text: str, key: str) -> None:
    assert key == token_uid(text)


@pytest.mark.parametrize(
    "text", ["", "z" * 37, "a\n", "\x1f", "\x7f", "\u00df", "\u212a", "\ud800"]
)
def test_no_token_uids(text: str) -> None:
    assert token_uid(text) is None


@given(st.text(string.printable, min_size=1, max_size=40))
def test_the_case_of_a_token_uid_makes_no_difference(text: str) -> None:
    assert token_uid(text) == token_uid(text.lower()) == token_uid(text.swapcase())
