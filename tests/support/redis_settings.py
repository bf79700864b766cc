"""`[redis]` with a URL, and the line with which it is refused."""

from typing import Any

import pytest
from pydantic import SecretStr

from csms_redis.redis.url import configured
from csms_redis.settings import BadSettings, RedisSettings


def settings(url: str, **others: Any) -> RedisSettings:
    """`[redis]` with a URL."""
    return RedisSettings(url=SecretStr(url), **others)


def refused(url: str, **others: Any) -> str:
    """The line with which `[redis]` is refused."""
    with pytest.raises(BadSettings) as caught:
        configured(settings(url, **others))
    (line,) = str(caught.value).splitlines()
    assert caught.value.__cause__ is None
    return line
