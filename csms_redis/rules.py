"""What a value must be, in words for people: pydantic's own sentences never reach them."""

from collections.abc import Mapping
from typing import Any

_RULES = {
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "finite_number": "must be a finite number",
    "string_type": "must be a text",
    "string_unicode": "must be a text of whole Unicode characters",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have {max_length} characters or fewer",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "too_short": "must not be empty",
    "path_type": "must be a path",
    "ip_v4_network": "must be a network, as 10.0.0.0/8",
    "ip_v6_network": "must be a network, as fd00::/8",
}
_PATTERNS = {
    "^[A-Za-z]{2}$": "must be two letters",
    "^[A-Za-z0-9]{3}$": "must be three letters or digits",
    "^[ -~]{1,36}$": "must be 1 to 36 characters of printable ASCII",
}
_BY_WORD = {
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
}


def rule_of(problem: Mapping[str, Any]) -> str:
    """The rule that a value breaks; it never has the value.

    Args:
        problem: one of a ValidationError's `errors`, with its context.
    """
    kind = problem["type"]
    if kind == "value_error":  # our own
        return str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    if kind == "string_too_short" and problem["ctx"]["min_length"] == 1:
        return "must not be empty"
    if kind == "string_pattern_mismatch" and problem["ctx"]["pattern"] in _PATTERNS:
        return _PATTERNS[problem["ctx"]["pattern"]]
    if kind in _RULES:
        return _RULES[kind].format_map(
            {
                name: int(value) if isinstance(value, float) and value.is_integer() else value
                for name, value in problem.get("ctx", {}).items()
            }
        )
    return _BY_WORD.get(kind.partition("_")[0], "is not what it must be")
