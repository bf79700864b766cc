#!/usr/bin/env bash
# aiohttp's client sends a DELETE twice when the first one broke off, and says nothing of it.
#
# Software:  aiohttp 3.14.5 beside requests 2.34.2, from PyPI
# Expected:  a client repeats by itself only what a kept, idle connection lost, which the server may have
#            closed before it saw the request. A DELETE that goes out on a new connection, and is carried out
#            before the connection ends, is told to the caller as an error; so requests does.
# Seen:      GET, PUT and DELETE are sent again at once, on a new connection as well. The second DELETE finds
#            nothing: session.delete() gives 404 for what it has deleted. No public option turns it off.
# Date:      2026-11-29
# Users:     who deletes through aiohttp must take 404 for done, or write with POST, which is sent once. A PUT
#            that comes twice can undo what another wrote in between.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
trap 'exit 1' INT TERM

python3 -m venv "$home/venv"
"$home/venv/bin/pip" install -qqq --disable-pip-version-check \
  aiohttp==3.14.5 requests==2.34.2

cat > "$home/show.py" << 'PYTHON'
import asyncio

import aiohttp
import requests

class Registry:
    """Has one station, and loses the first answer: its connection ends."""

    def __init__(self):
        self.stations, self.got = {"CS-0417"}, []

    async def talk(self, reader, writer):
        method = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[0].decode()
        self.got.append(method)
        found = bool(self.stations)
        if method == "DELETE":
            self.stations.clear()
        if len(self.got) > 1:
            status = "200 OK" if found else "404 Not Found"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()

async def with_aiohttp(method, url):
    async with aiohttp.ClientSession() as session, session.request(method, url) as response:
        return response.status

async def with_requests(method, url):
    return (await asyncio.to_thread(requests.request, method, url)).status_code

async def show():
    for client in (with_requests, with_aiohttp):
        for method in ("GET", "PUT", "DELETE", "POST"):
            registry = Registry()
            async with await asyncio.start_server(registry.talk, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                try:
                    end = await client(method, f"http://127.0.0.1:{port}/cs/CS-0417")
                except (aiohttp.ClientError, requests.RequestException) as error:
                    end = type(error).__name__
            print(f"{client.__name__.removeprefix('with_')} {method}: sent {len(registry.got)} times, {end}")

asyncio.run(show())
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
requests GET: sent 1 times, ConnectionError
requests PUT: sent 1 times, ConnectionError
requests DELETE: sent 1 times, ConnectionError
requests POST: sent 1 times, ConnectionError
aiohttp GET: sent 2 times, 200
aiohttp PUT: sent 2 times, 200
aiohttp DELETE: sent 2 times, 404
aiohttp POST: sent 1 times, ServerDisconnectedError
EXPECTED
