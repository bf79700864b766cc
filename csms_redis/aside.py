"""Blocking work that may never end, on threads that nothing waits for.

At their end, the event loop and the interpreter wait for the threads of the loop. A thread that
waits for a name server, or for a dead network mount, would hold up the end of the process. The
threads here do not.
"""

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from threading import Thread
from typing import Final, Generic, TypeVar

_KEPT: Final = 5.0
"""Seconds that a result is kept for the next caller, if it came too late for the others."""

_GIVEN_UP: Final = 600.0
"""Seconds after which work that has not ended is begun anew: what it waits for may be gone."""

_K = TypeVar("_K", bound=Hashable)
_T = TypeVar("_T")


def start(work: Callable[[], _T]) -> "asyncio.Future[_T]":
    """Begin some work on a daemon thread; if the future is cancelled, the result is dropped."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type] # None is a _T then
        else:
            future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 the one who waits for it is to have it
            error = raised
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    Thread(target=run, name="csms-redis-aside", daemon=True).start()
    return future


async def run(work: Callable[[], _T]) -> _T:
    """Do some work on a daemon thread; a cancellation does not end the thread."""
    return await start(work)


class Shared(Generic[_K, _T]):
    """Work that several callers wait for together: for each key it is under way once at most.

    A caller who gives up leaves the result to the next caller, so that slow work is waited for in
    several attempts. This class does not limit the time; the callers do.
    """

    def __init__(self) -> None:
        """Begin without any work under way."""
        self._under_way: dict[_K, asyncio.Future[_T]] = {}

    async def run(self, key: _K, work: Callable[[], _T]) -> _T:
        """Do some work, or wait for the work that was begun for the same key."""
        future = self._under_way.get(key)
        loop = asyncio.get_running_loop()
        if future is None or future.get_loop() is not loop:
            future = self._under_way[key] = start(work)
            given_up = loop.call_later(_GIVEN_UP, self._drop, key, future)

            def ended(ended: "asyncio.Future[_T]") -> None:
                given_up.cancel()
                if not ended.cancelled():
                    ended.exception()  # perhaps nobody waits for it any more
                loop.call_later(_KEPT, self._drop, key, ended)

            future.add_done_callback(ended)
        try:
            return await asyncio.shield(future)
        finally:
            if future.done():
                self._drop(key, future)

    def waits(self, key: _K) -> bool:
        """Whether work for a key has begun and not ended."""
        future = self._under_way.get(key)
        return future is not None and not future.done()

    def _drop(self, key: _K, future: "asyncio.Future[_T]") -> None:
        if self._under_way.get(key) is future:
            del self._under_way[key]
