"""eMAIDs: one spelling for each, and a check digit that catches what people mistype."""

import string
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms_redis.contract.emaid import WrongCheckDigit, check_digit, is_emaid, normalise

CHARACTERS = string.digits + string.ascii_uppercase

KNOWN = ["GBTWK012345678V", "GBTWK123456789B", "CSKTH5U8TC90A1S", "IHRFRNPCZVPPVEW"]

# The examples that other implementations of the same paper test themselves with.
PUBLISHED = [
    "NN123ABCDEFGHIT",
    "FRXYZ1234567892",
    "ITA1B2C3E4F5G64",
    "ESZU8WOX834H1DR",
    "PT73902837ABCZZ",
    "DE83DUIEN83QGZD",
    "DE83DUIEN83ZGQM",
    "DE8AA0012345670",
]

countries = st.text(string.ascii_uppercase, min_size=2, max_size=2)
unchecked = st.builds(str.__add__, countries, st.text(CHARACTERS, min_size=12, max_size=12))
casings = st.lists(st.booleans(), min_size=18, max_size=18)


def hyphenations(emaid: str) -> list[str]:
    """Every way to set hyphens between the components that are there."""
    parts = [part for part in (emaid[:2], emaid[2:5], emaid[5:14], emaid[14:]) if part]
    return [
        "".join(part + hyphen for part, hyphen in zip(parts, (*hyphens, ""), strict=True))
        for hyphens in product(("", "-"), repeat=len(parts) - 1)
    ]


def with_case(text: str, lower: list[bool]) -> str:
    return "".join(
        character.lower() if low else character for character, low in zip(text, lower, strict=False)
    )


@pytest.mark.parametrize("emaid", [*KNOWN, *PUBLISHED])
def test_known_check_digits(emaid: str) -> None:
    """Published eMAIDs keep their check digit, and get it when it was left out."""
    assert emaid[14] == check_digit(emaid[:14])
    assert emaid == normalise(emaid)
    assert emaid == normalise(emaid[:14])


@pytest.mark.parametrize("spelling", ["GB-TWK-012345678-V", "gbtwk012345678", "gB-twk012345678v"])
def test_the_contracts_examples(spelling: str) -> None:
    assert normalise(spelling) == "GBTWK012345678V"


def test_wrong_check_digit_names_the_right_one() -> None:
    """The error says what to send instead, and carries it for the caller."""
    with pytest.raises(
        WrongCheckDigit, match=r"W .* is wrong, V is right: send GBTWK012345678V"
    ) as caught:
        normalise("gb-twk-012345678-w")

    assert caught.value.expected == "V"
    assert caught.value.normalised == "GBTWK012345678V"


@pytest.mark.parametrize(
    "contract_id",
    [
        "",
        "DE8AC",
        "GBTWK01234567",
        "GBTWK012345678VV",
        "G1TWK012345678V",
        "-GBTWK012345678V",
        "GBTWK012345678-",
        "GB--TWK012345678V",
        "GBT-WK012345678V",
        "GBTWK-0123-45678V",
        "GB TWK 012345678 V",
        " GBTWK012345678V",
        "GBTWK012345678V\n",
        "GBTWK012345678\n",
        "GB\u2010TWK\u2010012345678",
        "GBTW\u212a012345678",  # the Kelvin sign, whose lower case is "k"
        "GBTW\u017f012345678",  # the long s, whose upper case is "S"
        "G\u0131TWK012345678",  # the dotless i, whose upper case is "I"
        "GBTW\u00df01234567",  # the sharp s, whose upper case is "SS"
        "GBTWK01234567\u0668",  # an Arabic digit
        "GBTWK01234567\ud800",
    ],
)
def test_any_other_contract_id_is_kept_as_given(contract_id: str) -> None:
    assert not is_emaid(contract_id)
    assert contract_id == normalise(contract_id)


@pytest.mark.parametrize(
    "text", ["", "GBTWK01234567", "GBTWK012345678V", "gbtwk012345678", "GB-TWK-0123456"]
)
def test_check_digit_takes_14_normalised_characters_only(text: str) -> None:
    with pytest.raises(ValueError, match="14 digits and upper-case letters"):
        check_digit(text)


@given(unchecked, casings)
def test_one_spelling(emaid14: str, lower: list[bool]) -> None:
    """Hyphens, case and whether the check digit was left out make no difference."""
    expected = emaid14 + check_digit(emaid14)
    spellings = hyphenations(emaid14) + hyphenations(expected)

    assert {expected} == {normalise(with_case(spelling, lower)) for spelling in spellings}
    assert all(is_emaid(with_case(spelling, lower)) for spelling in spellings)


any_form = st.from_regex(
    r"[A-Za-z]{2}-?[A-Za-z0-9]{3}-?[A-Za-z0-9]{9}(-?[A-Za-z0-9])?", fullmatch=True
)


@given(any_form | st.text(max_size=20))
def test_idempotent_and_total(contract_id: str) -> None:
    """Of all text only a wrong check digit is refused, and normalising twice is once."""
    try:
        once = normalise(contract_id)
    except WrongCheckDigit as wrong:
        once = wrong.normalised

    assert once == normalise(once)
    assert is_emaid(once) == is_emaid(contract_id)


@given(unchecked)
def test_any_single_wrong_character_is_detected(emaid14: str) -> None:
    """At every position, every other character that keeps the eMAID's form."""
    emaid = emaid14 + check_digit(emaid14)
    for position, right in enumerate(emaid):
        for wrong in CHARACTERS.replace(right, ""):
            mistyped = emaid[:position] + wrong + emaid[position + 1 :]
            if is_emaid(mistyped):
                with pytest.raises(WrongCheckDigit):
                    normalise(mistyped)


@given(unchecked)
def test_any_adjacent_transposition_is_detected(emaid14: str) -> None:
    """Two neighbours' weights differ by an invertible factor, the check digit's included."""
    emaid = emaid14 + check_digit(emaid14)
    for position, (left, right) in enumerate(pairwise(emaid)):
        swapped = emaid[:position] + right + left + emaid[position + 2 :]
        if left != right and is_emaid(swapped):
            with pytest.raises(WrongCheckDigit):
                normalise(swapped)


@given(unchecked)
def test_the_sum_as_emi3_writes_it(emaid14: str) -> None:
    """The tables modulo 6 agree with the matrices modulo 2 and 3 of the specification."""
    total = [0, 0, 0, 0]
    for position, character in enumerate(emaid14 + check_digit(emaid14), 1):
        value = CHARACTERS.index(character)
        q, r = (value // 18, value // 9 % 2), (value // 3 % 3, value % 3)
        for _ in range(position):
            q = (q[1], (q[0] + q[1]) % 2)
            r = (r[1], (r[0] + 2 * r[1]) % 3)
        total = [have + more for have, more in zip(total, (*q, *r), strict=True)]

    assert [total[0] % 2, total[1] % 2, total[2] % 3, total[3] % 3] == [0, 0, 0, 0]
