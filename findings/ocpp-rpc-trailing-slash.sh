#!/usr/bin/env bash
# A slash at the end of a station's URL makes it a station without a name.
#
# Software:  ocpp-rpc 2.2.1, from npm
# Expected:  stations get the server's URL and add their identity. Of /ocpp/CS-0417/ a server takes CS-0417,
#            as it takes the percent-encoded and the one with a query, or it answers 404.
# Seen:      auth() is called with the identity "" and with /ocpp/CS-0417 for the endpoint; the password is
#            undefined, as if none had been sent.
# Date:      2026-11-28
# Users:     a gateway on it that asks the registry asks for an empty csId (404 or another operation);
#            refuse an empty identity first, or cut the slash off.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
trap 'exit 1' INT TERM

npm install --prefix "$home" --silent --no-audit --no-fund ocpp-rpc@2.2.1

cat > "$home/show.js" << 'JAVASCRIPT'
const { RPCServer } = require("ocpp-rpc");
const net = require("node:net");

const server = new RPCServer({ protocols: ["ocpp1.6"] });
server.auth((accept, reject, { identity, password, endpoint }) => {
  const shown = password === undefined ? "undefined" : `${password.length} bytes`;
  console.log(`  identity ${JSON.stringify(identity)} endpoint ${endpoint} password: ${shown}`);
  accept();
});

function station(port, path) {
  return new Promise((resolve) => {
    const credentials = Buffer.from("CS-0417:0123456789abcdef").toString("base64");
    const lines = [
      `GET ${path} HTTP/1.1`, "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
      `Sec-WebSocket-Key: ${Buffer.alloc(16).toString("base64")}`, "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Protocol: ocpp1.6", `Authorization: Basic ${credentials}`, "", "",
    ];
    const socket = net.connect(port, "127.0.0.1", () => socket.write(lines.join("\r\n")));
    console.log(path);
    socket.once("data", (data) => {
      console.log(`  ${data.toString().split("\r\n")[0]}`);
      socket.destroy();
      resolve();
    });
  });
}

(async () => {
  const listener = await server.listen(0, "127.0.0.1");
  for (const path of ["/ocpp/CS-0417", "/ocpp/CS%2D0417?model=x", "/ocpp/CS-0417/"]) {
    await station(listener.address().port, path);
  }
  process.exit(0);
})();
JAVASCRIPT

seen=$(cd "$home" && timeout 100 node show.js)
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
/ocpp/CS-0417
  identity "CS-0417" endpoint /ocpp password: 16 bytes
  HTTP/1.1 101 Switching Protocols
/ocpp/CS%2D0417?model=x
  identity "CS-0417" endpoint /ocpp password: 16 bytes
  HTTP/1.1 101 Switching Protocols
/ocpp/CS-0417/
  identity "" endpoint /ocpp/CS-0417 password: undefined
  HTTP/1.1 101 Switching Protocols
EXPECTED
