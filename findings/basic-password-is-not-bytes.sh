#!/usr/bin/env bash
# A station's random key is bytes in HTTP Basic; two libraries make two other things of it.
#
# Software:  websockets 17.4 and aiohttp 3.14.5, from PyPI
# Expected:  OCPP 1.6 stations send an authorization key of 16 to 20 random bytes as the password of HTTP
#            Basic. A server gets it as text and hashes password.encode(), which gives the key's bytes
#            back, or the library refuses it.
# Seen:      websockets takes the header as UTF-8 with lone surrogates for all other bytes: encode() raises
#            UnicodeEncodeError, so the handshake ends with 500. aiohttp takes it as Latin-1: encode()
#            raises nothing and gives 29 bytes instead of 20, whose hash is never right. Keys that happen
#            to be ASCII work with both. encode("utf-8", "surrogateescape") and encode("latin-1") are right.
# Date:      2026-11-28
# Users:     a gateway that compares with the registry's base64SHA256Password must hash the bytes after the
#            colon of the decoded header, not the library's text.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
trap 'exit 1' INT TERM

python3 -m venv "$home/venv"
"$home/venv/bin/pip" install -qqq --disable-pip-version-check \
  websockets==17.4 aiohttp==3.14.5

cat > "$home/show.py" << 'PYTHON'
import asyncio
import base64
import hashlib
import logging

import aiohttp
from websockets.asyncio.server import basic_auth, serve

logging.disable(logging.CRITICAL)
KEY = bytes.fromhex("8f1c00a97be2453dd0619c2eb4f7103a5c88e96d")
HEADER = "Basic " + base64.b64encode(b"CS-0417:" + KEY).decode()
RIGHT = hashlib.sha256(KEY).digest()

def says(password, *how):
    try:
        data = password.encode(*how)
    except UnicodeEncodeError as error:
        return f"{type(error).__name__}: {error.reason}"
    return f"{len(data)} bytes, the {'right' if hashlib.sha256(data).digest() == RIGHT else 'wrong'} hash"

async def websockets_is_asked():
    def check(user, password):
        print("websockets:", says(password))
        print("  surrogateescape:", says(password, "utf-8", "surrogateescape"))
        return hashlib.sha256(password.encode()).digest() == RIGHT

    async def nothing(connection):
        pass

    asked = basic_auth(check_credentials=check)
    async with serve(nothing, "127.0.0.1", 0, process_request=asked) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET /ocpp/CS-0417 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n"
            f"Sec-WebSocket-Version: 13\r\nAuthorization: {HEADER}\r\n\r\n".encode()
        )
        print("  handshake:", (await reader.readline()).decode().strip())
        writer.close()

asyncio.run(websockets_is_asked())
password = aiohttp.BasicAuth.decode(HEADER).password
print("aiohttp:", says(password))
print("  latin-1:", says(password, "latin-1"))
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
websockets: UnicodeEncodeError: surrogates not allowed
  surrogateescape: 20 bytes, the right hash
  handshake: HTTP/1.1 500 Internal Server Error
aiohttp: 29 bytes, the wrong hash
  latin-1: 20 bytes, the right hash
EXPECTED
