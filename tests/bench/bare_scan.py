"""All stations read by the barest means: SCAN and pipelined HMGET over one socket, with hiredis.

    .venv/bin/python -m tests.bench.bare_scan PORT

What the service's preload is compared with: this keeps nothing, follows and checks nothing.
"""

import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import hiredis

_AT_ONCE = 1000  # keys of one SCAN
_FIELDS = (
    "securityProfile",
    "base64SHA256Password",
    "invalidUsernameAllowed",
    "registrationStatus",
)


def scan(redis: socket.socket) -> int:
    """Read every station.

    Returns:
        How many there are.
    """
    replies = _replies(redis)
    found, cursor = 0, b""
    while cursor != b"0":
        redis.sendall(_command("SCAN", cursor or b"0", "MATCH", "cs:*", "COUNT", _AT_ONCE))
        cursor, keys = next(replies)
        redis.sendall(b"".join(_command("HMGET", key, *_FIELDS) for key in keys))
        found += sum(next(replies)[0] is not None for _ in keys)
    return found


def _command(*words: str | int | bytes) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type] # its stub takes one word
    return packed


def _replies(redis: socket.socket) -> Iterator[Any]:
    reader = hiredis.Reader()
    while True:
        while (reply := reader.gets()) is not False:
            yield reply
        reader.feed(redis.recv(65536))


if __name__ == "__main__":
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        count = scan(connection)
    sys.stdout.write(f"{count} {time.perf_counter() - begun:.6f} {time.process_time():.6f}\n")
