#!/usr/bin/env bash
# A uvloop server that has no descriptor left drops new connections, and nobody is told.
#
# Software:  uvloop 0.23.0, from PyPI, beside the asyncio of Python
# Expected:  as with asyncio's own loop: clients wait in the backlog, and the loop's exception handler hears
#            "socket.accept() out of system resource", so the log says what is wrong.
# Seen:      uvloop accepts the connection and closes it at once. The client sees a good connect and then
#            the end of the stream. Neither the exception handler nor the log hears anything.
# Date:      2026-11-28
# Users:     a service on uvloop must count its descriptors itself (process_open_fds beside
#            process_max_fds); "connection closed" at the clients is all that this leaves behind.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
trap 'exit 1' INT TERM

python3 -m venv "$home/venv"
"$home/venv/bin/pip" install -qqq --disable-pip-version-check \
  uvloop==0.23.0

cat > "$home/show.py" << 'PYTHON'
import asyncio
import resource
import socket
import subprocess
import sys

LIMIT = 24

async def serve():
    told = set()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.add(context["message"]))

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)

    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the other side closes
    print(*told or ["nothing"], flush=True)

def connect(port):
    """Connections one after the other, until one gets no answer."""
    held = []
    while True:
        client = socket.create_connection(("127.0.0.1", port), timeout=5)
        held.append(client)
        client.settimeout(3)
        client.sendall(b"x")
        try:
            if not client.recv(1):
                return held, "is accepted and closed"
        except ConnectionResetError:
            return held, "is accepted and closed"
        except TimeoutError:
            return held, "waits"

if len(sys.argv) > 2:
    if sys.argv[2] == "uvloop":
        import uvloop
        uvloop.run(serve())
    else:
        asyncio.run(serve())
else:
    for loop in ("asyncio", "uvloop"):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen([sys.executable, *sys.argv, loop], **pipes) as server:
            held, end = connect(int(server.stdout.readline()))
            print(f"{loop}: the first connection over the limit {end}")
            server.stdin.close()
            print("  the exception handler was told:", server.stdout.read().strip())
            for client in held:
                client.close()
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
asyncio: the first connection over the limit waits
  the exception handler was told: socket.accept() out of system resource
uvloop: the first connection over the limit is accepted and closed
  the exception handler was told: nothing
EXPECTED
