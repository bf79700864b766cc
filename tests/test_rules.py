"""What a value must be is said in words of our own, whatever is wrong with it."""

from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from csms_redis.contract.models import ChargeStationAuth, Token
from csms_redis.rules import rule_of


@pytest.mark.parametrize(
    ("type_", "value", "rule"),
    [
        (Annotated[int, Field(ge=1)], 0, "must be 1 or more"),
        (Annotated[int, Field(le=2)], 3, "must be 2 or less"),
        (Annotated[float, Field(gt=0)], 0, "must be more than 0"),
        (Annotated[float, Field(allow_inf_nan=False)], "nan", "must be a finite number"),
        (int, "x", "must be a whole number"),
        (int, 1.5, "must be a whole number"),
        (float, "x", "must be a number"),
        (bool, "perhaps", "must be true or false"),
        (str, 1, "must be a text"),
        (Annotated[str, Field(min_length=1)], "", "must not be empty"),
        (Annotated[str, Field(min_length=2)], "a", "must have 2 characters or more"),
        (Annotated[str, Field(max_length=2)], "abc", "must have 2 characters or fewer"),
        (Annotated[str, Field(pattern="^a$")], "b", "must match the pattern ^a$"),
        (Literal["a", "b"], "c", "must be 'a' or 'b'"),
        (list[int], 1, "must be a list"),
        (Annotated[list[int], Field(min_length=1)], [], "must not be empty"),
        (dict[str, int], 1, "must be a table"),
        (Path, 1, "must be a path"),
        (IPv4Network, "x", "must be a network, as 10.0.0.0/8"),
        (bytes, 1.5, "is not what it must be"),  # a kind that nothing here has
    ],
)
def test_a_rule(type_: Any, value: object, rule: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(type_).validate_python(value)

    assert rule_of(caught.value.errors()[0]) == rule


@pytest.mark.parametrize("model", [Token, ChargeStationAuth])
def test_no_pattern_of_a_record_is_told_as_one(model: type[BaseModel]) -> None:
    """Who reads a reject need not know regular expressions."""
    for name in model.model_fields:
        with pytest.raises(ValidationError) as caught:
            model.model_validate({name: "\t"})
        rules = [rule_of(error) for error in caught.value.errors() if error["loc"] == (name,)]
        assert not any("pattern" in rule for rule in rules)
