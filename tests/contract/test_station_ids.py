"""Which ids a station may be registered under."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms_redis.contract.doubts import Doubt, Doubtful
from csms_redis.contract.errors import BadRequest
from csms_redis.contract.identifiers import station_id
from csms_redis.contract.station_ids import check_station_id

ids = st.text(st.sampled_from("aZ09-_.~{}@$ü充+#/?%: \u3000\u200b"), min_size=1, max_size=48)


@pytest.mark.parametrize(
    "text", ["cs001", "{cs}", "...", "a.b", "a,b;c=d&e", "ü", "充电站", "x" * 48]
)
def test_what_every_gateway_can_use_is_no_doubt(text: str) -> None:
    for strict in (False, True):
        assert check_station_id(text, strict=strict, any_station_id=False) == []


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("a/b", Doubt.ID_SLASH),
        ("a?b", Doubt.ID_URL_CHARACTER),
        ("50%", Doubt.ID_URL_CHARACTER),
        ("cs:1", Doubt.ID_COLON),
        (" cs", Doubt.ID_OUTER_BLANK),
        ("cs\u3000", Doubt.ID_OUTER_BLANK),
        ("a b", Doubt.ID_INNER_BLANK),
        ("a\u00a0b", Doubt.ID_INNER_BLANK),
        ("cs4\u200b", Doubt.ID_INNER_BLANK),
        ("\ufeffcs4", Doubt.ID_INNER_BLANK),
        ("c\u2060s", Doubt.ID_INNER_BLANK),
        (".", Doubt.ID_DOTS),
        ("..", Doubt.ID_DOTS),
    ],
)
def test_what_some_gateways_cannot_use_is_told_and_refused_when_strict(
    text: str, doubt: Doubt
) -> None:
    assert check_station_id(text, strict=False, any_station_id=False) == [doubt]
    with pytest.raises(Doubtful) as refused:
        check_station_id(text, strict=True, any_station_id=False)
    assert refused.value.doubt is doubt
    assert refused.value.error == f"{doubt.text} ({doubt.value})."
    assert check_station_id(text, strict=True, any_station_id=True) == [doubt]


@pytest.mark.parametrize("text", ["+", "a+b", "#", "a#", "+/#"])
def test_what_no_mqtt_topic_may_have_is_refused(text: str) -> None:
    """It says why, and what to do."""
    for strict in (False, True):
        with pytest.raises(BadRequest) as refused:
            check_station_id(text, strict=strict, any_station_id=False)
        assert "which no MQTT topic may have" in refused.value.error
        assert "set any_station_id = true below [api]" in refused.value.error
        assert check_station_id(text, strict=strict, any_station_id=True) != []


@pytest.mark.parametrize("text", ["", "a\n", "x" * 49, "\x7f", "\ud800"])
def test_what_is_no_id_is_none_whatever_is_set(text: str) -> None:
    with pytest.raises(BadRequest, match="1 to 48 characters"):
        check_station_id(text, strict=False, any_station_id=True)


@given(ids)
def test_any_id(text: str) -> None:
    """It is refused for its characters alone, and only with a reason."""
    assert station_id(text) == text
    doubts = check_station_id(text, strict=True, any_station_id=True)
    refused = {"+", "#"} & set(text)
    try:
        told = check_station_id(text, strict=False, any_station_id=False)
    except BadRequest:
        assert refused
    else:
        assert not refused
        assert told == doubts
        assert bool(doubts) == (bool(set("/?%: \u3000\u200b") & set(text)) or text in {".", ".."})
