"""`/rules` and `/check`: how the service is set up, for whoever checks records beside it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeAlias

import orjson
from aiohttp import web

from csms_redis.api.lines import LineStream
from csms_redis.api.replies import JSON
from csms_redis.contract.errors import Unavailable
from csms_redis.settings import ApiSettings, BadSettings

_MOST_SECONDS = 60.0  # of one check


class _Finding(Protocol):
    """A line of the report, see `check.finding.Finding`."""

    @property
    def level(self) -> str: ...

    @property
    def about(self) -> str: ...

    @property
    def text(self) -> str: ...


Check: TypeAlias = Callable[[], AsyncIterator[_Finding]]
"""Makes the report of the settings and of Redis."""


class RulesHandlers:
    """The operations on `/rules` and `/check`."""

    def __init__(self, api: ApiSettings, check: Check) -> None:
        """Tell of the settings `api`, and what `check` finds."""
        self._rules = orjson.dumps({"strict": api.strict, "anyStationId": api.any_station_id})
        self._check = check
        self._checking = False

    async def get(self, request: web.Request) -> web.Response:
        """`getRules`."""
        del request
        return web.Response(body=self._rules, content_type=JSON)

    async def check(self, request: web.Request) -> web.StreamResponse:
        """`checkService`: one at a time, for it tries commands at every master."""
        if self._checking:
            raise Unavailable("Another check is under way in this process. Try again.")
        self._checking = True
        try:
            return await self._report(request)
        finally:
            self._checking = False

    async def _report(self, request: web.Request) -> web.StreamResponse:
        stream = await LineStream.begin(request)
        try:
            if request.method != "HEAD":
                try:
                    async with asyncio.timeout(_MOST_SECONDS):
                        async for each in self._check():
                            await stream.write(
                                _line(each.level, each.about, each.text), at_once=True
                            )
                except TimeoutError:
                    text = f"was not ended within {_MOST_SECONDS:g} s"
                    await stream.write(_line("error", "check", text))
                except BadSettings as error:
                    await stream.write(_line("error", "settings", str(error)))
            await stream.end()
        except ConnectionError:
            pass  # nobody reads the answer
        return stream.response


def _line(level: str, about: str, text: str) -> bytes:
    return orjson.dumps({"level": level, "about": about, "text": text})
