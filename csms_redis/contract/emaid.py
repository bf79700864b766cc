"""Contract ids that are eMAIDs: one spelling for each, with a check digit that is right.

An eMAID is a country (2 letters), a provider (3 letters or digits), an instance (9 letters or
digits) and a check digit (a letter or digit, often left out), with or without hyphens between them
(ISO 15118-2:2014, annex H). The check digit is that of eMI3's "Check Digit Calculation for
Contract-IDs".
"""

import re

_FORM = re.compile(
    r"([A-Z]{2})-?([A-Z0-9]{3})-?([A-Z0-9]{9})(?:-?([A-Z0-9]))?", re.ASCII | re.IGNORECASE
)
_UNCHECKED = re.compile(r"[0-9A-Z]{14}")
_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _pairs() -> dict[str, tuple[int, int]]:
    # eMI3 reads a character as two digits modulo 2 and two modulo 3. By the Chinese remainder
    # theorem these are two digits modulo 6: 3a + 4b leaves a modulo 2 and b modulo 3.
    return {
        character: (
            (3 * (value // 18) + 4 * (value // 3 % 3)) % 6,
            (3 * (value // 9 % 2) + 4 * (value % 3)) % 6,
        )
        for value, character in enumerate(_CHARACTERS)
    }


def _weights() -> list[dict[str, tuple[int, int]]]:
    # eMI3 weighs position i with the i-th power of [[0, 1], [1, 1]] modulo 2 and of
    # [[0, 1], [1, 2]] modulo 3; modulo 6 both are [[0, 1], [1, -1]].
    weighed = _pairs()
    weights = []
    for _ in range(15):
        weighed = {character: (y, (x - y) % 6) for character, (x, y) in weighed.items()}
        weights.append(weighed)
    return weights


*_WEIGHTS, _LAST = _weights()
_CHECK_DIGITS = {(-x % 6, -y % 6): character for character, (x, y) in _LAST.items()}


class WrongCheckDigit(ValueError):
    """An eMAID whose check digit is not the one its other characters call for.

    Attributes:
        expected: The check digit that is right.
        normalised: The whole eMAID as it would be right.
    """

    def __init__(self, given: str, expected: str, normalised: str) -> None:
        super().__init__(
            f"the check digit {given} of the contract id is wrong, {expected} is right: "
            f"send {normalised}, or leave the check digit out"
        )
        self.expected = expected
        self.normalised = normalised


def is_emaid(contract_id: str) -> bool:
    """Whether a contract id is of the eMAID's form; a check digit may be absent or wrong."""
    return _FORM.fullmatch(contract_id) is not None


def normalise(contract_id: str) -> str:
    """Give an eMAID its one spelling: upper case, no hyphens, 15 characters.

    A contract id that is not of the eMAID's form comes back as given, OCPI 2.2.1 allows any.

    Raises:
        WrongCheckDigit: The eMAID carries a check digit that is not its own.
    """
    form = _FORM.fullmatch(contract_id)
    if form is None:
        return contract_id
    country, provider, instance, given = form.groups()
    unchecked = f"{country}{provider}{instance}".upper()
    expected = check_digit(unchecked)
    normalised = unchecked + expected
    if given is not None and given.upper() != expected:
        raise WrongCheckDigit(given.upper(), expected, normalised)
    return normalised


def has_wrong_check_digit(contract_id: str) -> bool:
    """Whether a contract id is an eMAID with a check digit that is not its own."""
    try:
        normalise(contract_id)
    except WrongCheckDigit:
        return True
    return False


def comparable(contract_id: str) -> str:
    """The one spelling of a contract id, but for a check digit that is wrong, which stays."""
    try:
        return normalise(contract_id)
    except WrongCheckDigit:
        return contract_id.upper().replace("-", "")


def check_digit(emaid14: str) -> str:
    """Calculate the 15th character of an eMAID from the 14 before it, as eMI3 defines it.

    Raises:
        ValueError: Not 14 digits and upper-case letters.
    """
    if _UNCHECKED.fullmatch(emaid14) is None:
        raise ValueError("an eMAID without its check digit is 14 digits and upper-case letters")
    x = y = 0
    for weighed, character in zip(_WEIGHTS, emaid14, strict=True):
        dx, dy = weighed[character]
        x += dx
        y += dy
    return _CHECK_DIGITS[x % 6, y % 6]
