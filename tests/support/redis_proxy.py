"""A proxy before Redis that can do what networks do; it runs in a thread of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.conftest import short_directory


class RedisProxy:
    """Forwards a Unix socket to another; its faults are switched by setting attributes."""

    def __init__(self, path: str, target: str) -> None:
        self.path = path
        self.url = f"unix://{path}"
        self._target = target
        self.drops = False
        """Lose every byte both ways, silently; a connection that lost some is lost for good."""
        self.delay = 0.0
        """Seconds by which each reply is late."""
        self.cut: int | None = None
        """Forward so many bytes of the next reply, then close, once."""
        self.connections = 0

    async def run(self, stop: asyncio.Event, ready: threading.Event) -> None:
        """Forward until stopped."""
        tasks: set[asyncio.Task[None]] = set()

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await self._forward(reader, writer)
            finally:
                tasks.discard(task)

        server = await asyncio.start_unix_server(forward, self.path)
        ready.set()
        await stop.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lost = asyncio.Event()
        if self.drops:
            lost.set()
        with suppress(OSError):
            upstream, upwriter = await asyncio.open_unix_connection(self._target)
            up = asyncio.create_task(self._pump(reader, upwriter, lost, replies=False))
            down = asyncio.create_task(self._pump(upstream, writer, lost, replies=True))
            try:
                await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in (up, down):
                    pump.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
                upwriter.close()
        writer.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lost: asyncio.Event,
        *,
        replies: bool,
    ) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            if self.drops:
                lost.set()
            if lost.is_set():
                continue
            if replies and self.cut is not None:
                writer.write(data[: self.cut])
                self.cut = None
                return
            if replies and self.delay:
                loop.call_later(self.delay, writer.write, data)
            else:
                writer.write(data)


@contextmanager
def redis_proxy(target: str) -> Iterator[RedisProxy]:
    """Run one before the Unix socket `target`."""
    with short_directory() as home:
        proxy = RedisProxy(str(home / "proxy.sock"), target)
        ready = threading.Event()
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()
        thread = threading.Thread(
            target=lambda: loop.run_until_complete(proxy.run(stop, ready)), name="proxy"
        )
        thread.start()
        assert ready.wait(10)
        try:
            yield proxy
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(10)
            loop.close()
