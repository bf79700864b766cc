#!/usr/bin/env bash
# After a protocol has held the loop up, uvloop lets a time-out win over the answer that came before it.
#
# Software:  uvloop 0.23.0, from PyPI, beside the asyncio of Python
# Expected:  when something has held the loop up for a while, what has come to the sockets meanwhile is read
#            before time-outs that are due are called, as with asyncio: it asks the sockets first. With uvloop
#            it is so when a task or a callback of the loop has held it up.
# Seen:      when another connection's data_received has, uvloop calls what is due first. The station's pong
#            has been there for long, but the watchdog that it would have cancelled ends the station. A
#            watchdog that looks again a millisecond later finds the pong.
# Date:      2026-11-29
# Users:     a gateway on uvloop whose parser is busy for longer than its heartbeat loses stations that were
#            well, and asks the registry for all of them as they come back. Let time-outs look twice.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
trap 'exit 1' INT TERM

python3 -m venv "$home/venv"
"$home/venv/bin/pip" install -qqq --disable-pip-version-check \
  uvloop==0.23.0

cat > "$home/show.py" << 'PYTHON'
import asyncio
import socket
import sys
import threading
import time

BEAT, BUSY = 0.5, 1.0  # seconds

class Station(asyncio.Protocol):
    """Is given up when its pong does not come in time."""

    def __init__(self, looks):
        self.looks, self.seen = looks, []
        self.watchdog = asyncio.get_running_loop().call_later(BEAT, self.is_due)

    def is_due(self):
        self.looks -= 1
        if self.looks:
            self.watchdog = asyncio.get_running_loop().call_later(0.001, self.is_due)
        else:
            self.seen.append("given up")

    def data_received(self, data):
        self.seen.append("pong")
        self.watchdog.cancel()

class Busy(asyncio.Protocol):
    """Another connection, with much to do."""

    def data_received(self, data):
        time.sleep(BUSY)

async def connect(protocol):
    """The far end of a connection of this protocol."""
    near, far = socket.socketpair()
    near.setblocking(False)
    await asyncio.get_running_loop().create_connection(lambda: protocol, sock=near)
    return far

async def attempt(busy, looks):
    station = Station(looks)
    far, other = await connect(station), await connect(Busy())
    pong = threading.Timer(0.2, far.sendall, (b"pong",))  # 0.3 s before it is due
    pong.start()
    if busy == "a task":
        time.sleep(BUSY)
    elif busy == "a callback":
        asyncio.get_running_loop().call_soon(time.sleep, BUSY)
    else:
        other.sendall(b"work")
    await asyncio.sleep(0.3)
    await asyncio.sleep(0.3)
    pong.join()
    return ", then ".join(station.seen)

async def show(name):
    print(name)
    for busy in ("a task", "a callback", "a protocol"):
        print(f"  held up by {busy}: {await attempt(busy, 1)}")
    print(f"  held up by a protocol, with a second look: {await attempt('a protocol', 2)}")

if sys.argv[2] == "asyncio":
    asyncio.run(show("asyncio"))
else:
    import uvloop
    uvloop.run(show("uvloop"))
PYTHON

seen=$(for loop in asyncio uvloop; do timeout 100 "$home/venv/bin/python" "$home/show.py" "$home" "$loop"; done)
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
asyncio
  held up by a task: pong
  held up by a callback: pong
  held up by a protocol: pong
  held up by a protocol, with a second look: pong
uvloop
  held up by a task: pong
  held up by a callback: pong
  held up by a protocol: given up, then pong
  held up by a protocol, with a second look: pong
EXPECTED
