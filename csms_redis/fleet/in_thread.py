"""What takes long to read is read in a thread, so that it does not stop the event loop."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from typing import TypeVar

_READ_AHEAD = 2  # items

_T = TypeVar("_T")


async def in_thread(items: Callable[[], Iterator[_T]]) -> AsyncIterator[_T]:
    """Iterate in a thread, a little ahead of who takes the items."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[_T] | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(_READ_AHEAD)
    abandoned = threading.Event()

    def work() -> None:
        end: BaseException | None = None
        try:
            with closing(items()) as iterator:  # type: ignore[type-var] # all are generators
                for item in iterator:
                    room.acquire()
                    if abandoned.is_set():
                        return
                    loop.call_soon_threadsafe(queue.put_nowait, (item,))
        except BaseException as error:  # noqa: BLE001 the event loop's thread raises it again
            end = error
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(queue.put_nowait, end)

    # a daemon, so that Ctrl-C ends a thread that waits for standard input
    threading.Thread(target=work, daemon=True).start()
    try:
        while isinstance(got := await queue.get(), tuple):
            room.release()
            yield got[0]
        if got is not None:
            raise got
    finally:
        abandoned.set()
        room.release()
